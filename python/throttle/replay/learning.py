"""Which elements a replay has admitted, under which keys, first and last: what a guard would have come to know.

It knows a policy's memories, not the guard's: those do not give back their text.
Invariant: only what was admitted is here. Beyond `MOST_ELEMENTS` a memory keeps those that came back, and of the others the latest, as a guard does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from throttle import learned
from throttle.replay.limits import several

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from throttle.replay.limits import Counted, Keys, Values

MOST_ELEMENTS = 500_000
COMEBACK_S = 3600
_JUNK = ("MALFORMED", "OVERLONG")  # a guard knows such by their raw bytes: each is new, and none is worth learning


@dataclass(slots=True)
class Remembered:
    """One memory."""

    memory: learned.Memory
    per: Keys
    place: int  # of the element's identity
    limits: list[Counted]
    remember_s: int
    first: dict[tuple[str, str], float] = field(default_factory=dict)
    last: dict[tuple[str, str], float] = field(default_factory=dict)
    dropped: int = 0

    def update(self, times: Sequence[float], rows: Sequence[Values]) -> list[str]:
        """Note what was admitted; for each element that was new, its key."""
        first, last, remember_s = self.first, self.last, self.remember_s
        new = []
        for at, known in self._elements(times, rows):
            key, element = known
            if not key or not element or element == key:  # its own is never new
                continue
            seen = last.get(known)
            if seen is None or at - seen > remember_s:
                new.append(key)
                if element in _JUNK:
                    continue
                first[known] = at
            last[known] = at
        if len(last) > MOST_ELEMENTS:
            self._prune()
        return new

    def _elements(self, times: Sequence[float], rows: Sequence[Values]) -> Iterator[tuple[float, tuple[str, str]]]:
        """Each with its key and its time; either may be empty."""
        places = (*self.per.places, self.place)
        if rows and len(places) == 2 and not any(type(rows[0][place]) is tuple for place in places):
            column: Callable[[Values], Any] = itemgetter(*places)
            return zip(times, map(column, rows), strict=True)
        return (
            (at, (key, element))
            for at, values in zip(times, rows, strict=True)
            for key in self.per.of(values)
            for element in several(values[self.place])
        )

    def _prune(self) -> None:
        def rank(known: tuple[str, str]) -> tuple[bool, float]:
            return self.last[known] - self.first[known] >= COMEBACK_S, self.last[known]

        kept = sorted(self.last, key=rank, reverse=True)[: MOST_ELEMENTS // 2]
        self.dropped += len(self.last) - len(kept)
        self.first = {known: self.first[known] for known in kept}
        self.last = {known: self.last[known] for known in kept}


def memories(limits: Sequence[Counted], observed: Sequence[str]) -> list[Remembered]:
    """One for each memory of a policy; limits that remember the same elements for different times share one here."""
    found: dict[tuple[str, str], Remembered] = {}
    for limit in limits:
        memory = limit.memory
        if memory is None:
            continue
        key = (limit.identity, memory.distinct)
        if key not in found:
            found[key] = Remembered(memory, limit.per, observed.index(memory.distinct), [], limit.remember_s)
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
        for (key, element), last in memory.last.items():
            if until - last <= memory.remember_s:
                first = memory.first[key, element]
                yield learned.Entry(number, memory.per.parts(key), element, _us(first), _us(last))


def _us(at: float) -> int:
    return round(at * 1e6)
