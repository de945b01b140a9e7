"""A rate with its burst as whole numbers, what a table makes of it, and a bucket that is exact.

It knows no guard. Invariant: nothing here is rounded; times are microseconds.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

SECOND_US = 1_000_000

YEAR_US = 31_557_600 * SECOND_US

MOST_US = (1 << 32) * SECOND_US  # beyond it a float of seconds no longer tells microseconds apart surely

MOST_TICKS = 1 << 23  # that a bucket holds, as `rust/core/src/store/gcra.rs` states

WRAP = 1 << 32  # ticks after which the low word of a time is the same again

UNITS = {
    "second": 1,
    "7 seconds": 7,
    "minute": 60,
    "10 minutes": 600,
    "hour": 3600,
    "day": 86_400,
    "30 days": 2_592_000,
}


@dataclasses.dataclass(frozen=True)
class Quota:
    amount: int
    unit: str
    burst: int

    @property
    def rate(self) -> str:
        return f"{self.amount}/{self.unit}"

    @property
    def period_us(self) -> int:
        return UNITS[self.unit] * SECOND_US

    @property
    def drained_us(self) -> Fraction:
        """How long a full bucket takes: the longest that anyone waits."""
        return Fraction(self.burst * self.period_us, self.amount)

    @property
    def tick_us(self) -> Fraction:
        """The table's: a charge is a whole number of them."""
        charge = Fraction(self.period_us, self.amount)
        ticks = max(1, min(MOST_TICKS // self.burst, -(-charge.numerator // charge.denominator)))
        return charge / ticks


@dataclasses.dataclass
class Bucket:
    """GCRA without rounding: the arrival time is kept in microseconds times the amount."""

    quota: Quota
    arrival: int | None = None

    def over(self, cost: int, now_us: int) -> int:
        """By how much it would be over its burst; zero or less: it fits."""
        now = now_us * self.quota.amount
        return (
            max(self.arrival or now, now) + cost * self.quota.period_us - now - self.quota.burst * self.quota.period_us
        )

    def charge(self, cost: int, now_us: int) -> None:
        now = now_us * self.quota.amount
        self.arrival = max(now if self.arrival is None else self.arrival, now) + cost * self.quota.period_us


QUOTAS = st.builds(
    Quota,
    amount=st.sampled_from([1, 2, 3, 60, 1_000_000]) | st.integers(1, 1_000_000),
    unit=st.sampled_from(list(UNITS)),
    burst=st.sampled_from([1, 2, 5, 600]) | st.integers(1, 1_000_000),
) | st.sampled_from(
    [
        Quota(1, "second", 1),
        Quota(1_000_000, "30 days", 1_000_000),
        Quota(1_000_000, "30 days", 1),
        Quota(1_000_000, "second", 1),
    ]
)


def around(moments: Sequence[Fraction | int]) -> st.SearchStrategy[int]:
    """Whole microseconds at some of these, and just beside them; those of more than two centuries left out."""
    near = [int(moment) + off for moment in moments for off in (-2, -1, 0, 1, 2)]
    return st.sampled_from([us for us in near if 0 <= us < MOST_US // 2] or [0])


def pauses(quota: Quota) -> st.SearchStrategy[int]:
    """Idle times: around the time in which a charge or a full bucket drains, and each wrap of the table's ticks."""
    charge = Fraction(quota.period_us, quota.amount)
    wraps = [quota.tick_us * (half * (WRAP // 2)) for half in range(1, 7)]
    return (
        around([Fraction(0), quota.tick_us, charge, quota.drained_us, Fraction(quota.period_us)])
        | around(wraps)
        | st.integers(0, 2 * int(charge) + 2)
    )
