"""Reads the log of Postfix: who connected, who is said to send what to whom, and what the server refused itself.

    smtpd    4XfG1c: client=mx.example.org[198.51.100.7], sasl_username=joe
    qmgr     4XfG1c: from=<joe@example.org>, size=1234, nrcpt=1 (queue active)
    smtp     4XfG1c: to=<ann@box.test>, orig_to=<info@box.test>, relay=…, status=sent
    smtpd    NOQUEUE: reject: RCPT from mx.example.org[198.51.100.7]: 550 5.1.1 …; from=<joe@example.org>
             to=<x@box.test> proto=ESMTP helo=<mx>
    cleanup  4XfG1c: milter-reject: END-OF-MESSAGE from mx.example.org[198.51.100.7]: 5.7.1 …; from=<joe@example.org>
             to=<ann@box.test> proto=ESMTP helo=<mx>

A program is `postfix/smtpd`, or has another name in front, as `syslog_name` says: `postfix/submission/smtpd`,
`postfix-in/smtpd`. Where the frame of a line has lost the daemon (`postfix` alone), the text says which it was.

A log tells of no HELO but a refused client's, of no header and of no SPF verdict.

Source: Postfix 3.7, postconf(5), and the log lines that smtpd(8), qmgr(8), cleanup(8) and the delivery agents write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from throttle.replay.mail_log import DISORDER_SECONDS, MailLog, Message, number

if TYPE_CHECKING:
    from throttle.replay.framing import Framed

PROGRAM = "postfix"
_DELIVERY = frozenset({"smtp", "lmtp", "local", "virtual", "pipe", "error", "discard", "relay"})
_QUEUE = frozenset({"qmgr", "nqmgr"})
DAEMONS = _DELIVERY | _QUEUE | {"smtpd", "cleanup"}

_NONE = "NOQUEUE"
_REMOVED = ": removed"
OF_EXIM = "lines of Exim"
_FILTERED = "messages handed on between a filter and Postfix"


class _Refusal(NamedTuple):
    """What stands behind the stage of a refusal."""

    ip: str
    name: str
    answer: str
    sender: str | None
    recipient: str | None
    helo: str | None


class Postfix(MailLog):
    """The messages of a Postfix log."""

    def _take(self, framed: Framed, at: float) -> bool:
        text = framed.text
        instance, slash, daemon = framed.program.rpartition("/")
        if not slash and daemon == PROGRAM:
            daemon = _daemon_of(text)
        elif not (slash and instance):
            if not framed.program and " " not in framed.whole:
                return False
            self._notes.pass_over(OF_EXIM if framed.program.startswith("exim") else "lines of other programs")
            return True
        if daemon in _DELIVERY:
            return self._delivered(text, at)
        if daemon in _QUEUE:
            return self._queued(text, at)
        if daemon == "smtpd":
            return self._smtpd(text, framed.process, at)
        if daemon == "cleanup":
            return self._rejected(text, framed.process, at)
        self._notes.pass_over(f"lines of {daemon[:20]}")
        return True

    def _smtpd(self, text: str, process: str, at: float) -> bool:
        key, found, rest = text.partition(": client=")
        if not found or not key.isalnum():
            return self._rejected(text, process, at)
        client = _client(rest)
        if client is None:
            return False
        name, ip, more = client
        # Its own id repeats the client; a filter that returns a message tells whom it had it from.
        if key == _NONE or "orig_client=" in more:
            self._notes.pass_over(_FILTERED)
            if key != _NONE:
                self._message(key, at, text).client_ip = "127.0.0.1"
            return True
        message = self._open.get(key)
        if message is not None and message.client_ip is not None:  # a short id that is used again
            self._end(message)
        message = self._message(key, at, text)
        message.of = at
        message.client_ip, message.client_name = ip, name
        user = more.partition(", sasl_username=")[2].partition(",")[0]
        if user:
            message.user = user
        message.settle()
        return True

    def _rejected(self, text: str, process: str, at: float) -> bool:
        """Reads a refusal, or an acceptance by a filter that stands before the queue."""
        key, _, rest = text.partition(": ")
        verb, _, rest = rest.partition(": ")
        verb = verb.removeprefix("milter-").removeprefix("proxy-")
        if verb not in ("reject", "accept") or not key.isalnum():
            return True
        stage, found, rest = rest.partition(" from ")
        if not found:
            return False
        if stage.startswith(("header ", "body ")):  # header_checks and body_checks refuse the whole message
            self._refuse(self._message(key, at, text), at, "")
            return True
        refusal = _refusal(rest)
        if refusal is None:
            return False
        if key == _NONE:
            client = (refusal.ip, refusal.name)
            message = self._refused(f"{_NONE} {process}", at, text, client, refusal.sender)
            if verb == "reject":
                message.refuse(refusal.answer)
        else:
            message = self._message(key, at, text)
            if message.sender is None:
                message.sender = refusal.sender
            if verb == "reject" and (stage == "DATA" or stage.startswith("END-OF-")):
                self._refuse(message, at, refusal.answer)
        message.helo = refusal.helo or message.helo
        if refusal.recipient is not None:
            message.add_recipient(refusal.recipient, refusal.recipient)
        return True

    def _refuse(self, message: Message, at: float, answer: str) -> None:
        message.refuse(answer)
        message.until = min(message.until, at + DISORDER_SECONDS)

    def _queued(self, text: str, at: float) -> bool:
        key, found, rest = text.partition(": from=<")
        if not found or not key.isalnum():
            if text.endswith(_REMOVED):
                message = self._open.get(text[: -len(_REMOVED)])
                if message is not None:
                    message.until = min(message.until, at + DISORDER_SECONDS)
            return not found
        sender, found, rest = rest.rpartition(">, size=")
        if not found:
            return ">" in rest  # expired, or on hold
        octets, _, rest = rest.partition(", nrcpt=")
        size, nrcpt = number(octets), number(rest.partition(" ")[0])
        if size is None or nrcpt is None:
            return False
        message = self._message(key, at, text)
        message.sender, message.size, message.nrcpt = sender, size, nrcpt
        message.settle()
        return True

    def _delivered(self, text: str, at: float) -> bool:
        key, found, rest = text.partition(": to=<")
        if not found or not key.isalnum():
            return not found
        to, found, rest = rest.partition(">, ")
        if not found:
            return False
        original = ""
        if rest.startswith("orig_to=<"):
            original = rest[len("orig_to=<") :].partition(">, ")[0]
        message = self._message(key, at, text)
        message.add_recipient(to, original or to)
        message.settle()
        return True


def is_line(framed: Framed) -> bool:
    """Returns whether Postfix wrote a line."""
    instance, slash, daemon = framed.program.rpartition("/")
    return framed.program == PROGRAM or (bool(slash) and (instance.startswith(PROGRAM) or daemon in DAEMONS))


def _daemon_of(text: str) -> str:
    """Returns a daemon that writes such a line: only those that matter here are told apart."""
    told = text.partition(": ")[2]
    if told.startswith("to=<"):
        return "smtp"
    return "qmgr" if told.startswith("from=<") or told == "removed" else "smtpd"


def _client(text: str) -> tuple[str, str, str] | None:
    """Reads `name[address]:port`, and returns name, address and what follows."""
    name, _, rest = text.partition("[")
    ip, closed, rest = rest.partition("]")
    if not closed or " " in name:
        return None
    if rest.startswith(":") and rest[1:2].isdigit():
        rest = rest[1:].lstrip("0123456789")
    return name, ip, rest


def _refusal(text: str) -> _Refusal | None:
    """Reads the client, the answer, and from the right what the client said: the answer may repeat any of that.

    A user at the end is left out: a HELO name may look like it. The line of the client names the user of a message.
    """
    client = _client(text)
    if client is None:
        return None
    name, ip, rest = client
    rest, _ = _last(rest, " sasl_username=<")
    rest, helo = _last(rest, " helo=<")
    rest, found, protocol = rest.rpartition(" proto=")
    if not found or " " in protocol:
        return None
    rest, recipient = _last(rest, " to=<")
    rest, sender = _last(rest, " from=<")
    if not (rest.startswith(": ") and rest.endswith(";")):
        return None
    return _Refusal(ip, name, rest[2:-1], sender, recipient, helo)


def _last(text: str, mark: str) -> tuple[str, str | None]:
    """Takes `mark` and a value in angle brackets off the end of a text."""
    if text.endswith(">"):
        before, found, value = text[:-1].rpartition(mark)
        if found:
            return before, value
    return text, None
