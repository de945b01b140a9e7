"""A replay as plain data: what `--json` prints and the tables show.

It knows what was counted, not how it is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from throttle.replay.counting import MOST_KEYS
from throttle.replay.suggest import suggestions
from throttle.replay.times import shown
from throttle.tags import explained

if TYPE_CHECKING:
    from throttle.replay.counting import Heavy, Panes
    from throttle.replay.needs import Need
    from throttle.replay.notes import Notes
    from throttle.replay.refusals import Refusals
    from throttle.replay.run import Replay

TOP = 10
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999}


def report(replay: Replay, notes: Notes, top: int = TOP) -> dict[str, Any]:
    """All of it; `replay` is closed."""
    guard, refused = replay.guard, replay.transactions - replay.admitted
    told = {
        "policy": {
            "file": guard.policy.file,
            "limits": len(guard.policy.limits),
            "scale": guard.policy.scale,
            "memory_bytes": guard.memory_bytes,
            "not_replayed": replay.not_replayed,
            "not_told": [need.limit.name for need in replay.needs if not need.is_told],
            "warm_up": {limit.name: limit.warm_up for limit in replay.limits if limit.warm_up},
            "never_asked": [need.limit.name for need in replay.needs if not replay.has_key(need)],
        },
        "log": _log(replay, notes),
        "transactions": replay.transactions,
        "rejected_by_the_server": replay.rejected,
        "rejected_by_throttle": replay.by_throttle,
        "admitted": replay.admitted,
        "refused": refused,
        "share_refused": _share(refused, replay.transactions),
        "refused_by": _refusals(replay.refused, refused, top),
        "shadow": _refusals(replay.shadow, replay.transactions, top),
        "reply_to": _reply_to(replay.reply_to, top),
        "busiest": [_busiest(name, verified, tally.total, top) for (name, verified), tally in replay.tallies.items()],
        "rates": [
            {"identity": name, "verified": verified, "minute": _panes(tally.minute), "hour": _panes(tally.hour)}
            for (name, verified), tally in replay.tallies.items()
        ],
        "limits": [_need(need) for need in replay.needs],
        "suggestions": suggestions(replay),
        "bounds": _bounds(replay),
    }
    return told | {"tags": dict(explained(_keys(told)))}


def _keys(told: dict[str, Any]) -> list[str]:
    """Returns the keys that the report contains."""
    listed = [*told["refused_by"], *told["shadow"], *told["busiest"]]
    most = [row["max_key"] for row in told["limits"] if row["max_key"] is not None]
    using = [row["key"] for row in told["suggestions"]["used_by"]]
    return [row["key"] for rows in listed for row in rows["keys"]] + most + using


def _log(replay: Replay, notes: Notes) -> dict[str, Any]:
    first = notes.first_broken
    return {
        "files": notes.files,
        "lines": notes.lines,
        "since": shown(replay.since) if replay.transactions else None,
        "until": shown(replay.until) if replay.transactions else None,
        "busiest_hour": replay.per_hour.most,
        "broken": notes.broken,
        "first_broken": first and {"file": first.file, "line": first.line, "text": first.text, "why": first.why},
        "passed_over": dict(notes.passed_over.most_common()),
        "lay_back": replay.lay_back,
        "lay_back_s": round(replay.lay_back_s, 6),
    }


def _refusals(of_limits: dict[str, Refusals], whole: int, top: int) -> list[dict[str, Any]]:
    ranked = sorted(of_limits.values(), key=lambda refusals: -refusals.count)
    return [
        {
            "limit": refusals.name,
            "identity": refusals.identity,
            "count": refusals.count,
            "share": _share(refusals.count, whole),
            "first": {"time": shown(refusals.first), "key": refusals.first_key},
            "keys": [_key(refusals, key, count) for key, count in refusals.keys.top(top)],
            "reply_to": _reply_to(refusals.reply_to, 1),
        }
        for refusals in ranked
    ]


def _key(refusals: Refusals, key: str, count: int) -> dict[str, Any]:
    detail = refusals.details.get(key)
    told: dict[str, Any] = {
        "key": key,
        "count": count,
        "first": None,
        "admitted_before": None,
        "fan_out": None,
        "of": None,
    }
    told["reply_to"] = []
    if detail:
        told |= {"first": shown(detail.first), "admitted_before": detail.admitted_before}
        told["reply_to"] = _reply_to(detail.reply_to, 1)
        if refusals.of:
            told |= {"fan_out": round(detail.elements.estimate()), "of": refusals.of}
    return told


def _reply_to(counts: Heavy, top: int) -> list[dict[str, Any]]:
    return [{"value": value, "count": count} for value, count in counts.top(top)]


def _busiest(name: str, verified: str, total: Heavy, top: int) -> dict[str, Any]:
    keys = [{"key": key, "admitted": count} for key, count in total.top(top)]
    return {"identity": name, "verified": verified, "keys": keys, "short": total.short}


def _panes(panes: Panes) -> dict[str, Any]:
    told: dict[str, Any] = {"numbers": panes.count}
    told |= {name: panes.percentile(share) for name, share in PERCENTILES.items()}
    return told | {"max": panes.most, "max_key": panes.most_key}


def _need(need: Need) -> dict[str, Any]:
    limit = need.limit
    return {
        "limit": limit.name,
        "identity": limit.identity,
        "rate": limit.rate,
        "counts": limit.counts,
        **(_panes(need.panes) if need.is_told else dict.fromkeys(_panes(need.panes))),
    }


def _bounds(replay: Replay) -> list[str]:
    """What is not exact, in words; nothing in an ordinary log."""
    told = []
    for (name, _), tally in replay.tallies.items():
        if tally.total.short:
            told.append(f"busiest {name}: more than {MOST_KEYS} keys; counts are too low by up to {tally.total.short}")
        uncounted = tally.minute.uncounted + tally.hour.uncounted
        if uncounted:
            told.append(
                f"percentiles of {name}: {uncounted} messages of keys after the first {MOST_KEYS} of a period are "
                "left out"
            )
    refused = (*replay.refused.values(), *replay.shadow.values())
    told += [
        f"keys refused by {refusals.name}: counts are too low by up to {refusals.keys.short}"
        for refusals in refused
        if refusals.keys.short
    ]
    told += [
        f"{memory.dropped} elements of {memory.per.name} are left out: the longest unseen that never came back"
        for memory in replay.remembered
        if memory.dropped
    ]
    return told


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
