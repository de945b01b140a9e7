"""Files of a log: opened, unzipped, put in order of time, their format guessed.

This module knows how a line of each format begins, not what it says.
Invariants: bytes that are no UTF-8 go through as they came. A file whose archive ends too early is reported, and does
not stop the replay. What is held of a file is bounded, whatever it contains.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from throttle.errors import ThrottleError
from throttle.replay import exim, postfix
from throttle.replay.exim import Exim
from throttle.replay.framing import Framing, is_framed
from throttle.replay.lines import MOST_LINE, bounded
from throttle.replay.notes import Notes
from throttle.replay.objects import read_object
from throttle.replay.postfix import OF_EXIM, Postfix
from throttle.replay.steady import steady
from throttle.replay.times import Stamps, seconds
from throttle.replay.transactions import TIME, comma_separated, json_lines

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator, Sequence

    from throttle.replay.steady import Line
    from throttle.replay.transaction import Transaction

Format = Literal["postfix", "exim", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = ("postfix", "exim", "jsonl", "csv")
SERVERS = {"postfix": "Postfix", "exim": "Exim"}

_GZIP = b"\x1f\x8b"
_LOOKED_AT = 200  # lines, for a file's format and first time
_LOOKED_AT_TEXT = MOST_LINE  # characters of them; one more line may be longer than what is left
_EVERY = 8192  # lines between two reports of progress


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
        self._stream: BinaryIO = stream
        self.damage: str | None = None
        self._rest = self._lines()
        self._head = self._looked_at()
        #: The first lines, without those that are too long.
        self.head = [line for line in self._head if type(line) is str]

    def lines(self, notes: Notes, progress: Callable[[int], None]) -> Iterator[str]:
        """Yields all lines, and reports progress in bytes. In place of a line that is too long, which is counted as
        broken, stands an empty one.
        """
        for number, line in enumerate(itertools.chain(self._head, self._rest), 1):
            if type(line) is str:
                yield line
            else:
                notes.break_at(number, line, f"longer than {MOST_LINE:,} bytes")
                yield "\n"
            if not number % _EVERY:
                progress(self._advance())
        progress(self._advance())
        if self.name != "-":
            self._stream.close()
            self._raw.close()  # which an archive's reader leaves open

    def _lines(self) -> Iterator[str]:
        try:
            yield from bounded(self._stream)
        except (EOFError, OSError, zlib.error) as error:
            self.damage = str(error)

    def _looked_at(self) -> list[str]:
        head, text = [], 0
        for line in itertools.islice(self._rest, _LOOKED_AT):
            head.append(line)
            text += len(line)
            if text > _LOOKED_AT_TEXT:
                break
        return head

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
        """Raises `OSError` for a file that cannot be opened, and `ThrottleError` for one whose format cannot be
        guessed.
        """
        self._notes = notes
        self._stamps = Stamps(now, year)
        sources = [Source(name) for name in names]
        forms = {source.name: form or guessed(source, now) for source in sources}
        self.forms = forms
        begins = {source.name: _begins(source, forms[source.name], now) for source in sources}
        self.sources = sorted(sources, key=lambda source: begins[source.name])
        first = min(begins.values(), default=now)
        self.begins = first if math.isfinite(first) else now
        self._now = now
        self.bytes = None if any(source.bytes is None for source in sources) else sum(s.bytes or 0 for s in sources)

    def transactions(self, progress: Callable[[int], None] = lambda _: None) -> Iterator[Transaction]:
        """Yields in order of the files' first times; within a file as it stands there."""
        servers = {"postfix": Postfix(self._stamps, self._notes), "exim": Exim(self._stamps, self._notes)}
        for source in self.sources:
            self._notes.file = source.name
            self._notes.files.append(source.name)
            lines = source.lines(self._notes, progress)
            form = self.forms[source.name]
            if form == "jsonl":
                yield from json_lines(lines, self._notes)
            elif form == "csv":
                yield from comma_separated(lines, self._notes)
            else:
                yield from servers[form].read(lines)
            if source.damage:
                self._notes.break_at(self._notes.lines, "", f"the file ends here: {source.damage}")
        for server in servers.values():
            yield from server.rest()

    def why_empty(self) -> str:
        """Says why there may be no transaction in these files."""
        for source in self.sources:
            given = self.forms[source.name]
            found = "exim" if self._notes.passed_over[OF_EXIM] else _format(source, self._now)
            if found and found != given:
                owner = f"Is {source.name} {SERVERS[found]}'s log" if found in SERVERS else f"Is {source.name} {found}"
                return f"{owner}? Try --format {found}."
        forms = sorted(set(self.forms.values()))
        names = " or ".join(SERVERS.get(form, form) for form in forms)
        return f"Is this the log of another server? It was read as {names}; --format takes {', '.join(FORMATS)}."


def guessed(source: Source, now: float) -> Format:
    """Returns the format of a file.

    Raises `ThrottleError` when no line is of a known one.
    """
    form = _format(source, now)
    if form is None and source.head:
        raise ThrottleError(
            f"{source.name}: found neither a syslog's date, nor a JSON object, nor a line of CSV that names a field "
            f"time, in its first {len(source.head)} lines; allowed: a format, by --format {', '.join(FORMATS)}"
        )
    return form or "postfix"


def _format(source: Source, now: float) -> Format | None:
    """Returns the format of the first line that only one format has; a log in which no server is named is Postfix's."""
    framing = Framing(Stamps(now))
    has_date = False
    for line in source.head:
        if not has_date and line.lstrip("\ufeff \t").startswith("{"):
            try:
                if not is_framed(read_object(line)):
                    return "jsonl"
            except ValueError:
                return "jsonl"
        try:
            framed = framing.read(line)[1]
        except ValueError:
            if not has_date and TIME in _names(line):
                return "csv"
            continue
        has_date = True
        if postfix.is_line(framed):
            return "postfix"
        if exim.is_line(framed):
            return "exim"
    return "postfix" if has_date else None


def _names(line: str) -> list[str]:
    return [name.strip().lstrip("\ufeff").strip('"') for name in line.split(",")]


def _begins(source: Source, form: Format, now: float) -> float:
    """Returns the first time in a file that is believed, so that rotated logs come in order. A file without one, and
    standard input, come last.
    """
    if source.name == "-":
        return float("inf")
    return next((at for at, *_ in steady(_times(source.head, form, now), Notes())), float("inf"))


def _times(head: Sequence[str], form: Format, now: float) -> Iterator[Line[None]]:
    framing = Framing(Stamps(now))
    place = _names(head[0]).index(TIME) if form == "csv" and head and TIME in _names(head[0]) else None
    for number, line in enumerate(head):
        try:
            if form in SERVERS:
                at = framing.read(line)[0]
            elif form == "jsonl":
                at = seconds(read_object(line)[TIME])
            elif place is None:
                return
            else:
                at = seconds(next(csv.reader([line], strict=True))[place])
        except (ValueError, KeyError, IndexError, StopIteration, csv.Error):
            continue
        yield at, number, line, None
