"""Counts of many keys in bounded memory: who sends most, and how much keys send in a period.

It knows no mail. A log can hold millions of keys, so both keep `MOST_KEYS` of them exactly, and tell what they could not.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

MOST_KEYS = 100_000
_MINUTE, _HOUR = 60, 3600
_EXACT = 1 << 12  # amounts of a period from here on are kept to one part in 256


class Heavy:
    """The keys with the highest counts.

    Exact up to `most` keys; beyond, every count is too low by at most `short`, which is at most the sum of all counts over `most`.
    Source: Misra and Gries 1982, pruned in batches as in Agarwal et al. 2012, "Mergeable summaries".
    """

    def __init__(self, most: int = MOST_KEYS) -> None:
        self.counts: Counter[str] = Counter()
        self.short = 0
        self._most = most

    def add(self, key: str) -> None:
        """Count a key."""
        self.counts[key] += 1
        if len(self.counts) > 2 * self._most:
            self._prune()

    def update(self, counts: Mapping[str, int]) -> None:
        """Count many at once."""
        self.counts.update(counts)
        if len(self.counts) > 2 * self._most:
            self._prune()

    def top(self, n: int) -> list[tuple[str, int]]:
        """The `n` highest, the highest first."""
        floor = min(
            heapq.nlargest(n, self.counts.values()), default=0
        )  # to sort all takes seconds, of hundreds of thousands
        above = sorted((-count, key) for key, count in self.counts.items() if count > floor)
        level = heapq.nsmallest(n - len(above), (key for key, count in self.counts.items() if count == floor))
        return [(key, -count) for count, key in above] + [(key, floor) for key in level]

    def _prune(self) -> None:
        less = sorted(self.counts.values(), reverse=True)[self._most]
        self.short += less
        self.counts = Counter({key: count - less for key, count in self.counts.items() if count > less})


class Panes:
    """How much each key has in each period of the log: one number for each key that had any, from which percentiles are told.

    Of one period about the first `MOST_KEYS` keys are counted; what the others had is in `uncounted`.
    """

    def __init__(self, seconds: int, closed: Callable[[Mapping[str, int]], None] | None = None) -> None:
        """`closed` gets the counts of each period."""
        self.seconds = seconds
        #: Keys that have no say in percentiles from the period at hand on; they may have the most.
        self.left_out: set[str] = set()
        self._tell = closed
        self.uncounted = 0
        self.most = 0
        self.most_key = ""
        self._pane = 0.0
        self._now: Counter[str] = Counter()
        self._closed: Counter[int] = Counter()

    def add(self, at: float, key: str, amount: int = 1) -> None:
        """Count; `at` never lies before that of the call before."""
        self._turn(at)
        if key in self._now or len(self._now) < MOST_KEYS:
            self._now[key] += amount
        else:
            self.uncounted += amount

    def update(self, at: float, keys: Sequence[str]) -> None:
        """Count many keys of one period at once."""
        self._turn(at)
        if len(self._now) >= MOST_KEYS:
            known = [key for key in keys if key in self._now]
            self.uncounted += len(keys) - len(known)
            keys = known
        self._now.update(keys)

    def _turn(self, at: float) -> None:
        if at >= self._pane + self.seconds:
            self.close()
            self._pane = at // self.seconds * self.seconds

    def close(self) -> None:
        """Take down the period at hand."""
        if not self._now:
            return
        most = max(self._now.values())
        if most > self.most:
            self.most, self.most_key = most, next(key for key, amount in self._now.items() if amount == most)
        closed = Counter(self._now.values())
        closed.subtract(self._now[key] for key in self._now.keys() & self.left_out)
        for amount in [amount for amount in closed if amount >= _EXACT]:
            count = closed.pop(amount)
            closed[_coarse(amount)] += count
        self._closed.update(+closed)
        if self._tell:
            self._tell(self._now)
        self._now = Counter()

    def now(self, key: str) -> int:
        """What a key has had in the period at hand."""
        return self._now[key]

    @property
    def count(self) -> int:
        """How many numbers there are: a key in a period is one."""
        return sum(self._closed.values())

    def percentile(self, share: float) -> int:
        """The lowest amount that at least this share of the numbers does not exceed; 0 when there are none."""
        rank, passed = share * self.count, 0
        for amount in sorted(self._closed):
            passed += self._closed[amount]
            if passed >= rank:
                return min(amount, self.most)
        return 0


def _coarse(amount: int) -> int:
    """Rounded up to its highest eight bits, so that there are few different ones."""
    shift = max(amount.bit_length() - 8, 0)
    return -(-amount >> shift) << shift


class Tally:
    """Keys, counted many at a time: who sends most, and how much in each period."""

    def __init__(self, periods: Iterable[int]) -> None:
        self._total = Heavy()
        self.minute = Panes(_MINUTE)
        self.hour = Panes(_HOUR, self._total.update)
        self.panes = {_MINUTE: self.minute, _HOUR: self.hour}
        self.panes |= {seconds: Panes(seconds) for seconds in periods if seconds not in self.panes}

    def update(self, at: float, keys: Sequence[str]) -> None:
        """Count many keys that came in one period of whatever length."""
        for panes in self.panes.values():
            panes.update(at, keys)

    def close(self) -> None:
        """Take down the periods at hand."""
        for panes in self.panes.values():
            panes.close()

    def count(self, key: str) -> int:
        """What a key has had so far."""
        return self._total.counts[key] + self.hour.now(key)

    @property
    def total(self) -> Heavy:
        """What each key had, once all is closed."""
        return self._total
