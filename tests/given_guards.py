"""Guards over a few limits of one's own, with a clock that stands still and a hash that is the same in every run.

It knows no mail. Invariant: two guards made alike decide alike.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from throttle import Limit, ManualClock, Policy, Throttle

if TYPE_CHECKING:
    from throttle import Decision, HitResult

SEED = b"16 secret bytes."

REAL = 1_795_541_400.0  # Unix seconds of a day in 2026

REPLY = re.compile(r"[45]\d\d [45]\.\d{1,3}\.\d{1,3} [\x20-\x7e]+")

REPLY_OCTETS = 510  # RFC 5321 §4.5.3.1.5, less CRLF

# Every identity that a policy can name: those with parameters at both ends of their range.
_IDENTITIES = (
    "client.ip client.net client.net/0/0 client.net/24/48 client.net/32/128 client.host client.org helo.host helo.org "
    "auth.user "
    "sender.address sender.host sender.org sender.org+1 sender.org+5 sender.registered rcpt.address rcpt.host "
    "from.address from.host from.org reply_to.address reply_to.org list.id dkim.org global"
)

IDENTITIES = _IDENTITIES.split()


def limit(name: str, per: str | list[str], rate: str = "2/minute", **fields: Any) -> Limit:
    """A rate limit that may stand per anything: what `auth.user` and `global` must state is stated."""
    return Limit(name=name, per=per, rate=rate, **{"algorithm": "gcra", "when_full": "admit"} | fields)


def guard(*limits: Limit, clock: Any = None, memory: int | str = "4 MiB", **policy: Any) -> Throttle:
    return Throttle(
        Policy(limits, **policy), memory=memory, clock=ManualClock(REAL) if clock is None else clock, seed=SEED
    )


def is_legal(reply: str | None) -> bool:
    """Whether it is one SMTP reply line without its CRLF: code, enhanced code (RFC 3463 §2), printable ASCII."""
    return reply is not None and len(reply) <= REPLY_OCTETS and REPLY.fullmatch(reply) is not None


def is_sound_hit(result: HitResult) -> bool:
    """Whether the attributes of a limiter's result agree with each other."""
    return bool(result) == result.allowed == (result.retry_after == 0.0) and result.retry_after >= 0.0


def is_sound(decision: Decision) -> bool:
    """Whether the attributes of a decision agree with each other."""
    told = (
        decision.limit,
        decision.identity,
        decision.key,
        decision.reply,
        decision.code,
        decision.text,
        decision.stage,
    )
    if decision:
        return decision.allowed and set(told) == {None} and decision.retry_after == 0.0
    parts = [str(part) for part in (decision.code, decision.enhanced_code, decision.text) if part is not None]
    if not (" ".join(parts) == decision.reply and is_legal(decision.reply)):
        return False
    return not decision.allowed and None not in told and decision.retry_after > 0.0
