"""Reads the main log of Exim: what arrived from whom, where it went, and what the server refused itself.

    2026-11-25 17:20:31 1vNabc-000000001Ab-0001 <= joe@example.org H=mx.example.org (helo) [198.51.100.7]:4711
        P=esmtpsa X=TLS1.3:… CV=no A=login:joe S=1234 id=… T="…" from <joe@example.org> for ann@box.test
    2026-11-25 17:20:32 1vNabc-000000001Ab-0001 => ann <info@box.test> R=local T=lmtp
    2026-11-25 17:20:32 1vNabc-000000001Ab-0001 Completed
    2026-11-25 17:20:40 H=(helo) [198.51.100.7] F=<joe@example.org> rejected RCPT <x@box.test>: unknown user
    2026-11-25 17:20:41 1vNabd-000000002Cd-0001 H=(helo) [198.51.100.7] F=<joe@example.org> rejected after DATA: spam
    2026-11-25 17:20:42 rejected MAIL FROM:<joe@example.org> H=(helo) [198.51.100.7]: message too big: size=9 max=8

What the fields say: `<=` is an arrival. `=>`, `->`, `>>`, `*>`, `**` and `==` begin with a recipient that was
delivered, delivered in the same transaction, handed on at once, not delivered because of a test, failed, or deferred.
Where the recipient was rewritten or forwarded, the address that the sender wrote stands behind it in angle brackets.
`H=` has the name of the client that the server looked up, in parentheses what the client said in HELO, and its
address. HELO is left out when it is that name. `A=` has the authenticator and the user, `S=` the bytes, `P=` the
protocol, which is `local…` for what came otherwise than by SMTP. `for` lists the recipients (log selector
`received_recipients`); without it they come from the deliveries. A process number in brackets may stand before all of
it (log selector `pid`). Subjects, TLS names and anything else in quotes is the client's, and is skipped.

A log contains neither headers nor SPF verdicts. When a message arrived and some of its recipients were refused, it
makes two transactions, since the refusals have no id.

Source: The Exim specification, version 4.98, chapter 53, "Log files".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from throttle.replay.mail_log import DISORDER_SECONDS, MailLog, number

if TYPE_CHECKING:
    from throttle.replay.framing import Framed
    from throttle.replay.mail_log import Message

PROGRAM = "exim"
_DELIVERY = frozenset({"=>", "->", ">>", "*>", "**", "=="})
_ARRIVAL = "<="
_ID = re.compile(r"[0-9A-Za-z]{6}-(?:[0-9A-Za-z]{6}-[0-9A-Za-z]{2}|[0-9A-Za-z]{11}-[0-9A-Za-z]{4})(?= )")
_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})?(?: [+-]\d{4})? ")
_PROCESS = re.compile(r"\[(\d{1,10})\] ")
#: An address may hold blanks in a quoted local part.
_ADDRESS = re.compile(r'(?:"(?:\\.|[^"\\])*+")?+[^ ]*+')
#: An unclosed quote reaches to the end.
_QUOTED = re.compile(r'"(?:\\.|[^"])*+"?+')
_REFUSED = re.compile(r"(?:temporarily )?rejected ")
_TOO_BIG = ("rejected MAIL FROM:<", "rejected from <")  # the size that was declared, and the size that was read
_KINDS = ("RCPT ", "MAIL ", "DATA", "after DATA", "EHLO ", "HELO ", "connection ", "AUTH", "STARTTLS", "VRFY", "ETRN")
_NEWS = ("Start queue run: ", "End queue run: ", "no host name found for IP address ")
_LOCAL = "local"
_OTHERS = "lines that are no arrival, delivery or refusal"


class _Client(NamedTuple):
    """What `H=` says, and what follows."""

    ip: str
    name: str | None
    helo: str | None
    rest: str


class Exim(MailLog):
    """The messages of Exim's main log."""

    def _take(self, framed: Framed, at: float) -> bool:
        process, text = _own(framed)
        key = _id(text)
        if key is None:
            return self._refusal(None, text, process, at)
        rest = text[len(key) + 1 :]
        flag, _, told = rest.partition(" ")
        if flag == _ARRIVAL:
            return self._arrived(key, told, at)
        if flag in _DELIVERY:
            return self._delivered(key, told, at)
        if rest.startswith("Completed"):
            message = self._open.get(key)
            if message is not None:
                message.until = min(message.until, at + DISORDER_SECONDS)
            return True
        return self._refusal(key, rest, process, at)

    def _arrived(self, key: str, told: str, at: float) -> bool:
        found = _ADDRESS.match(told)
        sender = found[0] if found else ""
        rest = told[len(sender) :].lstrip(" ")
        if rest.startswith("R="):  # the message that a bounce is about
            rest = rest.partition(" ")[2]
        client = _client(rest)
        fields = _QUOTED.sub('""', client.rest if client else rest)
        # What follows `id=` is the sender's; the first field of a name counts.
        words = fields.partition(" id=")[0].split()
        values = {name: value for name, equals, value in (word.partition("=") for word in reversed(words)) if equals}
        size = number(values["S"]) if "S" in values else None
        if not sender or "P" not in values or (size is None and "S" in values):
            return False
        message = self._open.get(key)
        if message is not None and message.client_ip is not None:
            self._end(message)
        message = self._message(key, at, told)
        message.of, message.sender, message.size = at, sender, size
        if client is not None and not values["P"].startswith(_LOCAL):
            message.client_ip, message.client_name, message.helo = client.ip, client.name, client.helo
            message.user = _user(f"A={values['A']}") if "A" in values else None
        for recipient in fields.rpartition(" for ")[2].split() if " for " in fields else ():
            message.add_recipient(recipient, recipient)
            message.nrcpt = len(message.rcpt)
        message.settle()
        return True

    def _delivered(self, key: str, told: str, at: float) -> bool:
        found = _ADDRESS.match(told)
        if found is None or not found[0]:
            return False
        to, rest = found[0], told[found.end() :].lstrip(" ")
        if rest.startswith("("):  # the address between a local part and the one that the sender wrote
            rest = rest.partition(") ")[2]
        original = rest[1:].partition(">")[0] if rest.startswith("<") else ""
        message = self._message(key, at, told)
        if not message.nrcpt:
            message.add_recipient(original or to, original or to)
        return True

    def _refusal(self, key: str | None, text: str, process: str, at: float) -> bool:
        if text.startswith(_TOO_BIG):
            address, found, rest = text.partition("<")[2].partition("> ")
            client = _client(rest)
            if not found or client is None:
                return False
            message = self._message_of(key, text, process, at, client, address)
            message.size = number(client.rest.partition("=")[2].partition(" ")[0])
            message.refuse("")
            return True
        client = _client(text)
        if client is None:
            self._notes.pass_over(_OTHERS)
            return not text.startswith("H=")
        before, found, rest = client.rest.partition(" F=<")
        sender: str | None
        sender, closed, rest = rest.partition("> ")
        if not found:
            sender, rest = None, client.rest
        elif not closed:
            return False
        refused = _REFUSED.match(rest) if found else _REFUSED.search(rest)
        what = rest[refused.end() :] if refused else ""
        if refused is None or not what.startswith(_KINDS):
            self._notes.pass_over(_OTHERS)
            return True
        command, _, about = what.partition(" ")
        answer, recipient = what.partition(": ")[2], None
        if command in ("RCPT", "MAIL") and about.startswith("<"):
            address, _, answer = about[1:].partition(">")
            if command == "MAIL":
                sender = address
            else:
                recipient = address
        message = self._message_of(key, text, process, at, client, sender)
        message.user = message.user or _user(before if found else rest[: refused.start()])
        if recipient is not None:
            message.add_recipient(recipient, recipient)
        message.refuse(answer.removeprefix(": "))
        return True

    def _message_of(
        self, key: str | None, text: str, process: str, at: float, client: _Client, sender: str | None
    ) -> Message:
        """Returns the message that was refused."""
        if key is None:
            message = self._refused(f" {process} {client.ip}", at, text, (client.ip, client.name), sender)
        else:
            message = self._message(key, at, text)
            message.client_ip, message.client_name = client.ip, client.name
            message.sender = message.sender if sender is None else sender
            message.until = min(message.until, at + DISORDER_SECONDS)
        message.helo = client.helo or message.helo
        return message


