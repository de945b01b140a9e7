"""What can be asked of the guards of a service, and what can be changed in them.

A verb takes guards and the fields of a request, and returns what JSON can say. It knows no socket.
Invariants: a verb that only reads changes nothing. No verb takes a path: the text of an error would tell what is in the
file.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

from throttle import Envelope, ThrottleError, __version__
from throttle.control import MOST_OFFENDERS
from throttle.control.request import Request, RequestError, shown
from throttle.diagnosis import described
from throttle.notices import sentence, time_of_day
from throttle.types import EnvelopeFields, Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from throttle import Blocked, Offender, Policy, Throttle
    from throttle.control import answers
    from throttle.serve.guards import PolicySource
    from throttle.types import Explanation, Notice, Notices

ENVELOPE_FIELDS = tuple(EnvelopeFields.__annotations__)


def _status(request: Request) -> answers.Status:
    policies = request.chosen()
    request.end()
    reload = request.guards.last_reload
    return {
        "version": __version__,
        "pid": os.getpid(),
        "uptime_seconds": round(time.time() - request.started_at, 3),
        "last_reload": {"at": reload.at, "succeeded": reload.succeeded},
        "policies": [_state(source, guard) for source, guard in policies],
    }


def _state(source: PolicySource, guard: Throttle) -> answers.PolicyStatus:
    metrics = guard.metrics()
    refusals = {name: counts for name, counts in metrics.refusals.items() if any(counts.values())}
    return {
        "policy": source.name,
        "source": source.source,
        "mode": guard.mode,
        "limits": len(guard.policy.limits),
        "memory_bytes": metrics.memory_bytes,
        "checks": metrics.checks,
        "refusals": refusals,
        "untracked": {name: count for name, count in metrics.untracked.items() if count},
    }


def _top(request: Request) -> list[answers.Top]:
    identity, most = request.optional_text("identity"), request.number("n", 10, MOST_OFFENDERS)
    policies = request.chosen()
    request.end()
    return [_top_of(source, guard, identity, most) for source, guard in policies]


def _top_of(source: PolicySource, guard: Throttle, identity: str | None, most: int) -> answers.Top:
    identities = counted_identities(guard.policy) if identity is None else [identity]
    refusing = _refusing(guard).refusing
    return {
        "policy": source.name,
        "mode": guard.mode,
        "checks": guard.metrics().checks,
        "identities": [
            {
                "identity": name,
                "distinct": round(guard.distinct(name)),
                "offenders": [_offender(name, offender, refusing) for offender in guard.top(name, most)],
            }
            for name in identities
        ],
        "refusing": [_notice(notice, guard.policy) for notice in refusing],
    }


def _offender(identity: str, offender: Offender, refusing: Iterable[Notice]) -> answers.Row:
    holding = (notice for notice in refusing if (identity, offender.value) in notice.parts)
    return {
        "value": offender.value,
        "admitted": offender.admitted,
        "refused": offender.refused,
        "fan_out": None if offender.fan_out is None else round(offender.fan_out),
        "first_seen": offender.first_seen,
        "limits": [{"limit": notice.limit, "mode": notice.mode} for notice in holding],
    }


def counted_identities(policy: Policy) -> list[str]:
    """Returns the identities that limits count per or count values of, in the order of the policy."""
    found: dict[str, None] = {}
    for limit in policy.limits:
        per, distinct = limit.fields["per"], limit.fields.get("distinct")
        for identity in (*([per] if isinstance(per, str) else per), distinct):
            if identity is not None and identity != "global":
                found[identity] = None
    return list(found)


def _refusing(guard: Throttle) -> Notices:
    """The notices of keys that are refused now, without those of before."""
    return guard.notices(after=_AFTER_ALL)


_AFTER_ALL = (1 << 63) - 1
"""More than the number of any notice."""


def _notice(notice: Notice, policy: Policy) -> answers.ToldNotice:
    last = f", last at {time_of_day(notice.until)}" if notice.kind == "began" else ""
    return cast("answers.ToldNotice", {**asdict(notice), "text": f"{sentence(notice, policy)}{last}"})


def _notices(request: Request) -> list[answers.ToldNotices]:
    after = request.number("after", 0, 1 << 62)
    policies = request.chosen()
    request.end()
    return [_notices_of(source, guard, after) for source, guard in policies]


def _notices_of(source: PolicySource, guard: Throttle, after: int) -> answers.ToldNotices:
    notices = guard.notices(after=after)
    return {
        "policy": source.name,
        "entries": [_notice(notice, guard.policy) for notice in notices.entries],
        "refusing": [_notice(notice, guard.policy) for notice in notices.refusing],
        "overwritten": notices.overwritten,
        "untracked": notices.untracked,
        "last": notices.last,
    }


def _list(request: Request) -> list[answers.Entries]:
    policies = request.chosen()
    request.end()
    return [
        {"policy": source.name, "entries": [_entry(entry) for entry in (*guard.blocked(), *guard.allowed())]}
        for source, guard in policies
    ]


def _entry(entry: Blocked) -> answers.Entry:
    return {
        "action": entry.action,
        "identity": entry.identity,
        "value": entry.value,
        "until": entry.until if math.isfinite(entry.until) else None,
        "by": entry.by,
        "unverified": entry.unverified,
        "comment": entry.comment,
    }


def _diagnose(request: Request) -> list[answers.ToldDiagnosis]:
    policies = request.chosen()
    request.end()
    return [
        {"policy": source.name, **described(guard.diagnose(), _refusing(guard), guard.policy)}
        for source, guard in policies
    ]


def _explain(request: Request) -> list[answers.Explained]:
    fields: dict[str, Any] = {name: _envelope_field(request, name) for name in ENVELOPE_FIELDS}
    policies = request.chosen()
    request.end()
    try:
        envelope = Envelope(**fields)
    except TypeError as error:
        raise RequestError(str(error)) from error
    return [{"policy": source.name, "explanation": finite(guard.explain(envelope))} for source, guard in policies]


def _envelope_field(request: Request, name: str) -> str | list[str] | int | None:
    if name == "size":
        return request.number(name, 0, 1 << 50) if name in request.fields else None
    value = request.fields.get(name)
    if not isinstance(value, list):
        return request.optional_text(name, is_raw=True)
    if not all(isinstance(one, str) for one in value):
        raise RequestError(f"{name}: found {shown(value)}; allowed: text, or a list of texts")
    del request.fields[name]
    return value


def finite(explanation: Explanation) -> dict[str, Any]:
    """Returns an explanation as JSON has it: an infinite wait is null."""
    told: dict[str, Any] = asdict(explanation)
    for row, name in [(row, "retry_after") for row in told["limits"]] + [(row, "seconds") for row in told["covering"]]:
        row[name] = row[name] if math.isfinite(row[name]) else None
    return told


def _block(request: Request) -> list[answers.Changed]:
    identity, value, seconds = request.text("identity"), request.text("value"), request.duration()
    return _each(request, lambda _, guard: guard.block(identity, value, seconds=seconds))


def _allow(request: Request) -> list[answers.Changed]:
    identity, value, seconds = request.text("identity"), request.text("value"), request.duration()
    unverified = request.flag("unverified")
    return _each(request, lambda _, guard: guard.allow(identity, value, seconds=seconds, unverified=unverified))


def _unblock(request: Request) -> list[answers.Changed]:
    identity, value = request.text("identity"), request.text("value")
    return _each(request, lambda _, guard: guard.unblock(identity, value))


def _reset(request: Request) -> list[answers.Changed]:
    identity, value = request.text("identity"), request.text("value")
    return _each(request, lambda _, guard: guard.reset(identity, value))


def _mode(request: Request) -> list[answers.Changed]:
    mode = request.text("mode")
    if mode not in get_args(Mode):
        raise RequestError(f"mode: found {shown(mode)}; allowed: {', '.join(get_args(Mode))}")

    return _each(request, lambda source, _: request.guards.set_mode(source, cast("Mode", mode)))


def _reload(request: Request) -> list[answers.Reloaded]:
    request.end()
    return [{"policy": source.name, "error": error} for source, error in request.guards.reload(request.log)]


def _each(request: Request, change: Callable[[PolicySource, Throttle], Any]) -> list[answers.Changed]:
    """Changes each guard that the request names."""
    policies = request.chosen()
    request.end()
    results: list[answers.Changed] = []
    for source, guard in policies:
        try:
            results.append({"policy": source.name, "result": change(source, guard)})
        except (ThrottleError, ValueError) as error:
            done = ", ".join(repr(result["policy"]) for result in results)
            raise RequestError(f"{error}; done before for policy {done}" if done else str(error)) from error
    return results


@dataclass(frozen=True, slots=True)
class Verb:
    """What a request can ask."""

    run: Callable[[Request], Any]
    changes: bool = False


VERBS: dict[str, Verb] = {
    "status": Verb(_status),
    "top": Verb(_top),
    "notices": Verb(_notices),
    "list": Verb(_list),
    "diagnose": Verb(_diagnose),
    "explain": Verb(_explain),
    "block": Verb(_block, changes=True),
    "allow": Verb(_allow, changes=True),
    "unblock": Verb(_unblock, changes=True),
    "reset": Verb(_reset, changes=True),
    "mode": Verb(_mode, changes=True),
    "reload": Verb(_reload, changes=True),
}
