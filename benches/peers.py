"""The peers, each as one call of its own: no function of ours stands between. All in memory, at their fastest documented use.

It knows no traffic. Invariant: background work of a peer is part of its own cost, and ``settle`` keeps it out of everybody else's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import limits
from limits.storage import MemoryStorage
from limits.strategies import (
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    RateLimiter,
    SlidingWindowCounterRateLimiter,
)
from pyrate_limiter import GCRA, BucketFactory, Duration, Limiter, Rate, RateItem, StateBucket, TokenBucket
from pyrate_limiter.clocks import MonotonicClock
from throttled import MemoryStore, Quota, Throttled
from throttled import rate_limiter as throttled_rates

import throttle


@dataclass(frozen=True)
class Peer:
    """A way to limit keys."""

    name: str
    #: One key, one charge; the answer is the peer's own.
    hit: Callable[[str], Any]
    #: What the answer means.
    admitted: Callable[[Any], bool] = bool
    #: Keeps one number a key, as ours does: GCRA or token bucket.
    alike: bool = False
    settle: Callable[[], None] = lambda: None


class Keyed(BucketFactory):
    """A bucket a key: how pyrate-limiter wants many keys to be limited."""

    def __init__(self, rate: Rate, algorithm: GCRA | TokenBucket) -> None:
        self._rates = [rate]
        self._algorithm = algorithm
        self._clock = MonotonicClock()
        self._buckets: dict[str, StateBucket] = {}

    def wrap_item(self, name: str, weight: int = 1) -> RateItem:
        return RateItem(name, self._clock.now(), weight=weight)

    def get(self, item: RateItem) -> StateBucket:
        bucket = self._buckets.get(item.name)
        if bucket is None:
            bucket = self._buckets[item.name] = StateBucket(self._rates, self._algorithm, clock=self._clock)
        return bucket


def ours(per_minute: int, memory: str = "2 MiB") -> Peer:
    """Two mebibytes have slots for 229,000 keys at once."""
    return Peer("throttle, GCRA", throttle.RateLimiter(f"{per_minute}/minute", memory=memory).hit)


def _limits(name: str, strategy: type[RateLimiter], per_minute: int) -> Peer:
    storage = MemoryStorage()
    limiter = strategy(storage)
    hit = partial(limiter.hit, limits.parse(f"{per_minute}/minute"))
    # A sweep over all keys begins ten milliseconds after a hit, in a thread of its own.
    return Peer(name, hit, settle=lambda: storage.timer.join())


def moving_window(per_minute: int) -> Peer:
    return _limits("limits, moving window", MovingWindowRateLimiter, per_minute)


def fixed_window(per_minute: int) -> Peer:
    return _limits("limits, fixed window", FixedWindowRateLimiter, per_minute)


def sliding_counter(per_minute: int) -> Peer:
    return _limits("limits, sliding window counter", SlidingWindowCounterRateLimiter, per_minute)


def _pyrate(name: str, algorithm: GCRA | TokenBucket, per_minute: int) -> Peer:
    limiter = Limiter(Keyed(Rate(per_minute, Duration.MINUTE), algorithm))
    return Peer(name, partial(limiter.try_acquire, blocking=False), alike=True)


def pyrate_gcra(per_minute: int) -> Peer:
    return _pyrate("pyrate-limiter, GCRA", GCRA(), per_minute)


def pyrate_token_bucket(per_minute: int) -> Peer:
    return _pyrate("pyrate-limiter, token bucket", TokenBucket(), per_minute)


def _throttled(name: str, using: str, per_minute: int) -> Peer:
    # Its own default keeps 1,024 keys and forgets the rest.
    store = MemoryStore(options={"MAX_SIZE": 10_000_000})
    quota: Quota = throttled_rates.per_min(per_minute, burst=per_minute)
    limiter = Throttled(using=using, quota=quota, store=store)
    return Peer(name, limiter.limit, admitted=lambda answer: not answer.limited, alike=True)


def throttled_gcra(per_minute: int) -> Peer:
    return _throttled("throttled-py, GCRA", "gcra", per_minute)


def throttled_token_bucket(per_minute: int) -> Peer:
    return _throttled("throttled-py, token bucket", "token_bucket", per_minute)


#: Ours first.
ALL: tuple[Callable[[int], Peer], ...] = (
    ours,
    moving_window,
    fixed_window,
    sliding_counter,
    pyrate_gcra,
    pyrate_token_bucket,
    throttled_gcra,
    throttled_token_bucket,
)
