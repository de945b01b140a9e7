"""The process of all senders: real SMTP clients (smtplib) that write the outage's mail in its order, as fast as it is
taken.

It knows the traffic and one server's port, no guard.
Invariants: every message ends in exactly one of accepted, refused, failed; no socket waits for ever.
"""

from __future__ import annotations

import smtplib
import socket
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from throttle.demo.child import ignore_interrupts, say, serve
from throttle.demo.inbox import GROUP_HEADER
from throttle.demo.plan import Plan
from throttle.demo.server import LOOPBACK
from throttle.demo.traffic import GROUPS, Message, conversations, last_minute

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECTIONS = 24  # at a time
SOCKET_SECONDS = 20.0


class Tally:
    """What the senders were told; shared by all connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.accepted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.failure: str | None = None

    def count(self, message: Message, *, accepted: bool) -> None:
        """A message was answered."""
        with self._lock:
            (self.accepted if accepted else self.refused)[message.group] += 1

    def fail(self, messages: list[Message], error: Exception) -> None:
        """Messages got no answer."""
        with self._lock:
            self.failed.update(message.group for message in messages)
            self.failure = self.failure or repr(error)

    def report(self) -> Mapping[str, Any]:
        """The state as one JSON object."""
        with self._lock:
            groups = ("quiet", *GROUPS)
            return {
                "sent": {group: self.accepted[group] + self.refused[group] + self.failed[group] for group in groups},
                "refused": {group: self.refused[group] for group in groups},
                "failed": sum(self.failed.values()),
                "failure": self.failure,
            }


def write(port: int, talks: list[list[Message]], tally: Tally) -> None:
    """Hold all conversations, some at a time, in the order given."""
    with ThreadPoolExecutor(CONNECTIONS) as senders:
        for _ in senders.map(lambda messages: converse(port, messages, tally), talks):
            pass


def converse(port: int, messages: list[Message], tally: Tally) -> None:
    """One SMTP connection from one client address."""
    waiting = list(messages)
    try:
        with smtplib.SMTP(local_hostname=messages[0].helo, timeout=SOCKET_SECONDS) as client:
            _connect(client, port, messages[0].client_ip)
            client.ehlo()
            while waiting:
                tally.count(waiting[0], accepted=_send(client, waiting[0]))
                waiting.pop(0)
    except (OSError, smtplib.SMTPException) as error:
        tally.fail(waiting, error)


def _send(client: smtplib.SMTP, message: Message) -> bool:
    code, _ = client.mail(message.mail_from)
    if code != 250:
        return False
    code, _ = client.rcpt(message.rcpt_to)
    if code != 250:
        client.rset()
        return False
    code, _ = client.data(_content(message))
    return code == 250


def _connect(client: smtplib.SMTP, port: int, client_ip: str) -> None:
    family, server_ip = ("TCP6", "2001:db8::25") if ":" in client_ip else ("TCP4", "192.0.2.25")
    client.sock = socket.create_connection((LOOPBACK, port), SOCKET_SECONDS)
    client.sock.sendall(f"PROXY {family} {client_ip} {server_ip} 50000 25\r\n".encode("ascii"))
    client.getreply()


def _content(message: Message) -> bytes:
    head = (
        f"{message.group}\r\nFrom: {message.header_from}\r\nReply-To: {message.reply_to}\r\n"
        f"To: {message.rcpt_to}\r\nSubject: Your case was updated\r\n\r\n"
    )
    return GROUP_HEADER + head.encode("ascii") + b"Please see the case for details.\r\n" * 8


def main() -> None:
    """`python -m throttle.demo.clients PORT PLAN`."""
    ignore_interrupts()
    port, plan = int(sys.argv[1]), Plan.from_argument(sys.argv[2])
    talks = conversations(plan.seed, plan.mix)
    go, done, tally = threading.Event(), threading.Event(), Tally()

    def start() -> Mapping[str, Any]:
        go.set()
        return {"started": True}

    def status() -> Mapping[str, Any]:
        finished = done.is_set()  # first: what is counted in between would be lost
        return {**tally.report(), "done": finished}

    before = Tally()
    write(port, last_minute(plan.seed), before)
    serve({"start": start, "status": status})
    say(before.report())
    go.wait()
    write(port, talks, tally)
    done.set()
    threading.Event().wait()  # the parent ends this process


if __name__ == "__main__":
    main()