def is_line(framed: Framed) -> bool:
    """Returns whether Exim wrote a line of its main log."""
    if framed.program.startswith(PROGRAM):
        return True
    text = _own(framed)[1]
    key = _id(text)
    if key is not None:
        flag = text[len(key) + 1 :].partition(" ")[0]
        return flag == _ARRIVAL or flag in _DELIVERY or flag == "Completed"
    return text.startswith((*_TOO_BIG, *_NEWS)) or (text.startswith("H=") and _REFUSED.search(text) is not None)


def _own(framed: Framed) -> tuple[str, str]:
    """Returns the process, and the text that Exim wrote; in a syslog its own date may stand before it."""
    process, text = framed.process, framed.whole
    if framed.program.startswith(PROGRAM):
        text = framed.text
        date = _DATE.match(text)
        text = text[date.end() :] if date else text
    found = _PROCESS.match(text)
    if found:
        process, text = found[1], text[found.end() :]
    return process, text


def _id(text: str) -> str | None:
    found = _ID.match(text)
    return found[0] if found else None


def _client(text: str) -> _Client | None:
    """Reads `H=name (helo) [address]:port`. The name, the HELO or both may be missing."""
    if not text.startswith("H="):
        return None
    rest, name, helo = text[2:], None, None
    if not rest.startswith(("(", "[")):
        name, _, rest = rest.partition(" ")
    if rest.startswith("("):
        helo, _, rest = rest[1:].partition(") ")
    ip, closed, rest = rest[1:].partition("]")
    if not closed:
        return None
    if rest.startswith(":"):
        rest = rest[1:].lstrip("0123456789")
    return _Client(ip, name, helo or name, rest)


def _user(fields: str) -> str | None:
    """Returns the user of `A=authenticator:user`, outside quotes."""
    for word in _QUOTED.sub('""', fields).split():
        if word.startswith("A="):
            return word.partition(":")[2].partition(":")[0] or None
    return None
