"""Counts of what a replay could not use, by kind: nothing is lost without a note.

This module knows no format.
Invariant: memory grows neither with the number of lines nor with their length.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

SHOWN = 160  # characters of a broken line, and of the reason, that the report shows
_MOST_KINDS = 50


@dataclass(frozen=True, slots=True)
class Broken:
    """The first line that could not be read."""

    file: str
    line: int
    text: str
    why: str


@dataclass(slots=True)
class Notes:
    """Counts of lines."""

    file: str = ""
    lines: int = 0
    broken: int = 0
    first_broken: Broken | None = None
    passed_over: Counter[str] = field(default_factory=Counter)
    files: list[str] = field(default_factory=list)

    def break_at(self, line: int, text: str, why: str) -> None:
        """Count a line that cannot be read."""
        self.broken += 1
        if self.first_broken is None:
            self.first_broken = Broken(self.file, line, _cut(text.rstrip("\r\n")), _cut(why))

    def pass_over(self, kind: str, count: int = 1) -> None:
        """Count what is sound and of no use here."""
        if kind not in self.passed_over and len(self.passed_over) >= _MOST_KINDS:
            kind = "others"
        self.passed_over[kind] += count


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
