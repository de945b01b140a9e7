"""Dates at the beginning of a line of a log, and times in a file of transactions.

A date of RFC 3164 (`Nov 25 17:20:31`) has no year. The year of the first line is given, or is the latest year in which
the date does not lie ahead of `now`. From there the year follows the months, also where lines are in disorder around
New Year. Such a date has no zone either: it is local time, of the zone in the environment variable TZ.

This module knows no mail and reads no clock.
Invariant: a date that its year does not have, such as 29 February 2027, is an error, and no other day.
"""

from __future__ import annotations

import time
from calendar import monthrange
from datetime import UTC, datetime
from typing import TypeAlias

_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, 1)}
_Local: TypeAlias = tuple[int, int, int, int, int, int, int, int]  # what mktime takes behind the year
_SHORT = len("Nov 25 17:20:31")
_DAY = len("2026-11-25")
_ZONE = len("+0100")
_LONGEST = 40  # characters of a date of ISO 8601
_HALF_A_YEAR = 6  # months
_MOST_KEPT = 4096
MOST = 1e11  # seconds, as in the guard: a larger number counts milliseconds


class Stamps:
    """Reads the dates at the beginning of lines. All files of a log share one, in their order, because the year
    continues from one file to the next.
    """

    def __init__(self, now: float, year: int | None = None) -> None:
        self._now = now
        self._year = year
        self._month = 0
        self._kept: dict[str, float] = {}

    def read(self, line: str) -> tuple[float, int]:
        """Returns Unix seconds, and the position after the date and the blank behind it.

        Raises `ValueError` for a line that does not begin with a date.
        """
        if line[:1].isdigit():
            return self._iso(line)
        text = line[:_SHORT]
        at = self._kept.get(text)
        if at is None:
            at = self._short(text)
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[text] = at
        if line[_SHORT : _SHORT + 1] != ".":
            return at, _SHORT + 1
        end = line.find(" ", _SHORT)
        fraction = line[_SHORT + 1 : end]
        if end < 0 or len(fraction) > _LONGEST or not _is_number(fraction):
            raise ValueError("no date at its beginning")
        return at + float(f"0.{fraction}"), end + 1

    def _iso(self, line: str) -> tuple[float, int]:
        end = line.find(" ")
        if end == _DAY:  # a blank between day and time, and perhaps one before the zone
            end = line.find(" ", end + 1)
            zone = line[end + 1 : end + 1 + _ZONE]
            if end > 0 and zone[:1] in ("+", "-") and _is_number(zone[1:]) and len(zone) == _ZONE:
                text, end = line[:end] + zone, end + 1 + _ZONE
                return iso(text), end + 1
        if end < 0:
            raise ValueError("nothing but a date")
        return iso(line[:end]), end + 1

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
        try:
            at = time.mktime((self._year_of(month, day, local), *local))
        except OverflowError as error:
            raise ValueError(f"no such moment: {text}") from error
        if abs(at) > MOST:
            raise ValueError(f"no such moment: {text}")
        return at

    def _year_of(self, month: int, day: int, local: _Local) -> int:
        year, passed = self._year, 0
        if year is None:
            year = time.localtime(self._now).tm_year
            # A clock may be a little ahead, and so may a zone.
            year -= time.mktime((year, *local)) > self._now + 86_400
        elif self._month:
            passed = month - self._month
            year += (passed < -_HALF_A_YEAR) - (passed > _HALF_A_YEAR)
        if day > monthrange(year, month)[1]:
            raise ValueError(f"no such day in {year}")
        if passed <= _HALF_A_YEAR:  # otherwise it is a line of December among those of January
            if self._year is not None and year != self._year:
                self._kept.clear()
            self._year, self._month = year, month
        return year


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def iso(text: str) -> float:
    """Returns the Unix seconds of a date of RFC 3339 or ISO 8601; a date without a zone is local time.

    Raises `ValueError`.
    """
    try:
        if len(text) > _LONGEST:
            raise ValueError("too long for a date")
        at = datetime.fromisoformat(text).timestamp()
    except (OverflowError, OSError) as error:
        raise ValueError(f"no such moment: {text}") from error
    if abs(at) > MOST:
        raise ValueError(f"no such moment: {text}")
    return at


def seconds(value: object) -> float:
    """Returns Unix seconds for a time in a file of transactions: a number, a number as text, or a date of ISO 8601.

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
    """Returns a time as text for people and for JSON: RFC 3339 in UTC, to the second."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{at:.0f}"
