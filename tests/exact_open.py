"""What is open, as a list: every count is a sum over it.

It knows no envelope and no memory. Invariant: :meth:`ExactOpen.has_room` writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable
    from fractions import Fraction


@dataclass(frozen=True, eq=False)
class Held:
    """What one permit holds."""

    key: tuple[Hashable, ...]
    amount: int
    is_neighbour: bool


@dataclass
class ExactOpen:
    """One cap over all keys.

    A key is a tuple, and each of its parts has a tier: together, all keys with the same part hold at most ``of_free``
    of what is still free before the message, less the reserve. A part under which nothing is held may take ``first``.
    A key whose first part holds nothing may take ``first`` as a neighbour: of a quarter of the reserve, of which its
    other parts each have ``of_free`` of what is left.
    """

    cap: int
    of_free: tuple[Fraction, ...] = ()
    reserve: int = 0
    first: int = 1
    held: list[Held] = field(default_factory=list)

    def total(self) -> int:
        return sum(held.amount for held in self.held)

    def of(self, tier: int, part: Hashable) -> int:
        return sum(held.amount for held in self.held if held.key[tier] == part)

    def has_room(self, key: tuple[Hashable, ...] = (), amount: int = 1) -> bool:
        return amount <= self.cap - self.total() and (self._has_part(key, amount) or self._is_neighbour(key, amount))

    def _has_part(self, key: tuple[Hashable, ...], amount: int) -> bool:
        of_neighbours = sum(held.amount for held in self.held if held.is_neighbour)
        shared = max(0, self.cap - self.total() - max(0, self.reserve - of_neighbours))
        owned = [self.of(tier, part) for tier, part in enumerate(key)]
        return all(
            (own == 0 and amount <= self.first) or own + amount <= of_free * shared
            for own, of_free in zip(owned, self.of_free, strict=True)
        )

    def _is_neighbour(self, key: tuple[Hashable, ...], amount: int) -> bool:
        neighbours = [held for held in self.held if held.is_neighbour]
        left = self.reserve // 4 - sum(held.amount for held in neighbours)
        return (
            amount <= self.first
            and self.of(0, key[0]) == 0
            and all(
                sum(held.amount for held in neighbours if held.key[tier] == key[tier]) + amount <= of_free * left
                for tier, of_free in list(enumerate(self.of_free))[1:]
            )
        )

    def hold(self, key: tuple[Hashable, ...] = (), amount: int = 1) -> Held:
        """Holds what has room, and returns what :meth:`release` releases."""
        held = Held(key, amount, bool(key) and not self._has_part(key, amount))
        self.held.append(held)
        return held

    def release(self, held: Held) -> None:
        self.held.remove(held)
