"""What a replay could not use: counted by kind, nothing silently lost.

It knows no format.
Invariant: memory does not grow with the number of lines.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

_SHOWN = 160  # characters of a broken line that are told
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
            shown = text.rstrip("\n").encode("utf-8", "backslashreplace").decode()
            shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"
            self.first_broken = Broken(self.file, line, shown, why)

    def pass_over(self, kind: str, count: int = 1) -> None:
        """Count what is sound and of no use here."""
        if kind not in self.passed_over and len(self.passed_over) >= _MOST_KINDS:
            kind = "others"
        self.passed_over[kind] += count
