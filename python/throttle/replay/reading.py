"""Files of a log: opened, unzipped, put in order of time, their format guessed.

It knows how a line of each format begins, not what it says.
Invariants: bytes that are no UTF-8 go through as they came; a file that ends in the midst of its archive is told and
does not stop the replay.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import math
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from throttle.errors import ThrottleError
from throttle.replay.notes import Notes
from throttle.replay.postfix import Postfix
from throttle.replay.steady import steady
from throttle.replay.times import Stamps, seconds
from throttle.replay.transactions import TIME, comma_separated, json_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from throttle.replay.steady import Line
    from throttle.replay.transaction import Transaction

Format = Literal["postfix", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = ("postfix", "jsonl", "csv")

_GZIP = b"\x1f\x8b"
_LOOKED_AT = 200  # lines, for a file's format and first time
_EVERY = 8192  # lines between two words of progress


class Source:
    """One file that is being read, `-` for standard input."""

    def __init__(self, name: str) -> None:
        """Raises `OSError` when it cannot be opened."""
        self.name = name
        raw: Any = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115
        self._raw: io.BufferedReader = raw
        self.bytes = None if name == "-" else Path(name).stat().st_size
        self._passed = 0
        zipped = self._raw.peek(len(_GZIP))[: len(_GZIP)] == _GZIP
        stream: Any = gzip.GzipFile(fileobj=self._raw) if zipped else self._raw
        self._text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="\n")
        self.damage: str | None = None
        self._rest = self._lines()
        self.head = list(itertools.islice(self._rest, _LOOKED_AT))

    def lines(self, progress: Callable[[int], None]) -> Iterator[str]:
        """All lines, telling every so often how many bytes were read since."""
        yield from self.head
        while chunk := list(itertools.islice(self._rest, _EVERY)):
            yield from chunk
            progress(self._advance())
        progress(self._advance())
        if self.name != "-":
            self._text.close()
            self._raw.close()  # which an archive's reader leaves open

    def _lines(self) -> Iterator[str]:
        try:
            yield from self._text
        except (EOFError, OSError, zlib.error) as error:
            self.damage = str(error)

    def _advance(self) -> int:
        if self.bytes is None:
            return 0
        passed, self._passed = self._passed, self._raw.tell()
        return self._passed - passed


class Log:
    """Several files as one sequence of transactions."""

    def __init__(
        self, names: Sequence[str], notes: Notes, *, now: float, form: Format | None = None, year: int | None = None
    ) -> None:
        """Raises `OSError` for a file that cannot be opened, `ThrottleError` for one whose format nobody can tell."""
        self._notes = notes
        self._stamps = Stamps(now, year)
        sources = [Source(name) for name in names]
        forms = {source.name: form or guessed(source, now) for source in sources}
        self.forms = forms
        begins = {source.name: _begins(source, forms[source.name], now) for source in sources}
        self.sources = sorted(sources, key=lambda source: begins[source.name])
        first = min(begins.values(), default=now)
        self.begins = first if math.isfinite(first) else now
        self.bytes = None if any(source.bytes is None for source in sources) else sum(s.bytes or 0 for s in sources)

    def transactions(self, progress: Callable[[int], None] = lambda _: None) -> Iterator[Transaction]:
        """In order of the files' first times; within a file as it stands there."""
        postfix = Postfix(self._stamps, self._notes)
        for source in self.sources:
            self._notes.file = source.name
            self._notes.files.append(source.name)
            lines = source.lines(progress)
            match self.forms[source.name]:
                case "jsonl":
                    yield from json_lines(lines, self._notes)
                case "csv":
                    yield from comma_separated(lines, self._notes)
                case "postfix":
                    yield from postfix.read(lines)
            if source.damage:
                self._notes.break_at(self._notes.lines, "", f"the file ends here: {source.damage}")
        yield from postfix.rest()


def guessed(source: Source, now: float) -> Format:
    """By the first line that begins like one of a format.

    Raises `ThrottleError` when none does.
    """
    stamps = Stamps(now)
    for line in source.head:
        if line.lstrip("\ufeff \t").startswith("{"):
            return "jsonl"
        if TIME in [name.strip().lstrip("\ufeff").strip('"') for name in line.split(",")]:
            return "csv"
        try:
            stamps.read(line)
        except ValueError:
            continue
        return "postfix"
    raise ThrottleError(
        f"{source.name}: found neither a syslog's date, nor a JSON object, nor a line of CSV that names a field "
        "time, in its first "
        f"{len(source.head)} lines; allowed: a format, by --format {', '.join(FORMATS)}"
    )


def _begins(source: Source, form: Format, now: float) -> float:
    """The first time in a file that is believed, so that rotated logs come in order; what has none, and standard
    input, comes last.
    """
    if source.name == "-":
        return float("inf")
    return next((at for at, *_ in steady(_times(source.head, form, now), Notes())), float("inf"))


def _times(head: Sequence[str], form: Format, now: float) -> Iterator[Line[None]]:
    stamps = Stamps(now)
    for number, line in enumerate(head):
        try:
            if form == "postfix":
                at = stamps.read(line)[0]
            elif form == "jsonl":
                at = seconds(json.loads(line)[TIME])
            else:
                names, cells = (text.strip().split(",") for text in (head[0], line))
                at = seconds(cells[[name.strip('"\ufeff ') for name in names].index(TIME)].strip('"'))
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            continue
        yield at, number, line, None
