"""The obvious oracle of a sliding window: a list of everything that was charged.

It knows no table and no pane.
Invariant: a window is half-open, an event at a counts in [a, a + W), and times are microseconds.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


class ExactWindows:
    """Windows of ``period_us``."""

    def __init__(self, period_us: int) -> None:
        self.period_us = period_us
        self.events: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)

    def counted(self, key: Hashable, now_us: int) -> int:
        """What counts at ``now_us``: what was charged in (now - W, now]."""
        return sum(cost for at, cost in self.events[key] if now_us - self.period_us < at <= now_us)

    def charge(self, key: Hashable, now_us: int, cost: int = 1) -> None:
        """Charges, whether it fits or not."""
        self.events[key].append((now_us, cost))
