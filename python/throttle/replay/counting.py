"""Counts of many keys in bounded memory: who sends most, and how much keys send in a period.

It knows no mail. A log can hold millions of keys, so both keep `MOST_KEYS` of them exactly, and tell what they could
not.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from throttle._replay import Counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from throttle._replay import Texts

MOST_KEYS = 100_000
_MINUTE, _HOUR = 60, 3600
_EXACT = 1 << 12  # amounts of a period from here on are kept to one part in 256


class Heavy:
    """The keys with the highest counts.

    Exact up to `most` keys; beyond, every count is too low by at most `short`, which is at most the sum of all counts
    over `most`.
    Source: Misra and Gries 1982, pruned in batches as in Agarwal et al. 2012, "Mergeable summaries".
    """

    def __init__(self, most: int = MOST_KEYS) -> None:
        self.counts = Counts()
        self.short = 0
        self._most = most

    def add(self, key: str) -> None:
        """Count a key."""
        self.counts.add(key)
        self._prune()

    def update(self, counts: Counts) -> None:
        """Count many at once."""
        self.counts.merge(counts)
        self._prune()

    def top(self, n: int) -> list[tuple[str, int]]:
        """The `n` highest, the highest first."""
        return self.counts.top(n)

    def _prune(self) -> None:
        if len(self.counts) > 2 * self._most:
            self.short += self.counts.prune(self._most)


class Panes:
    """How much each key has in each period of the log: one number for each key that had any, from which percentiles
    are told.

    Of one period about the first `MOST_KEYS` keys are counted; what the others had is in `uncounted`.
    """

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        #: Keys that have no say in percentiles from the period at hand on; they may have the most.
        self.left_out: set[str] = set()
        #: Each gets the beginning and the counts of every period.
        self.told: list[Callable[[float, Counts], None]] = []
        self.uncounted = 0
        self.most = 0
        self.most_key = ""
        self._pane = 0.0
        self._now = Counts()
        self._closed: Counter[int] = Counter()

    def add(self, at: float, key: str, amount: int = 1) -> None:
        """Count; `at` never lies before that of the call before."""
        self._turn(at)
        if key in self._now or len(self._now) < MOST_KEYS:
            self._now.add(key, amount)
        else:
            self.uncounted += amount

    def update(self, at: float, keys: Texts) -> None:
        """Count many keys of one period at once."""
        self._turn(at)
        if len(self._now) < MOST_KEYS:
            self._now.update(keys)
        else:
            self.uncounted += self._now.update_known(keys)

    def _turn(self, at: float) -> None:
        if at >= self._pane + self.seconds:
            self.close()
            self._pane = at // self.seconds * self.seconds

    def close(self) -> None:
        """Take down the period at hand."""
        highest = self._now.most()
        if highest is None:
            return
        key, most = highest
        if most > self.most:
            self.most, self.most_key = most, key
        closed = self._now.amounts(self.left_out)
        for amount in [amount for amount in closed if amount >= _EXACT]:
            count = closed.pop(amount)
            coarse = _coarse(amount)
            closed[coarse] = closed.get(coarse, 0) + count
        self._closed.update(closed)
        for tell in self.told:
            tell(self._pane, self._now)
        self._now.clear()

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
        self.hour = Panes(_HOUR)
        self.hour.told.append(lambda _, counts: self._total.update(counts))
        self.panes = {_MINUTE: self.minute, _HOUR: self.hour}
        self.panes |= {seconds: Panes(seconds) for seconds in periods if seconds not in self.panes}

    def update(self, at: float, keys: Texts) -> None:
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
