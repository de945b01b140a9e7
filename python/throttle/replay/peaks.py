"""How much of one limit each key used at its busiest, for the suggested scale.

A key has one vote, however long it sends. What it used is a share of what the limit lets through in the same time: its
burst, and its rate for as long. The share is taken in every period of the limit and in every hour, because a burst
shows in the one and a steady sender in the other. So no key uses more than all, unless it has a quota.
It knows no policy.
Invariant: memory is bounded. Only keys that used more than half have an entry, since no other key changes the scale.
"""

from __future__ import annotations

from heapq import nlargest
from operator import itemgetter
from typing import TYPE_CHECKING

from throttle.replay.counting import Heavy

if TYPE_CHECKING:
    from collections.abc import Callable

    from throttle._replay import Counts

HOUR_S = 3600
#: So many keys may use more than half before a scale is suggested: the busiest are matters of quotas.
SPARED = 10
_MOST_PEAKS = 10_000
_MOST_KEYS_OF_AN_HOUR = 10_000


class Peaks:
    """The keys that used more than half of a limit in one of its periods or in an hour."""

    def __init__(self, amount: int, period_s: int, at_once: int, votes: Callable[[str], bool]) -> None:
        """`at_once` is the burst. `votes` tells whether a key has a vote; it may lose it."""
        periods = -(-HOUR_S // period_s)
        self._of_period = at_once + amount
        self._of_hour = at_once + amount * periods
        self._has_hours = periods > 1
        self._votes = votes
        self._shares: dict[str, float] = {}
        self._hour = Heavy(_MOST_KEYS_OF_AN_HOUR)
        self._hour_at = 0.0

    def add(self, at: float, counts: Counts) -> None:
        """Take down what each key had in the period that begins at `at`."""
        self._look(counts, self._of_period)
        if not self._has_hours:
            return
        if at >= self._hour_at + HOUR_S:
            self.close()
            self._hour_at = at // HOUR_S * HOUR_S
        self._hour.update(counts)

    def close(self) -> None:
        """Take down the hour at hand."""
        self._look(self._hour.counts, self._of_hour)
        self._hour.counts.clear()

    def deciding(self) -> list[tuple[str, float]]:
        """The keys that decide about the scale, one more than are spared, and their shares, the highest first. None
        when fewer used more than half.
        """
        voting = [(key, share) for key, share in self._shares.items() if self._votes(key)]
        highest = nlargest(SPARED + 1, voting, key=itemgetter(1))
        return highest if len(highest) > SPARED else []

    def _look(self, counts: Counts, most: int) -> None:
        """Take down the keys with more than half of `most`. A period's highest are enough: a key that decides is among
        the highest of the period in which it had its most.
        """
        highest = counts.most()
        asked = 4 * SPARED
        while highest and 2 * highest[1] > most:
            above = [(key, amount) for key, amount in counts.top(asked) if 2 * amount > most]
            voting = [(key, amount / most) for key, amount in above if self._votes(key)]
            if len(above) < asked or len(voting) > SPARED:
                self._note(voting)
                return
            asked *= 4

    def _note(self, shares: list[tuple[str, float]]) -> None:
        for key, share in shares:
            self._shares[key] = max(share, self._shares.get(key, 0.0))
        if len(self._shares) > 2 * _MOST_PEAKS:
            self._shares = dict(nlargest(_MOST_PEAKS, self._shares.items(), key=itemgetter(1)))
