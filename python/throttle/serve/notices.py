"""The notices of a guard as sentences: `org-fan-out defers salesforce.com: 21,400 new hosts since 17:20:04`.

A notice says that refusals began or stopped. Meanwhile the sentence comes again every ten minutes, with the number so
far.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from throttle import Throttle
    from throttle.serve.log import Log
    from throttle.types import Notice

AGAIN_SECONDS = 600.0

_VERBS = {"defer": ("defers", "deferred"), "reject": ("rejects", "rejected"), "block": ("blocks", "blocked")}
_ELEMENTS = {"host": "host", "org": "organisation", "net": "network"}


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
            log.event("notices displaced", f"keys no more followed, as others are refused more often: {displaced:,}")
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
        fields = next((limit.fields for limit in self._guard.policy.limits if limit.name == notice.limit), {})
        sentence = notice_sentence(notice, fields)
        return log.event(
            "notice",
            sentence,
            limit=notice.limit,
            key=notice.key,
            refused=notice.refused,
            kind=notice.kind,
            since=datetime.fromtimestamp(notice.since, UTC).isoformat(timespec="milliseconds"),
            mode=notice.mode,
            policy=self._policy,
        )


def notice_sentence(notice: Notice, limit: dict[str, Any]) -> str:
    """Returns a notice as one sentence. `limit` has the limit's fields; it is empty for a built-in refusal."""
    present, past = _VERBS[str(limit.get("action", "defer")).partition(" ")[0]]
    if notice.mode == "shadow":
        present, past = f"would {present.removesuffix('s')}", f"would have {past}"
    refused = counted(notice, limit)
    since = _time_of_day(notice.since)
    if notice.kind == "began":
        return f"{notice.limit} {present} {notice.key}: {refused} since {since}"
    return f"{notice.limit} {past} {notice.key}: {refused} from {since} to {_time_of_day(notice.until)}"


def counted(notice: Notice, limit: dict[str, Any]) -> str:
    """Returns what was refused, as text: `21,400 new hosts`."""
    return f"{notice.refused:,} {_noun(limit)}{'' if notice.refused == 1 else 's'}"


def _time_of_day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")


def _noun(limit: dict[str, Any]) -> str:
    """What a refusal of a limit counts."""
    distinct = limit.get("distinct")
    if isinstance(distinct, str):
        return f"new {_ELEMENTS.get(distinct.split('.')[1].partition('/')[0], 'name')}"
    return "connection" if limit.get("count") == "connections" else "message"
