"""P9: whatever the clock does, nothing raises, nobody waits longer than a window, and a step back gives nothing away.

One window: as long as the full bucket takes, from the first check after the step, which is when a guard can notice it.
A step back of less than a second stands still, so there it is a second more.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from given_guards import REAL, SEED, guard, is_sound, is_sound_hit, limit
from given_quotas import MOST_US, QUOTAS, SECOND_US, YEAR_US, Quota, pauses
from throttle import Envelope, Limit, ManualClock, RateLimiter

BACK_OR_FORWARD = st.sampled_from([-1, 1])

DISTANCES_US = st.sampled_from(
    [1, 999_999, SECOND_US, 60 * SECOND_US, 86_400 * SECOND_US, YEAR_US, 10 * YEAR_US]
) | st.integers(1, 10 * YEAR_US)

STEPS_US = st.builds(int.__mul__, BACK_OR_FORWARD, DISTANCES_US)

STARTS_US = st.sampled_from([0, int(REAL) * SECOND_US])


@st.composite
def journeys(draw: st.DrawFn) -> tuple[Quota, list[tuple[int, int]]]:
    """Moves of the clock, and how many hits after each."""
    quota = draw(QUOTAS)
    moves = STEPS_US | pauses(quota)
    return quota, draw(st.lists(st.tuples(moves, st.integers(1, 3)), max_size=25))


def at(clock: ManualClock, us: int) -> None:
    clock.now = us / 1e6


@given(journey=journeys(), start_us=STARTS_US)
@example(journey=(Quota(1, "second", 1), [(-10 * YEAR_US, 2), (-1, 1), (10 * YEAR_US, 1)]), start_us=0)
@example(journey=(Quota(1, "30 days", 2), [(-SECOND_US, 1), (SECOND_US, 1)] * 3), start_us=int(REAL) * SECOND_US)
@settings(max_examples=300)
def test_nobody_is_locked_out_and_nobody_gets_more_whatever_the_clock_does(
    journey: tuple[Quota, list[tuple[int, int]]], start_us: int
) -> None:
    quota, moves = journey
    assume(quota.drained_us < MOST_US)  # else no clock can be set to when it has
    clock = ManualClock(start_us / 1e6)
    limiter = RateLimiter(quota.rate, burst=quota.burst, memory="8 KiB", clock=clock, seed=SEED)
    part = max(1, quota.burst // 2)
    admitted = part * bool(limiter.hit("a", part))
    now_us, forward_us = start_us, 0
    for move_us, hits in moves:
        now_us += move_us
        forward_us += max(move_us, 0)
        at(clock, now_us)
        for _ in range(hits):
            decision = limiter.hit("a", part)
            assert is_sound_hit(decision)
            assert decision.retry_after * SECOND_US <= quota.drained_us + SECOND_US
            admitted += part * bool(decision)
        at(clock, now_us + math.ceil(quota.drained_us) + SECOND_US)
        assert limiter.peek("a", quota.burst)
        at(clock, now_us)
    # Engine time goes forward no further than the clock did: steps back are worth no window, where one each is allowed.
    assert admitted * quota.period_us <= quota.burst * quota.period_us + (forward_us + quota.tick_us) * quota.amount


FRESH = Limit(
    name="fresh",
    per="sender.registered",
    distinct="sender.host",
    rate="2/minute",
    remember="5 minutes",
    settle="1 minute",
)

LIMITS = (
    FRESH,
    limit("pace", "sender.host", "2/minute", burst=3),
    limit("slow", "client.net", "20/hour", burst=5, when_full="refuse"),
)

LONGEST_US = 900 * SECOND_US  # of the three windows: five charges at twenty an hour

SENDERS = [
    Envelope(client_ip="192.0.2.1", mail_from=f"a@{host}")
    for host in ("b.com", "x.b.com", "y.x.b.com", "z.x.b.com", "c.org", "[192.0.2.1]")
]


@given(
    moves=st.lists(
        st.tuples(
            STEPS_US | st.integers(0, 400 * SECOND_US), st.lists(st.sampled_from(SENDERS), min_size=1, max_size=6)
        ),
        max_size=12,
    ),
    start_us=STARTS_US,
)
def test_a_guard_is_open_again_one_window_after_any_step(
    moves: list[tuple[int, list[Envelope]]], start_us: int
) -> None:
    clock = ManualClock(start_us / 1e6)
    pace = guard(*LIMITS, clock=clock)
    now_us, forward_us = start_us, 0
    admitted = 0
    for move_us, envelopes in moves:
        now_us += move_us
        forward_us += max(move_us, 0)
        at(clock, now_us)
        for envelope in envelopes:
            decision = pace.check(envelope)
            assert is_sound(decision)
            admitted += bool(decision)
        at(clock, now_us + LONGEST_US + SECOND_US)
        assert all(pace.peek(envelope) for envelope in SENDERS)
        at(clock, now_us)
    assert admitted <= 5 + 20 * forward_us / (3600 * SECOND_US) + 0.01


@given(steps=st.lists(st.floats(), max_size=20))
def test_no_number_that_a_clock_returns_breaks_a_guard(steps: list[float]) -> None:
    now = 0.0
    limiter = RateLimiter("1/minute", clock=lambda: now)
    for now in steps:
        if math.isfinite(now) and abs(now) <= 1e11:
            assert is_sound_hit(limiter.hit("a"))
            continue
        try:
            limiter.hit("a")
        except ValueError as error:
            assert str(error).startswith("clock: found ")  # noqa: PT017 - `raises` in a loop of accepted ones says less
        else:
            raise AssertionError(f"{now} was taken for a time")


def test_milliseconds_in_place_of_seconds_are_refused_and_leave_the_clock_alone() -> None:
    clock = ManualClock(REAL)
    limiter = RateLimiter("1/second", clock=clock)
    with pytest.raises(ValueError, match="now: found"):
        limiter.hit("a", now=REAL * 1000)
    assert limiter.hit("b")
    assert not limiter.hit("b")
    clock.advance(1)
    assert limiter.hit("b")
