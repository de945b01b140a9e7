"""The notices of a guard as sentences: `org-fan-out defers salesforce.com: 21,400 new hosts since 17:20:04`.

A notice says that refusals began or stopped. Meanwhile the sentence comes again every ten minutes, with the number so
far, which is counted here. At most `MOST_KEYS` keys are counted at once.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from throttle.printable import printable

if TYPE_CHECKING:
    from throttle import Decision, Throttle
    from throttle.serve.log import Log
    from throttle.types import Notice

MOST_KEYS = 1024
AGAIN_SECONDS = 600.0

_VERBS = {"defer": ("defers", "deferred"), "reject": ("rejects", "rejected"), "block": ("blocks", "blocked")}
_ELEMENTS = {"host": "host", "org": "organisation", "net": "network"}


class NoticeReader:
    """Logs which limits of a guard refuse which keys."""

    def __init__(self, guard: Throttle) -> None:
        self._guard = guard
        self._last = 0
        self._refused: dict[tuple[str | None, str | None], int] = {}
        self._ongoing: dict[tuple[str | None, str | None], tuple[Notice, float]] = {}

    def count(self, refusal: Decision) -> None:
        """Counts a refusal of a key that has a notice, or will get one."""
        key = (refusal.limit, refusal.key)
        if key in self._refused:
            self._refused[key] += 1
        elif len(self._refused) < MOST_KEYS:
            self._refused[key] = 1

    def log_new(self, log: Log, now: float) -> None:
        """Writes what has changed since the last time, and every ten minutes what goes on. `now` is in seconds."""
        notices = self._guard.notices(after=self._last)
        self._last = notices.last
        if notices.overwritten:
            log.event("notices lost", f"{notices.overwritten:,} notices came too fast to be read")
        for notice in notices.entries:
            key: tuple[str | None, str | None] = (notice.limit, notice.key)
            if notice.kind == "began" and len(self._ongoing) < MOST_KEYS:
                self._ongoing[key] = (notice, now)
            began, _ = self._ongoing.pop(key, (notice, now)) if notice.kind == "stopped" else (notice, now)
            self._write(log, began, notice)
        for ongoing, (began, told_at) in self._ongoing.items():
            if now - told_at >= AGAIN_SECONDS:
                self._ongoing[ongoing] = (began, now)
                self._write(log, began, began)
        self._refused = {key: number for key, number in self._refused.items() if key in self._ongoing}

    def _write(self, log: Log, began: Notice, notice: Notice) -> None:
        fields = next((limit.fields for limit in self._guard.policy.limits if limit.name == notice.limit), {})
        refused = max(notice.refused, self._refused.get((notice.limit, notice.key), 0))
        sentence = notice_sentence(began, notice, refused, fields)
        log.event("notice", sentence, limit=notice.limit, key=notice.key, refused=refused)


def notice_sentence(began: Notice, notice: Notice, refused: int, limit: dict[str, Any]) -> str:
    """Returns a notice as one sentence.

    Args:
        began: the notice of the beginning.
        notice: the same, or the notice of the end.
        refused: how many checks were refused so far.
        limit: the fields of the limit; empty for a refusal that is built in.
    """
    present, past = _VERBS[str(limit.get("action", "defer")).partition(" ")[0]]
    if notice.mode == "shadow":
        present, past = f"would {present.removesuffix('s')}", f"would have {past}"
    counted = f"{refused:,} {_noun(limit)}{'' if refused == 1 else 's'}"
    since = _time_of_day(began.time)
    if notice.kind == "began":
        return printable(f"{notice.limit} {present} {notice.key}: {counted} since {since}")
    return printable(f"{notice.limit} {past} {notice.key}: {counted} from {since} to {_time_of_day(notice.time)}")


def _time_of_day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%H:%M:%S")


def _noun(limit: dict[str, Any]) -> str:
    """What a refusal of a limit counts."""
    distinct = limit.get("distinct")
    if isinstance(distinct, str):
        return f"new {_ELEMENTS.get(distinct.split('.')[1].partition('/')[0], 'name')}"
    return "connection" if limit.get("count") == "connections" else "message"
