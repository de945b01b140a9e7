"""The notices of a guard as sentences: `org-fan-out defers salesforce.com: 21,400 new hosts since 17:20:04`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from throttle.printable import printable

if TYPE_CHECKING:
    from throttle import Throttle
    from throttle.serve.log import Log

_DOES = {"defer": ("defers", "deferring"), "reject": ("rejects", "rejecting"), "block": ("blocks", "blocking")}
_ELEMENTS = {"host": "hosts", "org": "organisations", "net": "networks", "address": "addresses", "mailbox": "mailboxes"}


class NoticeReader:
    """Logs what a guard has noticed since the last time."""

    def __init__(self, guard: Throttle) -> None:
        self._guard = guard
        self._last = 0

    def log_new(self, log: Log) -> None:
        """Writes one line for each new notice, and one for those that were overwritten unread."""
        notices = self._guard.notices(after=self._last)
        self._last = notices.last
        if notices.overwritten:
            log.event("notices lost", f"{notices.overwritten:,} notices came too fast to be read")
        if notices.entries:
            limits = {limit.name: limit.fields for limit in self._guard.policy.limits}
            for notice in notices.entries:
                sentence = notice_sentence(notice, limits.get(notice.limit, {}))
                log.event("notice", sentence, limit=notice.limit, key=notice.key, refused=notice.refused)


def notice_sentence(notice: Any, limit: dict[str, Any]) -> str:
    """Returns a notice as one sentence. `limit` are the fields of its limit, empty for a refusal that is built in."""
    does, doing = _DOES.get(str(limit.get("action", "defer")).partition(" ")[0], _DOES["defer"])
    if notice.mode == "shadow":
        does, doing = f"would {does.removesuffix('s')}", f"would-be {doing}"
    at = datetime.fromtimestamp(notice.time).strftime("%H:%M:%S")
    counted = f"{notice.refused:,} {_counted(limit, notice.refused)}"
    if notice.kind == "began":
        sentence = f"{notice.limit} {does} {notice.key}: {counted} since {at}"
    else:
        sentence = f"{notice.limit} stopped {doing} {notice.key} at {at}: {counted} in all"
    return printable(sentence)


def _counted(limit: dict[str, Any], number: int) -> str:
    """What a limit counts, as a noun."""
    distinct = limit.get("distinct")
    if distinct:
        noun = "new " + _ELEMENTS.get(str(distinct).split(".")[1].partition("/")[0], "names")
    else:
        noun = "connections" if limit.get("count") == "connections" else "messages"
    return noun.removesuffix("s") if number == 1 and not noun.endswith("sses") else noun
