"""What is open, as a list: every count is a sum over it.

It knows no envelope and no memory. Invariant: :meth:`ExactOpen.has_room` writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable
    from fractions import Fraction


@dataclass
class ExactOpen:
    """One cap over all keys.

    A key is a tuple, and each of its parts has a tier: together, all keys with the same part hold at most ``of_free``
    of what is still free before the message, less the reserve. A part under which nothing is held may take ``first``.
    """

    cap: int
    of_free: tuple[Fraction, ...] = ()
    reserve: int = 0
    first: int = 1
    held: list[tuple[tuple[Hashable, ...], int]] = field(default_factory=list)

    def total(self) -> int:
        return sum(amount for _, amount in self.held)

    def of(self, tier: int, part: Hashable) -> int:
        return sum(amount for held, amount in self.held if held[tier] == part)

    def has_room(self, key: tuple[Hashable, ...] = (), amount: int = 1) -> bool:
        free = self.cap - self.total()
        if amount > free:
            return False
        shared = max(0, free - self.reserve)
        owned = [self.of(tier, part) for tier, part in enumerate(key)]
        return all(
            (own == 0 and amount <= self.first) or own + amount <= of_free * shared
            for own, of_free in zip(owned, self.of_free, strict=True)
        )

    def hold(self, key: tuple[Hashable, ...] = (), amount: int = 1) -> None:
        self.held.append((key, amount))

    def release(self, key: tuple[Hashable, ...] = (), amount: int = 1) -> None:
        self.held.remove((key, amount))
