"""A guard under ordinary mail, with the senders' queues: what is deferred, by which limit, and when it got through.

The guard sees each message whole, with its header. Who is deferred comes again after 5, 10, 20 … minutes, from any
address of its pool, and gives up after five days, as mail servers do. Only the first deferral of a message counts.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from typing import TYPE_CHECKING

from mail.kinds import HOUR_US, MINUTE_US
from mail.mix import START_US

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mail.message import Message
    from throttle import Throttle

FIRST_RETRY_US = 5 * MINUTE_US
LONGEST_RETRY_US = 4 * HOUR_US


class Counts:
    """What came of one or several runs, by hour and kind. ``deferred`` counts messages by (hour, kind, limit) of their
    first deferral, ``refused_again`` those whose first retry was refused, by kind and that refusal's limit.
    """

    def __init__(self) -> None:
        self.messages: Counter[tuple[int, str]] = Counter()
        self.deferred: Counter[tuple[int, str, str]] = Counter()
        self.keys: Counter[tuple[str, str, str]] = Counter()
        self.refused_again: Counter[tuple[str, str]] = Counter()
        self.longest_delay_us = 0
        self.still_waiting = 0

    def add(self, other: Counts) -> None:
        self.messages.update(other.messages)
        self.deferred.update(other.deferred)
        self.keys.update(other.keys)
        self.refused_again.update(other.refused_again)
        self.longest_delay_us = max(self.longest_delay_us, other.longest_delay_us)
        self.still_waiting += other.still_waiting

    def sent(self, hour: int) -> int:
        return sum(count for (of, _), count in self.messages.items() if of == hour)

    def share_deferred(self, hour: int) -> float:
        """Of the messages that came in the hour, how many were deferred at least once."""
        return sum(count for (of, _, _), count in self.deferred.items() if of == hour) / self.sent(hour)

    def limits(self, kind: str | None = None) -> dict[str, int]:
        """Which limits deferred, all hours together."""
        limits: Counter[str] = Counter()
        for (_, of, limit), count in self.deferred.items():
            if kind in (None, of):
                limits[limit] += count
        return dict(limits)


class Trial(Counts):
    """One guard and the queues of those whom it deferred."""

    def __init__(self, guard: Throttle, seed: str) -> None:
        super().__init__()
        self.guard = guard
        self.rng = random.Random(f"{seed} retries")
        self.waiting: list[tuple[int, int, int, Message]] = []
        self.number = 0

    def run(self, mail: Iterable[Message]) -> Trial:
        check, messages, waiting = self.guard.check, self.messages, self.waiting
        for message in mail:
            at = message.at_us
            while waiting and waiting[0][0] <= at:
                self.again(*heapq.heappop(waiting))
            hour = (at - START_US) // HOUR_US
            messages[hour, message.kind] += 1
            decision = check(message.envelope(), now=at / 1e6)
            if not decision.allowed:
                assert decision.limit is not None
                assert decision.key is not None
                self.deferred[hour, message.kind, decision.limit] += 1
                self.keys[message.kind, decision.limit, decision.key] += 1
                self.wait(at, 0, message)
        return self

    def wait(self, at: int, attempt: int, message: Message) -> None:
        self.number += 1  # so that no two messages are compared
        due = at + min(FIRST_RETRY_US << attempt, LONGEST_RETRY_US)
        heapq.heappush(self.waiting, (due, self.number, attempt + 1, message))
        self.still_waiting = len(self.waiting)

    def again(self, at: int, number: int, attempt: int, message: Message) -> None:
        envelope = message._replace(client_ip=self.rng.choice(message.pool)).envelope()
        decision = self.guard.check(envelope, now=at / 1e6)
        if decision.allowed:
            self.longest_delay_us = max(self.longest_delay_us, at - message.at_us)
            self.still_waiting = len(self.waiting)
            return
        if attempt == 1:
            assert decision.limit is not None
            self.refused_again[message.kind, decision.limit] += 1
        self.wait(at, attempt, message)
