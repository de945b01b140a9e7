"""Transactions of a mail server's log, in which the lines of one message stand apart.

The lines come from several processes, with lines of other messages between them, and in disorder by some seconds. So
a message is open from its first line until all of its recipients were seen, at most for `HOLD_SECONDS` of the log's
time. Messages leave in the order in which they came.

This module knows no server: `postfix` and `exim` read the text of the lines.
Invariants: at most `MOST_OPEN` messages are open, with at most `MOST_TEXT` characters of lines, whatever the log says.
A line costs time in proportion to its length.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

from throttle import Envelope
from throttle.replay.framing import Framing
from throttle.replay.own_replies import is_own
from throttle.replay.steady import steady
from throttle.replay.transaction import MOST_USER, Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from throttle.replay.framing import Framed
    from throttle.replay.notes import Notes
    from throttle.replay.steady import Line
    from throttle.replay.times import Stamps

HOLD_SECONDS = 300
MOST_OPEN = 100_000
MOST_TEXT = 1 << 28
MOST_RECIPIENTS = 1000
DISORDER_SECONDS = 10  # for so long after its last line, other lines of a message may follow
TOGETHER_SECONDS = 1  # refusals of one process, client and sender within it are recipients of one message
MOST_DIGITS = 18  # of a number of bytes or recipients


class Message:
    """A message of which more lines may come."""

    __slots__ = (
        "by_throttle",
        "client_ip",
        "client_name",
        "done",
        "helo",
        "key",
        "nrcpt",
        "of",
        "rcpt",
        "rejected",
        "sender",
        "size",
        "text",
        "until",
        "user",
    )

    def __init__(self, key: str, at: float, hold: float) -> None:
        self.key = key
        self.of = at
        self.until = at + hold
        self.client_ip: str | None = None
        self.client_name: str | None = None
        self.helo: str | None = None
        self.sender: str | None = None
        self.user: str | None = None
        self.size: int | None = None
        self.nrcpt = 0
        self.rcpt: dict[str, str] = {}  # the final address, and the one that the sender wrote
        self.text = 0  # characters of its lines
        self.done = False
        self.rejected = False
        self.by_throttle = False

    def add_recipient(self, final: str, original: str) -> None:
        """Notes a recipient."""
        if len(self.rcpt) < MOST_RECIPIENTS:
            self.rcpt[final] = original

    def settle(self) -> None:
        """Notes whether nothing more is to come, when the server says how many recipients there are."""
        self.done = self.done or (self.client_ip is not None and 0 < self.nrcpt <= len(self.rcpt))

    def refuse(self, answer: str) -> None:
        """Notes that the whole message was refused with this answer."""
        self.rejected = True
        self.by_throttle = self.by_throttle or is_own(answer)


class MailLog(ABC):
    """The messages of a log that may lie in several files."""

    def __init__(self, stamps: Stamps, notes: Notes) -> None:
        self._framing = Framing(stamps)
        self._notes = notes
        self._open: dict[str, Message] = {}
        self._queue: deque[Message] = deque()
        self._text = 0  # characters of the lines of messages in the queue
        self._now = float("-inf")

    @abstractmethod
    def _take(self, framed: Framed, at: float) -> bool:
        """Reads one line; whether it is as the server writes it."""

    def read(self, lines: Iterable[str]) -> Iterator[Transaction]:
        """Yields the messages that end with one of these lines."""
        queue = self._queue
        for at, number, line, framed in steady(self._framed(lines), self._notes):
            if at > self._now:
                self._now = at
            if not self._take(framed, at):
                self._notes.break_at(number, line, "cut short, or not as the server writes it")
            while queue and (
                queue[0].done or queue[0].until < self._now or len(queue) > MOST_OPEN or self._text > MOST_TEXT
            ):
                yield from self._leave(queue.popleft())

    def rest(self) -> Iterator[Transaction]:
        """Yields the messages that are open at the end of the log."""
        while self._queue:
            yield from self._leave(self._queue.popleft())

    def _framed(self, lines: Iterable[str]) -> Iterator[Line[Framed]]:
        notes, read = self._notes, self._framing.read
        for number, line in enumerate(lines, 1):
            notes.lines += 1
            try:
                at, framed = read(line)
            except ValueError as error:
                if line.startswith("-- "):
                    notes.pass_over("lines of journalctl itself")
                elif line and not line.isspace():
                    notes.break_at(number, line, str(error))
                continue
            yield at, number, line, framed

    def _message(self, key: str, at: float, text: str) -> Message:
        """Returns the open message of a key, to which a line with this text belongs."""
        message = self._open.get(key)
        if message is None:
            message = self._begin(key, at, HOLD_SECONDS)
        self._count(message, text)
        return message

    def _refused(self, key: str, at: float, text: str, client: tuple[str, str | None], sender: str | None) -> Message:
        """Returns the message of a refusal that has no id, which may be one of several refused recipients."""
        ip, name = client
        message = self._open.get(key)
        if (
            message is None
            or abs(at - message.of) > TOGETHER_SECONDS
            or (message.client_ip, message.sender) != (ip, sender)
        ):
            message = self._begin(key, at, DISORDER_SECONDS)
        self._count(message, text)
        message.client_ip, message.client_name, message.sender = ip, name, sender
        return message

    def _end(self, message: Message) -> None:
        """Ends a message whose id another message has now."""
        message.done = True
        del self._open[message.key]

    def _begin(self, key: str, at: float, hold: float) -> Message:
        message = self._open[key] = Message(key, at, hold)
        self._queue.append(message)
        return message

    def _count(self, message: Message, text: str) -> None:
        message.text += len(text)
        self._text += len(text)

    def _leave(self, message: Message) -> Iterator[Transaction]:
        self._text -= message.text
        if self._open.get(message.key) is message:
            del self._open[message.key]
        ip = message.client_ip
        if ip is None:
            self._notes.pass_over("messages that came otherwise than by SMTP, or earlier")
            return
        if ip.startswith("127.") or ip == "::1":
            self._notes.pass_over("messages from this host itself")
            return
        if message.sender is None:
            self._notes.pass_over("transactions without a sender: given up, or refused before")
        yield Transaction(
            message.of,
            Envelope(
                client_ip=ip,
                client_name=message.client_name,
                helo=message.helo,
                mail_from=message.sender,
                rcpt_to=tuple(dict.fromkeys(message.rcpt.values())),
                auth_user=message.user and message.user[:MOST_USER],
                size=message.size,
            ),
            None,
            message.rejected,
            message.by_throttle,
        )


def number(text: str) -> int | None:
    """Returns a number that a server wrote; `None` for text that is none, or that no server writes."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None
