"""A mail server's side of the milter protocol, as Postfix and Sendmail speak it to libmilter.

It knows the wire format and which answers were negotiated; it knows no SMTP.
Source: Sendmail's ``include/libmilter/mfdef.h``. A packet is four bytes of length, a command, and its data.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

CONTINUE, ACCEPT, REPLY = b"c", b"a", b"y"

VERSION = 6
ALL_ACTIONS = 0x1FF
ALL_STEPS = 0x1FFFFF

#: The bit of a command for which libmilter was told not to expect it, and the bit for no answer.
SKIPPED = {b"C": 0x1, b"H": 0x2, b"M": 0x4, b"R": 0x8, b"B": 0x10, b"L": 0x20, b"N": 0x40, b"T": 0x200}
UNANSWERED = {
    b"C": 0x1000,
    b"H": 0x2000,
    b"M": 0x4000,
    b"R": 0x8000,
    b"T": 0x10000,
    b"L": 0x80,
    b"N": 0x40000,
    b"B": 0x80000,
}
REJECTED_RECIPIENTS = 0x800


class Answer(NamedTuple):
    """One packet from the milter."""

    command: bytes
    data: bytes

    @property
    def code(self) -> int:
        """The SMTP code of an answer with a text; 0 for any other."""
        return int(self.data[:3]) if self.command == REPLY else 0

    @property
    def text(self) -> str:
        return self.data.rstrip(b"\0").decode()


class Wire:
    """One connection to a milter, negotiated."""

    def __init__(self, path: str, *, steps: int = ALL_STEPS) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._buffer = b""
        self.send(b"O", struct.pack(">III", VERSION, ALL_ACTIONS, steps))
        answer = self.receive()
        assert answer.command == b"O", answer
        _, self.actions, self.steps = struct.unpack(">III", answer.data[:12])

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()

    def drop(self) -> None:
        """The server is gone, as after a crash."""
        self._socket.close()

    def connect(self, address: str, name: str = "unknown", *, forged: bool = False) -> Answer | None:
        self.macros(b"C", {"j": "mx.example.net", "_": f"{name} [{address}]{' (may be forged)' if forged else ''}"})
        kind = b"6" if ":" in address else b"4"
        return self.ask(b"C", name.encode() + b"\0" + kind + struct.pack(">H", 4711) + address.encode() + b"\0")

    def helo(self, name: bytes) -> Answer | None:
        return self.ask(b"H", name + b"\0")

    def mail(self, *arguments: bytes, user: str | None = None) -> Answer | None:
        self.macros(b"M", {"i": "4F0", **({"{auth_authen}": user} if user is not None else {})})
        return self.ask(b"M", b"\0".join(arguments) + b"\0")

    def rcpt(self, *arguments: bytes, refused: str | None = None) -> Answer | None:
        """`refused` is the server's own enhanced code for a recipient that it refuses."""
        own = {"{rcpt_mailer}": "error", "{rcpt_host}": refused} if refused else {"{rcpt_mailer}": "local"}
        self.macros(b"R", own)
        return self.ask(b"R", b"\0".join(arguments) + b"\0")

    def header(self, name: bytes, value: bytes) -> Answer | None:
        return self.ask(b"L", name + b"\0" + value + b"\0")

    def end_of_header(self) -> Answer | None:
        return self.ask(b"N")

    def body(self, chunk: bytes) -> Answer | None:
        return self.ask(b"B", chunk)

    def end(self) -> Answer | None:
        return self.ask(b"E")

    def abort(self) -> None:
        self.send(b"A")

    def quit(self) -> None:
        """The client is gone: the milter closes, too."""
        self.send(b"Q")
        assert not self._socket.recv(1)

    def macros(self, command: bytes, values: Mapping[str, str | bytes]) -> None:
        texts = (text if isinstance(text, bytes) else text.encode() for pair in values.items() for text in pair)
        self.send(b"D", command + b"".join(text + b"\0" for text in texts))

    def ask(self, command: bytes, data: bytes = b"") -> Answer | None:
        """The answer to a command; `None` when it was negotiated away."""
        if self.steps & SKIPPED.get(command, 0):
            return None
        self.send(command, data)
        return None if self.steps & UNANSWERED.get(command, 0) else self.receive()

    def send(self, command: bytes, data: bytes = b"") -> None:
        self._socket.sendall(struct.pack(">I", len(data) + 1) + command + data)

    def receive(self) -> Answer:
        size = struct.unpack(">I", self._exactly(4))[0]
        packet = self._exactly(size)
        return Answer(packet[:1], packet[1:])

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            more = self._socket.recv(65536)
            if not more:
                raise ConnectionError("the milter has closed the connection")
            self._buffer += more
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken
