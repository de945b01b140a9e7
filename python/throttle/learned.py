"""The file of known elements that `throttle replay --learn` writes and `Throttle(learned=…)` starts from.

It knows the file, not what an element is for: the core reads the values, as it reads those of a policy's quotas.
Invariant: what was written reads the same, and a file that is broken, cut short or of another kind is told with its
line, never taken in part.

The file is text, one JSON value a line, gzipped when its name ends in `.gz`. It depends neither on a guard's seed nor
on its memory:

    {"format": "throttle-known", "version": 1, "until_us": …, "memories": [{"per": ["sender.registered"], "distinct":
    "sender.host"}], "elements": 1}
    [0, ["example.com"], "mx1.example.com", 1637889600000000, 1637889605000000]

A line is the number of its memory, a value for each identity of `per`, the element, and when it was admitted first
and last, in microseconds since
the Unix epoch.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from throttle.errors import ThrottleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FORMAT = "throttle-known"
VERSION = 1
GZIP = b"\x1f\x8b"

_LOG = logging.getLogger("throttle")
_FIELDS = 5
_MOST_US = 10**17  # as the core: beyond that it is nobody's Unix time


class Memory(NamedTuple):
    """What elements are remembered under, and of which identity they are."""

    per: list[str]
    distinct: str


class Entry(NamedTuple):
    """One known element."""

    memory: int
    per: list[str]
    element: str
    first_us: int
    last_us: int


class State(NamedTuple):
    """A file that is being read. `entries` raises where it is broken."""

    until_us: int
    memories: list[Memory]
    entries: Iterator[Entry]


def write(path: Path, until_us: int, memories: Sequence[Memory], count: int, entries: Iterable[Entry]) -> None:
    """Write a state, or leave what was there: a file that is not whole never has the name.

    Raises `OSError` when it cannot be written.
    """
    told = [{"per": list(per), "distinct": distinct} for per, distinct in memories]
    head = {"format": FORMAT, "version": VERSION, "until_us": until_us, "memories": told, "elements": count}
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _to_write(unfinished, zipped=path.suffix == ".gz") as out:
            out.write(json.dumps(head) + "\n")
            out.writelines(json.dumps(entry) + "\n" for entry in entries)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> State:
    """Begin to read a state; its header is checked at once.

    Raises `ThrottleError` naming file and line.
    """
    lines = _lines(Path(path))
    head = next(lines, None)
    if head is None:
        raise ThrottleError(
            f"learned state {path}: found an empty file; allowed: one that throttle replay --learn wrote"
        )
    until_us, memories, count = _header(path, head)
    return State(until_us, memories, _entries(path, memories, count, lines))


def tell(
    path: str | os.PathLike[str], kept: int, forgotten: int, one_too_many: int, not_needed: int, no_value: int
) -> None:
    """Say in the log what became of a state's elements; as a warning when some should be known and are not."""
    level = logging.WARNING if one_too_many or no_value else logging.INFO
    _LOG.log(
        level,
        "learned state %s: %d elements are known; %d were seen too long ago, %d found no room, %d are of no use to "
        "this policy, %d are no values",
        path,
        kept,
        forgotten,
        one_too_many,
        not_needed,
        no_value,
    )


def _to_write(path: Path, *, zipped: bool) -> TextIO:
    return gzip.open(path, "wt", encoding="ascii") if zipped else path.open("w", encoding="ascii")


def _lines(path: Path) -> Iterator[str]:
    number = 0
    try:
        with path.open("rb") as raw:
            zipped = raw.read(len(GZIP)) == GZIP
        with gzip.open(path, "rt", encoding="utf-8") if zipped else path.open(encoding="utf-8") as text:
            for line in text:
                number += 1
                yield line
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        where = f", after line {number}" if number else ""
        raise ThrottleError(f"learned state {path}{where}: {why}") from error


def _header(path: str | os.PathLike[str], line: str) -> tuple[int, list[Memory], int]:
    head = _json(path, 1, line)
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        _wrong(path, 1, "format", head.get("format") if isinstance(head, dict) else head, f"{FORMAT!r}")
    if head.get("version") != VERSION:
        _wrong(path, 1, "version", head.get("version"), f"{VERSION}, of this release")
    until_us, count, memories = head.get("until_us"), head.get("elements"), head.get("memories")
    if not _is_time(until_us):
        _wrong(path, 1, "until_us", until_us, "microseconds since the Unix epoch")
    if type(count) is not int or count < 0:
        _wrong(path, 1, "elements", count, "how many lines follow")
    if not isinstance(memories, list) or not all(_is_memory(memory) for memory in memories):
        _wrong(path, 1, "memories", memories, 'a list of {"per": [names], "distinct": name}')
    return until_us, [Memory(memory["per"], memory["distinct"]) for memory in memories], count


def _entries(path: str | os.PathLike[str], memories: list[Memory], count: int, lines: Iterator[str]) -> Iterator[Entry]:
    number = 1
    for number, line in enumerate(lines, 2):
        entry = _json(path, number, line)
        if not isinstance(entry, list) or len(entry) != _FIELDS:
            _wrong(path, number, "line", entry, "[memory, [values], element, first_us, last_us]")
        memory, per, element, first_us, last_us = entry
        if type(memory) is not int or not 0 <= memory < len(memories):
            _wrong(path, number, "memory", memory, f"a number below {len(memories)}, as the header has memories")
        if not _is_texts(per) or len(per) != len(memories[memory].per):
            _wrong(path, number, "per", per, f"a value for each of {', '.join(memories[memory].per)}")
        if not isinstance(element, str):
            _wrong(path, number, "element", element, "text")
        if not (_is_time(first_us) and _is_time(last_us) and first_us <= last_us):
            _wrong(path, number, "times", [first_us, last_us], "microseconds since the Unix epoch, first and last")
        yield Entry(memory, per, element, first_us, last_us)
    if number != count + 1:
        _wrong(path, number, "elements", number - 1, f"{count}, as the header says")


def _is_time(value: Any) -> bool:
    return type(value) is int and abs(value) <= _MOST_US


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_memory(value: Any) -> bool:
    return isinstance(value, dict) and _is_texts(value.get("per")) and isinstance(value.get("distinct"), str)


def _json(path: str | os.PathLike[str], number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise ThrottleError(f"learned state {path}: line {number} is not JSON") from None


def _wrong(path: str | os.PathLike[str], number: int, field: str, found: object, allowed: str) -> Any:
    shown = repr(found)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}…"
    raise ThrottleError(f"learned state {path}, line {number}, {field}: found {shown}; allowed: {allowed}")
