"""The log of a service: one line an event, as text or as JSON, with a bound on how many lines an event may write.

It knows no event.
Invariants: nothing that a sender wrote reaches the log unescaped. An event writes at most `MOST_A_PERIOD` lines in
`PERIOD_SECONDS`; those left out are counted, and the count is written. A reader that stands still does not stop the
service: lines for which its pipe has no room are lost, and counted.
"""

from __future__ import annotations

import contextlib
import json
import select
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from typing import Literal, TextIO

from throttle.printable import printable, quoted

Form = Literal["text", "json"]

MOST_A_PERIOD = 10
PERIOD_SECONDS = 60.0


class Log:
    """Writes events, from any thread. The names of events are words of this package, so there are few."""

    def __init__(self, form: Form = "text", out: TextIO | None = None) -> None:
        self._json = form == "json"
        self._out = sys.stderr if out is None else out
        self._room: select.poll | None = None
        with contextlib.suppress(OSError):  # a text in memory has no descriptor, and always room
            descriptor = self._out.fileno()
            self._room = select.poll()
            self._room.register(descriptor, select.POLLOUT)
        self._lost = 0
        self._written: dict[str, int] = {}
        self._lock = threading.RLock()
        self._period_end = time.monotonic() + PERIOD_SECONDS

    def event(self, event: str, message: str, *, limited: bool = True, **fields: str | int | float) -> bool:
        """Writes one line, unless the event has written its share of this period; tells whether it has written it."""
        with self._lock:
            if limited:
                self.flush(time.monotonic())
                written = self._written[event] = self._written.get(event, 0) + 1
                if written > MOST_A_PERIOD:
                    return False
            self._write(event, message, fields)
            return True

    def fault(self, event: str, error: BaseException) -> None:
        """Writes a fault of ours, with the place where it came up."""
        last = traceback.extract_tb(error.__traceback__)[-1:]
        place = f"{last[0].filename.rpartition('/')[2]}:{last[0].lineno}" if last else "nowhere"
        self.event(event, f"{type(error).__name__}: {error}", at=place)

    def flush(self, now: float) -> None:
        """Begins the next period, if it is time, and says how many lines were left out."""
        with self._lock:
            if now < self._period_end:
                return
            self._period_end = now + PERIOD_SECONDS
            written, self._written = self._written, {}
            for event, times in written.items():
                if times > MOST_A_PERIOD:
                    self._write(event, f"{times - MOST_A_PERIOD:,} more times", {})

    def _write(self, event: str, message: str, fields: dict[str, str | int | float]) -> None:
        if self._room is not None and not self._room.poll(0):
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self._write("lines lost", f"{lost:,}, because nobody read the log", {})
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        if self._json:
            line = json.dumps({"time": now, "event": event, "message": message, **fields})
        else:
            details = "".join(f" {name}={quoted(str(value))}" for name, value in fields.items())
            line = printable(f"{now} {event}: {message}{details}")
        try:
            self._out.write(line.encode("ascii", "backslashreplace").decode("ascii") + "\n")
            self._out.flush()
        except OSError:
            return  # the reader of the log is gone; mail goes on
