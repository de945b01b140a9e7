"""Which times of a log may be believed. A guard's time never goes back, so one line of the year 2099 would be the end
of every limit's counting.

It knows no format.
A time more than a day ahead of all before it is believed when the line after it does not go back by more than a day;
so is the last of a file, with none after it.
So a weekend without mail is no matter, and no line is lost to it. Where two lines in a row err alike, the report
tells how many of the others lay back, and by how much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from throttle.replay.notes import Notes

_DAY = 86_400.0

What = TypeVar("What")
Line: TypeAlias = tuple[float, int, str, What]  # its time, number and text, and what was read of it


def steady(lines: Iterable[Line[What]], notes: Notes) -> Iterator[Line[What]]:
    """Those of one file whose time is believed, in their order. The others are counted as broken."""
    believed, held = float("-inf"), None
    for line in lines:
        at = line[0]
        if held is not None:
            if at < held[0] - _DAY:
                days = (held[0] - at) / _DAY
                notes.break_at(held[1], held[2], f"its time lies {days:.0f} days ahead of the next line's")
            else:
                believed = held[0]
                yield held
            held = None
        if at > believed + _DAY:
            held = line
            continue
        if at > believed:
            believed = at
        yield line
    if held is not None:
        yield held
