"""``throttled-py``, what it has that keeps one number a key."""

from __future__ import annotations

from throttled import MemoryStore, Quota, Throttled
from throttled import rate_limiter as rates

from throttle.bench.peers import Maker, Peer


def _throttled(name: str, using: str, per_minute: int) -> Peer:
    # Its own default keeps 1,024 keys and forgets the rest.
    store = MemoryStore(options={"MAX_SIZE": 10_000_000})
    quota: Quota = rates.per_min(per_minute, burst=per_minute)
    limiter = Throttled(using=using, quota=quota, store=store)
    return Peer(name, limiter.limit, admitted=lambda answer: not answer.limited, alike=True)


def gcra(per_minute: int) -> Peer:
    """GCRA, as ours."""
    return _throttled("throttled-py, GCRA", "gcra", per_minute)


def token_bucket(per_minute: int) -> Peer:
    """The same in other words."""
    return _throttled("throttled-py, token bucket", "token_bucket", per_minute)


MAKERS: tuple[Maker, ...] = (gcra, token_bucket)
