"""The demo's outage, sent to a real server over parallel connections, and what its senders were told.

It knows SMTP and the mail, not which server it is.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Self

from integrations.smtp_client import Sent, SmtpClient
from throttle import Envelope
from throttle.demo.traffic import Mix, conversations, quiet_hours

if TYPE_CHECKING:
    from throttle import Throttle
    from throttle.demo.traffic import Group, Message

SEED = 1
#: What `org-fan-out` of the policy `inbound` admits of one organisation: 200 new names at once, and then 200 in ten
#: minutes.
BURST, SECONDS_A_NAME = 200, 600 / 200


def most_admitted(seconds: float) -> int:
    """How many messages of the flood a policy admits at most in that time: each brings a new name."""
    return BURST + int(seconds / SECONDS_A_NAME)


class SentOutage:
    """A context manager that begins to send and ends when everything is sent; each conversation is a connection.

    Clients say who they are by XCLIENT, or by the PROXY protocol.
    """

    def __init__(self, port: int, connections: int, flood: int, *, by_proxy: bool = False) -> None:
        self.results: list[tuple[Message, Sent]] = []
        self.lost: list[str] = []
        self.begun = -1  # the connection that was begun last; a message's number begins with that of its connection
        self.flood = flood
        self._port, self._by_proxy = port, by_proxy
        talks = conversations(SEED, Mix.scaled(flood))
        self._messages = sum(map(len, talks))
        self._work: SimpleQueue[tuple[int, list[Message]]] = SimpleQueue()
        for entry in enumerate(talks):
            self._work.put(entry)
        self._threads = [threading.Thread(target=self._client) for _ in range(connections)]

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()
        self._seconds = time.monotonic() - self._started

    def _client(self) -> None:
        while True:
            try:
                number, messages = self._work.get_nowait()
            except Empty:
                return
            self.begun = max(self.begun, number)
            try:
                self._converse(number, messages)
            except OSError as error:
                self.lost.append(repr(error))

    def _converse(self, number: int, messages: list[Message]) -> None:
        address = (messages[0].client_ip, 1024 + number)
        with SmtpClient(self._port, address if self._by_proxy else None) as client:
            greeting = client.greeting if self._by_proxy else client.xclient(*address)
            hello = client.say(f"EHLO {messages[0].helo}")
            if (greeting.code, hello.code) != (220, 250):
                raise ConnectionError(f"{address}: {greeting}, {hello}")
            for index, message in enumerate(messages):
                header = f"From: <{message.header_from}>\r\nReply-To: <{message.reply_to}>\r\n"
                sent = client.send(f"{number}.{index}", message.mail_from, [message.rcpt_to], header=header)
                self.results.append((message, sent))
            client.say("QUIT")

    def accepted(self, group: Group | None = None) -> list[str]:
        """The numbers of the messages that the server has taken."""
        return [sent.number for message, sent in self.results if sent.accepted and group in (None, message.group)]

    def refused(self) -> Counter[tuple[Group, str, str]]:
        """How many messages of a group were refused, at which step, with which two codes."""
        return Counter(
            (message.group, sent.step, " ".join(sent.reply.text.split()[:2]))
            for message, sent in self.results
            if not sent.accepted
        )

    def report(self) -> str:
        """What was sent and what came of it, for people."""
        passed = {group: len(self.accepted(group)) for group in ("flood", "innocent", "tenant")}
        times = sorted(sent.seconds for _, sent in self.results)
        middle, late = (times[len(times) * share // 100] * 1000 for share in (50, 99))
        return (
            f"{len(self.results):,} messages over {len(self._threads)} connections in {self._seconds:.1f} s, "
            f"{len(self.results) / self._seconds:.0f} a second; accepted {passed}, "
            f"{passed['flood'] / self.flood:.2%} of the flood; refused {dict(self.refused())}; "
            f"a message took {middle:.0f} ms (p50), {late:.0f} ms (p99), {times[-1]:.2f} s (longest)"
        )

    def assert_only_the_flood_was_refused(self, step: str, codes: str) -> None:
        """Fails if anybody else was refused, or the flood at another step or with another code."""
        assert self.lost == []
        assert len(self.results) == self._messages
        assert set(self.refused()) == {("flood", step, codes)}

    def assert_little_of_the_flood_passed(self) -> None:
        """Fails if more of it passed than the policy admits, or less."""
        assert BURST <= len(self.accepted("flood")) <= most_admitted(self._seconds)

    def assert_at_most_two_in_a_hundred_of_the_flood_passed(self) -> None:
        """Fails if more passed. A flood of 12,000 in two minutes is the smallest of which the policy admits so few."""
        self.assert_little_of_the_flood_passed()
        assert len(self.accepted("flood")) <= 0.02 * self.flood


def remember_quiet_hours(guard: Throttle) -> None:
    """Checks what the demo's senders wrote in the hours before the outage, each message at its time."""
    start = time.time()
    for seconds_before, message in quiet_hours(SEED):
        past = Envelope(client_ip=message.client_ip, mail_from=message.mail_from, rcpt_to=[message.rcpt_to])
        guard.check(past, now=start - seconds_before)
