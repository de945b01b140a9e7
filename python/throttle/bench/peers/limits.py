"""``limits``, its three strategies."""

from __future__ import annotations

from functools import partial

import limits
from limits.storage import MemoryStorage
from limits.strategies import (
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    RateLimiter,
    SlidingWindowCounterRateLimiter,
)

from throttle.bench.peers import Maker, Peer


def _limits(name: str, strategy: type[RateLimiter], per_minute: int) -> Peer:
    storage = MemoryStorage()
    limiter = strategy(storage)
    hit = partial(limiter.hit, limits.parse(f"{per_minute}/minute"))
    # A sweep over all keys begins ten milliseconds after a hit, in a thread of its own.
    return Peer(name, hit, settle=lambda: storage.timer.join())


def moving_window(per_minute: int) -> Peer:
    """Keeps a list of times a key."""
    return _limits("limits, moving window", MovingWindowRateLimiter, per_minute)


def fixed_window(per_minute: int) -> Peer:
    """Keeps a count a key."""
    return _limits("limits, fixed window", FixedWindowRateLimiter, per_minute)


def sliding_counter(per_minute: int) -> Peer:
    """Keeps two counts a key."""
    return _limits("limits, sliding window counter", SlidingWindowCounterRateLimiter, per_minute)


MAKERS: tuple[Maker, ...] = (moving_window, fixed_window, sliding_counter)
