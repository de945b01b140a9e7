"""P10 for one table: who is told to wait passes at that very microsecond and not one before;
and against an exact bucket.

Times are real Unix seconds or begin at zero, and idle times lie around every multiple of the table's ticks.
"""

from __future__ import annotations

import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from given_guards import REAL, SEED, is_sound_hit
from given_quotas import MOST_US, QUOTAS, SECOND_US, Bucket, Quota, pauses
from throttle import HitResult, ManualClock, RateLimiter

STARTS_US = st.sampled_from([0, int(REAL) * SECOND_US])


class Watch:
    """A limiter and its clock in microseconds; looks into the future without going there."""

    def __init__(self, quota: Quota, start_us: int) -> None:
        self.us = start_us
        self.clock = ManualClock(start_us / 1e6)
        self.limiter = RateLimiter(quota.rate, burst=quota.burst, memory="8 KiB", clock=self.clock, seed=SEED)

    def go(self, us: int) -> None:
        self.us += us
        self.clock.now = self.us / 1e6

    def peek(self, key: str, cost: int, after_us: int) -> HitResult:
        self.clock.now = (self.us + after_us) / 1e6
        decision = self.limiter.peek(key, cost)
        self.clock.now = self.us / 1e6
        return decision


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Quota, list[tuple[int, str, int]]]:
    quota = draw(QUOTAS)
    costs = st.sampled_from([1, 1, 2, quota.burst, quota.burst + 1]) | st.integers(0, quota.burst)
    return quota, draw(st.lists(st.tuples(pauses(quota), st.sampled_from("ab"), costs), max_size=30))


@given(schedule=schedules(), start_us=STARTS_US)
@example(schedule=(Quota(1_000_000, "30 days", 1_000_000), [(0, "a", 1_000_000), (1, "a", 1)]), start_us=0)
@example(
    schedule=(
        Quota(2, "day", 390_997),
        [(296_475, "b", 390_997), (296_475, "b", 390_997), (43_200_000_001, "b", 390_998), (0, "a", 1)],
    ),
    start_us=0,
)
@settings(max_examples=400)
def test_a_retry_passes_when_told_and_not_a_microsecond_before(
    schedule: tuple[Quota, list[tuple[int, str, int]]], start_us: int
) -> None:
    quota, steps = schedule
    watch = Watch(quota, start_us)
    exact = {"a": Bucket(quota), "b": Bucket(quota)}
    for pause_us, key, cost in steps:
        if watch.us + pause_us > MOST_US:
            break
        watch.go(pause_us)
        decision = watch.limiter.hit(key, cost)
        assert is_sound_hit(decision)
        over = exact[key].over(cost, watch.us)
        if decision:
            assert over <= quota.tick_us * quota.amount  # more than one tick beyond the burst
            exact[key].charge(cost, watch.us)
        elif cost > quota.burst:
            assert decision.retry_after == math.inf
        else:
            assert over > 0  # within its rate, and refused
            wait_us = round(decision.retry_after * 1e6)
            assert 0 < wait_us <= quota.drained_us + 1
            if watch.us + wait_us <= MOST_US:  # beyond, the clock itself cannot say which microsecond it is
                assert watch.peek(key, cost, wait_us)
                assert not watch.peek(key, cost, wait_us - 1)


@given(schedule=schedules(), start_us=STARTS_US)
def test_a_time_that_lies_back_counts_as_the_latest_seen_and_waits_from_where_it_lies(
    schedule: tuple[Quota, list[tuple[int, str, int]]], start_us: int
) -> None:
    quota, steps = schedule
    raw, clamped = (RateLimiter(quota.rate, burst=quota.burst, memory="8 KiB", seed=SEED) for _ in range(2))
    latest_us = start_us
    assert raw.hit("c", now=latest_us / 1e6) == clamped.hit("c", now=latest_us / 1e6)
    for number, (pause_us, key, cost) in enumerate(steps):
        stated_us = start_us + pause_us * (-1) ** number
        latest_us = max(latest_us, stated_us)
        behind = raw.hit(key, cost, now=stated_us / 1e6)
        latest = clamped.hit(key, cost, now=latest_us / 1e6)
        assert (behind.allowed, behind.key) == (latest.allowed, latest.key)
        if not latest and latest.retry_after < math.inf:
            lag_us = round((behind.retry_after - latest.retry_after) * 1e6)
            assert abs(lag_us - (latest_us - stated_us)) <= 1  # floats of seconds


@given(quota=QUOTAS, back_us=st.integers(1, SECOND_US - 1), start_us=STARTS_US)
def test_a_retry_passes_when_told_after_a_step_back_of_less_than_a_second(
    quota: Quota, back_us: int, start_us: int
) -> None:
    watch = Watch(quota, start_us + SECOND_US)
    assert watch.limiter.hit("a", quota.burst)
    watch.go(-back_us)
    decision = watch.limiter.hit("a")
    assert not decision
    wait_us = round(decision.retry_after * 1e6)
    if watch.us + wait_us <= MOST_US:
        assert watch.peek("a", 1, wait_us)
        assert not watch.peek("a", 1, wait_us - 1)


@given(quota=QUOTAS)
def test_idle_for_any_multiple_of_the_tables_ticks_a_key_is_as_new(quota: Quota) -> None:
    for half_wraps in range(1, 7):
        idle_us = int(quota.tick_us * (half_wraps << 31))
        if not quota.drained_us <= idle_us < MOST_US:
            continue
        for off_us in (-1, 0, 1):
            watch = Watch(quota, 0)
            assert watch.limiter.hit("a", quota.burst)
            watch.go(max(idle_us + off_us, math.ceil(quota.drained_us)))
            assert watch.limiter.hit("a", quota.burst), (half_wraps, off_us)
            assert not watch.limiter.hit("a", 1)
