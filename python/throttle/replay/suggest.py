"""What a replay would have the operator write: a `scale`, and quotas for keys that were refused.

The rules are told with the numbers, since they are rules of thumb: nobody but the operator knows which of the refused
is welcome.
It knows counts, not who is innocent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from throttle.replay.limits import JOINED

if TYPE_CHECKING:
    from throttle.replay.needs import Need
    from throttle.replay.refusals import Detail
    from throttle.replay.run import Replay

ENOUGH = 1000  # numbers from which the 99.9th percentile of them is more than one of them
HEADROOM = 2
SCALE_RULE = (
    "the smallest scale, never below the policy's own, at which 99.9 % of what a limit's keys had admitted in one of "
    "its periods is at most half of its rate; "
    f"keys that were refused have no say, and are matters of quotas; nor has a limit with fewer than {ENOUGH} such "
    "numbers"
)
QUOTA_RULE = (
    "the limit's rate and the most that was refused of the key in one of its periods, with a quarter more, to two "
    "digits; "
    "only for a sender that you know and want: an attacker's would let the attack in"
)
QUOTAS = 5  # a limit


def suggestions(replay: Replay) -> dict[str, Any]:
    """The scale with its reason, and quotas."""
    needs = [(need, _use(need)) for need in replay.needs if need.panes.count >= ENOUGH]
    most = max(needs, key=lambda item: item[1], default=None)
    factor = max(1.0, most[1] * HEADROOM) if most else 1.0
    own = replay.guard.policy.scale
    because = (
        f"{most[0].limit.name} is used to {most[1]:.0%} by 99.9 % of its keys"
        if most
        else "no limit has enough numbers"
    )
    return {
        "scale": own if factor == 1.0 else two_digits(own * factor * 1000) / 1000,
        "own_scale": own,
        "because": because,
        "scale_rule": SCALE_RULE,
        "quotas": list(_quotas(replay)),
        "quota_rule": QUOTA_RULE,
    }


def two_digits(number: float) -> int:
    """Rounded up to two digits."""
    whole = -int(-number // 1)
    step: int = 10 ** max(len(str(whole)) - 2, 0)
    return -(-whole // step) * step


def _use(need: Need) -> float:
    return need.panes.percentile(0.999) / need.limit.amount


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
