"""What a replay would have the operator write: a `scale`, and quotas for keys that were refused.

The rules are told with the numbers, since they are rules of thumb: nobody but the operator knows which of the refused
is welcome.
It knows counts, not who is innocent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from throttle.replay.limits import JOINED
from throttle.replay.peaks import SPARED

if TYPE_CHECKING:
    from throttle.replay.refusals import Detail
    from throttle.replay.run import Replay

HEADROOM = 2
SCALE_RULE = (
    f"the smallest scale, never below the policy's own, at which of each limit at most {SPARED} keys used more than "
    "half of what it lets through, its burst and its rate, in one of its periods or in an hour; keys that were refused "
    "or have a quota have no say. It is at most twice the policy's own: replay again under it"
)
QUOTA_RULE = (
    "the limit's rate and the most that was refused of the key in one of its periods, with a quarter more, to two "
    "digits; "
    "only for a sender that you know and want: an attacker's would let the attack in"
)
QUOTAS = 5  # a limit


def suggestions(replay: Replay) -> dict[str, Any]:
    """The scale with its reason, and quotas."""
    needs = [(need.limit.name, need.peaks.deciding()) for need in replay.needs]
    name, keys = max(needs, key=lambda item: _least(item[1]), default=("", []))
    own = replay.guard.policy.scale
    because = (
        f"{name} is used to {_least(keys):.0%} or more by {len(keys)} keys"
        if keys
        else f"no limit is used to more than half by more than {SPARED} keys"
    )
    return {
        "scale": two_digits(own * _least(keys) * HEADROOM * 1000) / 1000 if keys else own,
        "own_scale": own,
        "because": because,
        "used_by": [{"key": key, "share": round(share, 4)} for key, share in keys],
        "scale_rule": SCALE_RULE,
        "quotas": list(_quotas(replay)),
        "quota_rule": QUOTA_RULE,
    }


def two_digits(number: float) -> int:
    """Rounded up to two digits."""
    whole = -int(-number // 1)
    step: int = 10 ** max(len(str(whole)) - 2, 0)
    return -(-whole // step) * step


def _least(keys: list[tuple[str, float]]) -> float:
    return keys[-1][1] if keys else 0.0


def _quotas(replay: Replay) -> list[dict[str, Any]]:
    found = []
    for refusals in replay.refused.values():
        limit = refusals.limit
        if limit is None:
            continue
        of_value: dict[str, list[Detail]] = {}
        for key, count in refusals.keys.top(QUOTAS * 4):
            detail = refusals.details.get(key)
            if detail is not None and count:
                of_value.setdefault(detail.value or key, []).append(detail)
        for value, details in list(of_value.items())[:QUOTAS]:
            rate = limit.rate_of(two_digits((limit.amount + sum(detail.most for detail in details)) * 1.25))
            found.append({"limit": limit.name, "value": value.split(JOINED)[-1], "rate": rate})
    return found
