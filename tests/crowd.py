"""Senders who keep their limit, senders who do not, and how a flood of unique keys is laid between their messages.

It knows no guard: whether a sender keeps the limit is what tests/exact_buckets.py says.
Invariant: what :meth:`Crowd.minutes` yields for an innocent is within its limit, to the part of a microsecond.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from exact_buckets import ExactBuckets

INNOCENTS = 20_000
INNOCENT_MESSAGES_A_MINUTE = 200_000
STEP_US = 60_000_000 // INNOCENT_MESSAGES_A_MINUTE  # 300 µs
START_US = 1_795_000_000_000_000  # November 2026


class Hit(NamedTuple):
    """One message."""

    at_us: int
    key: str
    greedy: bool


class Crowd:
    """20,000 innocents whose shares follow Zipf's law, and some greedy senders, each at a pace of its own."""

    def __init__(self, rng: random.Random, oracle: ExactBuckets, greedy: dict[str, int]) -> None:
        """``greedy`` says how many messages a minute each of them sends."""
        self.rng = rng
        self.oracle = oracle
        self.names = [f"sender{number}.com" for number in range(INNOCENTS)]
        self.weights = list(accumulate(1 / rank for rank in range(1, INNOCENTS + 1)))
        self.greedy = greedy

    def minutes(self, count: int) -> Iterator[Hit]:
        """Messages in order of time; an innocent's is charged in the oracle here, a greedy one's is the caller's to
        judge.

        Who is at the limit waits, and another sends instead: so the heaviest innocents send all that they may.
        """
        steps = count * INNOCENT_MESSAGES_A_MINUTE
        due: defaultdict[int, list[str]] = defaultdict(list)
        for name, pace in self.greedy.items():
            every = INNOCENT_MESSAGES_A_MINUTE // pace
            for step in range(self.rng.randrange(every), steps, every):
                due[step].append(name)
        for step in range(steps):
            now = START_US + step * STEP_US
            for name in due.get(step, ()):
                yield Hit(now, name, greedy=True)
            name = self.innocent(now)
            self.oracle.charge(name, now)
            yield Hit(now, name, greedy=False)

    def innocent(self, now_us: int) -> str:
        """One who keeps the limit by sending now."""
        while True:
            (name,) = self.rng.choices(self.names, cum_weights=self.weights)
            if self.oracle.excess(name, now_us) <= 0:
                return name
