"""A Postfix log to transactions: who connected, who is said to send what to whom, and what the server refused itself.

    smtpd    4XfG1c: client=mx.example.org[198.51.100.7], sasl_username=joe
    qmgr     4XfG1c: from=<joe@example.org>, size=1234, nrcpt=1 (queue active)
    smtp     4XfG1c: to=<ann@box.test>, orig_to=<info@box.test>, relay=…, status=sent
    smtpd    NOQUEUE: reject: RCPT from mx.example.org[198.51.100.7]: 550 5.1.1 …; from=<joe@example.org>
    to=<x@box.test> proto=ESMTP helo=<mx>

What one message says stands on several lines of several processes, other messages' between them and in disorder by
some seconds. So a message is open from
its first line until all of its recipients were seen, at most for `HOLD_SECONDS` of the log's time, and messages leave
in the order in which they came.
A log tells of no HELO but a refused one's, of no header and of no SPF verdict.

It knows no policy. Invariant: at most `MOST_OPEN` messages are open, whatever the log says.
Source: Postfix 3.7, postconf(5), and the log lines that smtpd(8), qmgr(8), cleanup(8) and the delivery agents write.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from throttle import Envelope
from throttle.replay.steady import steady
from throttle.replay.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from throttle.replay.notes import Notes
    from throttle.replay.steady import Line
    from throttle.replay.times import Stamps

HOLD_SECONDS = 300
MOST_OPEN = 100_000
MOST_RECIPIENTS = 1000
DISORDER_SECONDS = 10  # after its last line a message may have others yet
TOGETHER_SECONDS = 1  # refusals of one process, client and sender within it are recipients of one message

_LINE = re.compile(r"\S+ (postfix[^\s\[]*)\[(\d+)\]: (.*)")
_SYSLOG = re.compile(r"\S+ [^\s:]+:? ?")
_CLIENT = re.compile(r"(\w+): client=([^\s\[\]]*)\[([^\]]*)\](?::\d+)?(.*)")
_USER = re.compile(r", sasl_username=([^,]*)")
_QUEUED = re.compile(r"(\w+): from=<(.*?)>(?:, size=(\d+), nrcpt=(\d+))?(?:[ ,]|$)")
_TO = re.compile(r"(\w+): to=<(.*?)>, (?:orig_to=<(.*?)>, )?")
_REFUSED = re.compile(r"(\w+): (?:milter-|proxy-)?(?:reject|accept): \S+ from ([^\s\[\]]*)\[([^\]]*)\](?::\d+)?: ")
_SAID = re.compile(r"; (?:from=<(.*?)> )?(?:to=<(.*?)> )?proto=\S+(?: helo=<(.*?)>)?(?: sasl_username=<(.*?)>)?$")
_DELIVERY = ("smtp", "lmtp", "local", "virtual", "pipe", "error", "discard", "relay")


class _Open:
    """A message of which more lines may come."""

    __slots__ = (
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
        self.rcpt: dict[str, str] = {}  # where it went, and what the sender wrote
        self.done = False
        self.rejected = False

    def settle(self) -> None:
        """Whether nothing more is to come, which a queue manager that counts its recipients tells."""
        self.done = self.done or (self.client_ip is not None and 0 < self.nrcpt <= len(self.rcpt))


class Postfix:
    """The messages of a log that may lie in several files."""

    def __init__(self, stamps: Stamps, notes: Notes) -> None:
        self._stamps = stamps
        self._notes = notes
        self._open: dict[str, _Open] = {}
        self._queue: deque[_Open] = deque()
        self._now = float("-inf")
        self._readers: dict[str, Callable[[str, str, float], bool] | None] = {}

    def read(self, lines: Iterable[str]) -> Iterator[Transaction]:
        """The messages that are over by the end of these lines."""
        notes, match, readers, queue = self._notes, _LINE.match, self._readers, self._queue
        for at, number, line, rest in steady(self._dated(lines), notes):
            found = match(line, rest)
            if found is None:
                if _SYSLOG.match(line, rest):
                    notes.pass_over("lines of other programs")
                else:
                    notes.break_at(number, line, "a date, and no program behind it")
                continue
            program, process, text = found.groups()
            if at > self._now:
                self._now = at
            try:
                reader = readers[program]
            except KeyError:
                reader = readers[program] = self._reader(program)
            if reader is None:
                notes.pass_over(f"lines of {program.rpartition('/')[2][:20]}")
            elif not reader(text, process, at):
                notes.break_at(number, line, "cut short, or not as Postfix writes it")
            while queue and (queue[0].done or queue[0].until < self._now or len(queue) > MOST_OPEN):
                yield from self._leave(queue.popleft())

    def _dated(self, lines: Iterable[str]) -> Iterator[Line[int]]:
        """With where the rest of each line begins."""
        notes, read_time = self._notes, self._stamps.read
        for number, line in enumerate(lines, 1):
            notes.lines += 1
            try:
                at, rest = read_time(line)
            except ValueError as error:
                if not line.isspace():
                    notes.break_at(number, line, str(error))
                continue
            yield at, number, line, rest

    def rest(self) -> Iterator[Transaction]:
        """The messages that are open at the end of the log."""
        while self._queue:
            yield from self._leave(self._queue.popleft())

    def _leave(self, message: _Open) -> Iterator[Transaction]:
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
                auth_user=message.user,
                size=message.size,
            ),
            None,
            message.rejected,
        )

    def _reader(self, program: str) -> Callable[[str, str, float], bool] | None:
        name = program.rpartition("/")[2]
        if name in _DELIVERY:
            return self._delivered
        return {"smtpd": self._smtpd, "qmgr": self._queued, "nqmgr": self._queued, "cleanup": self._cleanup}.get(name)

    def _of(self, key: str, at: float) -> _Open:
        message = self._open.get(key)
        if message is None:
            message = self._open[key] = _Open(key, at, HOLD_SECONDS)
            self._queue.append(message)
        return message

    def _smtpd(self, text: str, process: str, at: float) -> bool:
        found = _CLIENT.match(text)
        if found is None:
            return self._refused(text, process, at)
        key, name, ip, more = found.groups()
        if (
            key == "NOQUEUE" or "orig_client=" in more
        ):  # told again under its own id; or it came before, and was filtered
            self._notes.pass_over("messages handed on between a filter and Postfix")
            if key != "NOQUEUE":
                self._of(key, at).client_ip = "127.0.0.1"
            return True
        message = self._open.get(key)
        if message is not None and message.client_ip is not None:  # a short id that is used again
            message.done = True
            del self._open[key]
        message = self._of(key, at)
        message.of = at
        message.client_ip, message.client_name = ip, name
        user = _USER.search(more) if more else None
        if user:
            message.user = user[1]
        message.settle()
        return True

    def _refused(self, text: str, process: str, at: float) -> bool:
        found = _REFUSED.match(text)
        if found is None:
            return not text.startswith("NOQUEUE: reject: ") and ": client=" not in text
        said = _SAID.search(text, found.end())
        if said is None:
            return False
        key, name, ip = found.groups()
        sender, recipient, helo, user = said.groups()
        if key == "NOQUEUE":
            key = f"NOQUEUE {process}"
            message = self._open.get(key)
            if (
                message is None
                or abs(at - message.of) > TOGETHER_SECONDS
                or (message.client_ip, message.sender) != (ip, sender)
            ):
                message = self._open[key] = _Open(key, at, DISORDER_SECONDS)
                self._queue.append(message)
            message.client_ip, message.client_name, message.sender = ip, name, sender
            message.rejected = True
        else:
            message = self._of(key, at)
            if message.sender is None:
                message.sender = sender
        message.helo, message.user = helo or message.helo, user or message.user
        if recipient is not None and len(message.rcpt) < MOST_RECIPIENTS:
            message.rcpt[recipient] = recipient
        return True

    def _cleanup(self, text: str, process: str, at: float) -> bool:
        return self._refused(text, process, at) if "-reject: " in text else True

    def _queued(self, text: str, process: str, at: float) -> bool:
        found = _QUEUED.match(text)
        if found is None:
            if text.endswith(": removed"):
                message = self._open.get(text[: -len(": removed")])
                if message is not None:
                    message.until = min(message.until, at + DISORDER_SECONDS)
                return True
            return ": from=<" not in text
        key, sender, size, nrcpt = found.groups()
        if size is None:  # expired, or on hold
            return True
        message = self._of(key, at)
        message.sender, message.size, message.nrcpt = sender, int(size), int(nrcpt)
        message.settle()
        return True

    def _delivered(self, text: str, process: str, at: float) -> bool:
        found = _TO.match(text)
        if found is None:
            return ": to=<" not in text
        key, to, original = found.groups()
        message = self._of(key, at)
        if len(message.rcpt) < MOST_RECIPIENTS:
            message.rcpt[to] = original or to
        message.settle()
        return True
