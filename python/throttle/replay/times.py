"""When a line was written: the two kinds of date that a syslog has, and those of a file of transactions.

It knows no mail and reads no clock.
A date of RFC 3164 (`Nov 25 17:20:31`) has no year: the first line's is given, or the latest that does not lie ahead
of `now`; from there the year follows the
months, also where lines are in disorder around New Year. It has no zone either, so it counts as local time; the
environment's TZ says which.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TypeAlias

_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, 1)}
_Local: TypeAlias = tuple[int, int, int, int, int, int, int, int]  # what mktime takes behind the year
_SHORT = len("Nov 25 17:20:31")
_HALF_A_YEAR = 6  # months
_MOST_KEPT = 4096
MOST = 1e11  # seconds, as the guard: beyond that somebody counts milliseconds


class Stamps:
    """Reads what lines begin with. One for all files of a log, in their order, since the year goes on from one to the
    next.
    """

    def __init__(self, now: float, year: int | None = None) -> None:
        self._now = now
        self._year = year
        self._month = 0
        self._kept: dict[str, float] = {}

    def read(self, line: str) -> tuple[float, int]:
        """Unix seconds, and where the rest of the line begins.

        Raises `ValueError` for a line that begins with no date.
        """
        if line[:1].isdigit():
            end = line.find(" ")
            if end < 0:
                raise ValueError("nothing but a date")
            return iso(line[:end]), end + 1
        text = line[:_SHORT]
        at = self._kept.get(text)
        if at is None:
            at = self._short(text)
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[text] = at
        return at, _SHORT + 1

    def _short(self, text: str) -> float:
        month = _MONTHS.get(text[:3], 0)
        if not month or text[3:4] != " " or text[6:7] != " " or text[9:10] != ":" or text[12:13] != ":":
            raise ValueError("no date at its beginning")
        try:
            day, hour, minute, second = int(text[4:6]), int(text[7:9]), int(text[10:12]), int(text[13:15])
        except ValueError:
            raise ValueError("no date at its beginning") from None
        if not (1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
            raise ValueError(f"no such moment: {text}")
        local: _Local = (month, day, hour, minute, second, 0, 0, -1)
        year = self._year_of(month, local)
        return time.mktime((year, *local))

    def _year_of(self, month: int, local: _Local) -> int:
        if self._year is None:
            year = time.localtime(self._now).tm_year
            ahead = time.mktime((year, *local)) > self._now + 86_400  # a clock may be a little ahead, and a zone
            self._year = year - ahead
        elif self._month:
            passed = month - self._month
            if passed < -_HALF_A_YEAR:
                self._year += 1
            elif passed > _HALF_A_YEAR:
                return self._year - 1  # a line of December among those of January
        self._month = month
        return self._year


def iso(text: str) -> float:
    """Unix seconds of a date of RFC 3339 or ISO 8601; without a zone it is local time.

    Raises `ValueError`.
    """
    try:
        return datetime.fromisoformat(text).timestamp()
    except (OverflowError, OSError) as error:
        raise ValueError(f"no such moment: {text[:40]}") from error


def seconds(value: object) -> float:
    """Unix seconds of what a file of transactions says: a number, the same as text, or a date of ISO 8601.

    Raises `ValueError`.
    """
    if type(value) is float:
        at = value
    elif isinstance(value, str):
        try:
            at = float(value)
        except ValueError:
            at = iso(value.strip())
    elif isinstance(value, int) and not isinstance(value, bool):
        at = float(value) if abs(value) <= MOST else MOST * 2
    else:
        raise ValueError(f"time: found {value!r}; allowed: Unix seconds or a date of ISO 8601")
    if not abs(at) <= MOST:
        raise ValueError(f"time: found {value!r}; allowed: Unix seconds, or a date of ISO 8601")
    return at


def shown(at: float) -> str:
    """A time for people and for JSON: RFC 3339 in UTC, to the second."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{at:.0f}"
