"""Which elements a replay has admitted, under which keys, first and last: what a guard would have come to know.

It knows a policy's memories, not the guard's: those do not give back their text.
Invariant: only what was admitted is here. Beyond `MOST_ELEMENTS` a memory keeps those that came back, and of the
others the latest, as a guard does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from throttle import learned
from throttle._replay import Seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from throttle._replay import Rows, Texts
    from throttle.replay.limits import Counted, Keys

MOST_ELEMENTS = 500_000
COMEBACK_S = 3600


@dataclass(slots=True)
class Remembered:
    """One memory."""

    memory: learned.Memory
    per: Keys
    place: int  # of the element's identity
    limits: list[Counted]
    remember_s: int
    seen: Seen = field(default_factory=lambda: Seen(MOST_ELEMENTS, COMEBACK_S))
    dropped: int = 0

    def agrees_with(self, limit: Counted) -> bool:
        """Returns whether what is new here is new to this limit: others may remember longer, or other senders."""
        is_of_all = limit.verified == "any" or all(other.verified == limit.verified for other in self.limits)
        return is_of_all and limit.remember_s == self.remember_s

    def update(self, rows: Rows, without: Sequence[int] = ()) -> Texts:
        """Note what was admitted, all but the rows `without`; for each element that was new, its key."""
        new = self.seen.update(rows, self.per.places, self.place, self.remember_s, without)
        self.dropped += self.seen.prune()
        return new


def memories(limits: Sequence[Counted], observed: Sequence[str]) -> list[Remembered]:
    """One for each memory of a policy; limits that remember the same elements for different times share one here."""
    found: dict[tuple[str, str], Remembered] = {}
    for limit in limits:
        memory = limit.memory
        if memory is None:
            continue
        key = (limit.remembers.name, memory.distinct)
        if key not in found:
            found[key] = Remembered(memory, limit.remembers, observed.index(memory.distinct), [], limit.remember_s)
        found[key].limits.append(limit)
        found[key].remember_s = max(found[key].remember_s, limit.remember_s)
    return list(found.values())


def write(path: Path, until: float, remembered: Sequence[Remembered]) -> int:
    """Write what is known at the end of the log; how many elements.

    Raises `OSError`.
    """
    entries = list(_entries(until, remembered))
    learned.write(path, _us(until), [memory.memory for memory in remembered], len(entries), entries)
    return len(entries)


def _entries(until: float, remembered: Sequence[Remembered]) -> Iterator[learned.Entry]:
    for number, memory in enumerate(remembered):
        for key, element, first, last in memory.seen.items():
            if until - last <= memory.remember_s:
                yield learned.Entry(number, memory.per.parts(key), element, _us(first), _us(last))


def _us(at: float) -> int:
    return round(at * 1e6)
