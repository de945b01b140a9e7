"""Writes the notices of a guard to the log, each as one sentence.

A notice says that refusals began or stopped, or that the key was forgotten for a busier one. While refusals go on, the
sentence comes again every ten minutes, with the number so far.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from throttle.notices import sentence

if TYPE_CHECKING:
    from throttle import Throttle
    from throttle.serve.log import Log
    from throttle.types import Notice

AGAIN_SECONDS = 600.0


class NoticeReader:
    """Logs which limits of a guard refuse which keys. `policy` is where the guard's policy comes from."""

    def __init__(self, guard: Throttle, policy: str) -> None:
        self._guard = guard
        self._policy = policy
        self._last = 0
        self._untracked = 0
        self._told_at: dict[int, float] = {}
        """The time of the last line about each refused key, by the number of its notice "began"."""

    def log_new(self, log: Log, now: float) -> None:
        """Writes what has changed since the last time, and every ten minutes what goes on. `now` is in seconds."""
        notices = self._guard.notices(after=self._last)
        self._last = notices.last
        if notices.overwritten:
            log.event("notices lost", f"{notices.overwritten:,} notices came too fast to be read")
        if notices.untracked > self._untracked:
            untracked = notices.untracked - self._untracked
            log.event("notices full", f"{untracked:,} refusals of keys beyond the 256 that are followed at once")
            self._untracked = notices.untracked
        displaced = sum(notice.kind == "displaced" for notice in notices.entries)
        if displaced:
            text = f"keys no longer followed, because others are refused more often: {displaced:,}"
            log.event("notices displaced", text)
        for notice in notices.entries:
            if notice.kind == "stopped":
                self._write(log, notice)
        # The log is bounded, so the key that is refused most is told first, and what was not told stays due.
        told_at = {}
        for notice in sorted(notices.refusing, key=lambda notice: -notice.refused):
            told = self._told_at.get(notice.serial, -math.inf)
            if now - told >= AGAIN_SECONDS and self._write(log, notice):
                told = now
            told_at[notice.serial] = told
        self._told_at = told_at

    def _write(self, log: Log, notice: Notice) -> bool:
        return log.event(
            "notice",
            sentence(notice, self._guard.policy),
            limit=notice.limit,
            key=notice.key,
            refused=notice.refused,
            kind=notice.kind,
            since=datetime.fromtimestamp(notice.since, UTC).isoformat(timespec="milliseconds"),
            mode=notice.mode,
            policy=self._policy,
        )
