"""Notices of a guard as text for people: `org-fan-out defers bulk.com: 21,400 messages of new hosts since 17:20:04`.

A key in a notice may be what a sender chose: it is escaped, and in quotes where it could continue the sentence.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from throttle.printable import quoted

if TYPE_CHECKING:
    from throttle import Policy
    from throttle.types import Notice

_VERBS = {"defer": ("defers", "deferred"), "reject": ("rejects", "rejected"), "block": ("blocks", "blocked")}
_ELEMENTS = {"host": "host", "org": "organisation", "net": "network"}


def sentence(notice: Notice, policy: Policy) -> str:
    """Returns a notice as one sentence. `policy` says what the limit counts and how it refuses."""
    fields = _fields_of(notice, policy)
    present, past = _VERBS[str(fields.get("action", "defer")).partition(" ")[0]]
    if notice.mode == "shadow":
        present, past = f"would {present.removesuffix('s')}", f"would have {past}"
    refused = _counted(notice, fields)
    since = time_of_day(notice.since)
    # Of a key of several values, each is quoted by itself.
    key = " + ".join(quoted(value) for value in notice.key.split(" + "))
    if notice.kind == "began":
        return f"{notice.limit} {present} {key}: {refused} since {since}"
    return f"{notice.limit} {past} {key}: {refused} from {since} to {time_of_day(notice.until)}"


def counted(notice: Notice, policy: Policy) -> str:
    """Returns what was refused, as text: `21,400 messages of new hosts`."""
    return _counted(notice, _fields_of(notice, policy))


def time_of_day(seconds: float) -> str:
    """Returns Unix seconds as hours, minutes and seconds of UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")


def _fields_of(notice: Notice, policy: Policy) -> dict[str, Any]:
    """The fields of the notice's limit; a built-in refusal has none."""
    return next((limit.fields for limit in policy.limits if limit.name == notice.limit), {})


def _counted(notice: Notice, fields: dict[str, Any]) -> str:
    """What the limit refused: a message that is sent again counts again, also from a host that is still new."""
    plural = "" if notice.refused == 1 else "s"
    distinct = fields.get("distinct")
    if isinstance(distinct, str):
        element = _ELEMENTS.get(distinct.split(".")[1].partition("/")[0], "name")
        return f"{notice.refused:,} message{plural} of new {element}s"
    return f"{notice.refused:,} {'connection' if fields.get('count') == 'connections' else 'message'}{plural}"
