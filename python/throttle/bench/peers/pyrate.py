"""``pyrate-limiter``, what it has that keeps one number a key."""

from __future__ import annotations

from functools import partial

from pyrate_limiter import GCRA, BucketFactory, Duration, Limiter, Rate, RateItem, StateBucket, TokenBucket
from pyrate_limiter.clocks import MonotonicClock

from throttle.bench.peers import Maker, Peer


class Keyed(BucketFactory):
    """A bucket a key: how pyrate-limiter wants many keys to be limited."""

    def __init__(self, rate: Rate, algorithm: GCRA | TokenBucket) -> None:
        self._rates = [rate]
        self._algorithm = algorithm
        self._clock = MonotonicClock()
        self._buckets: dict[str, StateBucket] = {}

    def wrap_item(self, name: str, weight: int = 1) -> RateItem:
        """An item of a key, now."""
        return RateItem(name, self._clock.now(), weight=weight)

    def get(self, item: RateItem) -> StateBucket:
        """The key's bucket."""
        bucket = self._buckets.get(item.name)
        if bucket is None:
            bucket = self._buckets[item.name] = StateBucket(self._rates, self._algorithm, clock=self._clock)
        return bucket


def _pyrate(name: str, algorithm: GCRA | TokenBucket, per_minute: int) -> Peer:
    limiter = Limiter(Keyed(Rate(per_minute, Duration.MINUTE), algorithm))
    return Peer(name, partial(limiter.try_acquire, blocking=False), alike=True)


def gcra(per_minute: int) -> Peer:
    """GCRA, as ours."""
    return _pyrate("pyrate-limiter, GCRA", GCRA(), per_minute)


def token_bucket(per_minute: int) -> Peer:
    """The same in other words."""
    return _pyrate("pyrate-limiter, token bucket", TokenBucket(), per_minute)


MAKERS: tuple[Maker, ...] = (gcra, token_bucket)
