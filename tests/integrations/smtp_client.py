"""A client of SMTP that says who it is, by XCLIENT or by the PROXY protocol, and notes each reply.

It knows no mail beyond its own.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Self

SECONDS = 20.0
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"  # of version 2 of the PROXY protocol


@dataclass(slots=True)
class Reply:
    """A reply of the server, and how long it took."""

    code: int
    text: str
    seconds: float


@dataclass(slots=True)
class Sent:
    """What became of one message: the steps that were taken, each with its reply; the last one decided."""

    number: str
    steps: list[tuple[str, Reply]] = field(default_factory=list)

    @property
    def step(self) -> str:
        """The last step."""
        return self.steps[-1][0]

    @property
    def reply(self) -> Reply:
        """The last reply."""
        return self.steps[-1][1]

    @property
    def seconds(self) -> float:
        """How long all replies took."""
        return sum(reply.seconds for _, reply in self.steps)

    @property
    def accepted(self) -> bool:
        """Whether the server has taken the message."""
        return self.step == "END" and self.reply.code == 250


class SmtpClient:
    """One connection; `proxied` is the address and port for which a PROXY header speaks."""

    def __init__(self, port: int, proxied: tuple[str, int] | None = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")
        if proxied is not None:
            self._socket.sendall(proxy_header(*proxied))
        self.greeting = self._reply(time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def xclient(self, client_ip: str, client_port: int, name: str = "[UNAVAILABLE]", **more: str) -> Reply:
        """Becomes another client; the reply is the greeting that it gets."""
        v6 = "IPV6:" if ipaddress.ip_address(client_ip).version == 6 else ""
        extra = "".join(f" {key.upper()}={value}" for key, value in more.items())
        return self.say(f"XCLIENT NAME={name} ADDR={v6}{client_ip} PORT={client_port}{extra}")

    def say(self, line: str) -> Reply:
        """Sends a command and returns its reply."""
        start = time.monotonic()
        self._socket.sendall(f"{line}\r\n".encode())
        return self._reply(start)

    def send(
        self,
        number: str,
        sender: str,
        recipients: list[str],
        body: str = "Hello\r\n",
        header: str = "From: <x@example.org>\r\n",
    ) -> Sent:
        """One transaction, until a step is refused; of several recipients those that are admitted get the message."""
        sent = Sent(number)
        message = f"{header}X-Number: {number}\r\n\r\n{body}"

        def step(name: str, line: str, good: int) -> bool:
            sent.steps.append((name, self.say(line)))
            return sent.reply.code == good

        if not step("MAIL", f"MAIL FROM:<{sender.strip('<>')}> SIZE={len(message)}", 250):
            return sent
        admitted = [step("RCPT", f"RCPT TO:<{recipient}>", 250) for recipient in recipients]
        if not any(admitted):
            if sent.reply.code != 421:
                self.say("RSET")
            return sent
        if step("DATA", "DATA", 354):
            step("END", f"{message}\r\n.", 250)
        return sent

    def _reply(self, start: float) -> Reply:
        lines: list[str] = []
        while True:
            line = self._lines.readline().decode("utf-8", "replace")
            if not line:
                raise ConnectionError(f"the server hung up after {lines}")
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return Reply(int(line[:3]), "\n".join(lines), time.monotonic() - start)


def proxy_header(client_ip: str, client_port: int) -> bytes:
    """A connection over TCP in version 2 of the PROXY protocol."""
    address = ipaddress.ip_address(client_ip)
    server = b"\x7f\0\0\1" if address.version == 4 else b"\0" * 15 + b"\1"
    addresses = address.packed + server + struct.pack("!HH", client_port, 25)
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x11 if address.version == 4 else 0x21, len(addresses)) + addresses
