"""The obvious oracle of a rate limit: a dictionary of exact arrival times, in integers, with all the memory it likes.

It knows no table and no hash.
A charge is worth `period_us` parts and a microsecond drains `amount` of them, so nothing is ever rounded.
Invariant: a key that keeps its limit here must never be refused; a key that is admitted by a clock of ticks may be
ahead by less than one tick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

CAPACITY_TICKS = 1 << 23  # a bucket holds at most so many ticks: what one tick is follows from the burst


class ExactBuckets:
    """Buckets that hold ``burst`` and drain at ``amount`` in ``period_s``."""

    def __init__(self, amount: int, period_s: int, burst: int | None = None) -> None:
        self.amount = amount
        self.price = period_s * 1_000_000
        self.capacity = (amount if burst is None else burst) * self.price
        ticks_a_charge = max(CAPACITY_TICKS // (self.capacity // self.price), 1)
        # no tick is below a microsecond, which is `amount` parts
        self.tick = max(-(-self.price // ticks_a_charge), amount)
        self.drained_at: dict[Hashable, int] = {}

    def excess(self, key: Hashable, now_us: int, cost: int = 1) -> int:
        """Parts that a charge of ``cost`` would be over the limit by: it keeps it when this is not above zero."""
        now = now_us * self.amount
        return max(self.drained_at.get(key, 0), now) - now + cost * self.price - self.capacity

    def charge(self, key: Hashable, now_us: int, cost: int = 1) -> None:
        """Charges, whether it keeps the limit or not."""
        now = now_us * self.amount
        self.drained_at[key] = max(self.drained_at.get(key, 0), now) + cost * self.price

    def charge_up_to_full(self, key: Hashable, now_us: int) -> None:
        """Charges one, at most until the bucket is full: a report."""
        now = now_us * self.amount
        self.drained_at[key] = now + min(max(self.drained_at.get(key, 0), now) - now + self.price, self.capacity)
