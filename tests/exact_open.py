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

    With ``of_free`` a key holds at most that part of what is still free before the message, and always one.
    """

    cap: int
    of_free: Fraction | None = None
    held: list[tuple[Hashable, int]] = field(default_factory=list)

    def total(self) -> int:
        return sum(amount for _, amount in self.held)

    def of(self, key: Hashable) -> int:
        return sum(amount for held, amount in self.held if held == key)

    def has_room(self, key: Hashable, amount: int = 1) -> bool:
        free = self.cap - self.total()
        if amount > free:
            return False
        own = self.of(key)
        return self.of_free is None or own == 0 or own + amount <= self.of_free * free

    def hold(self, key: Hashable, amount: int = 1) -> None:
        self.held.append((key, amount))

    def release(self, key: Hashable, amount: int = 1) -> None:
        self.held.remove((key, amount))
