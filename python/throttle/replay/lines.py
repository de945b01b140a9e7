"""Lines of a file, as text of bounded length.

This module knows no format.
Invariants: no more than `MOST_LINE` bytes are held at once, whatever the file contains. Bytes that are no UTF-8 become
lone surrogates, and lose nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from throttle.replay.notes import SHOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes of the longest line that is read. A transaction with 10,000 recipients takes less than half of it.
MOST_LINE = 1 << 20


class Overlong(str):
    """The beginning of a line of more than `MOST_LINE` bytes; the rest was skipped."""

    __slots__ = ()


def bounded(file: BinaryIO, most: int = MOST_LINE) -> Iterator[str]:
    """Yields the lines of a file; of a line of more than `most` bytes, an `Overlong`."""
    while line := file.readline(most + 1):
        if len(line) <= most:
            yield line.decode("utf-8", "surrogateescape")
            continue
        start = line[:SHOWN].decode("utf-8", "surrogateescape")
        while line and not line.endswith(b"\n"):
            line = file.readline(most)
        yield Overlong(start)
