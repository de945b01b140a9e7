"""P4 and P10 for sliding windows, through Python: against a list of events, on any schedule and with any clock.

Rust runs the same oracle over more schedules (`rust/core/tests/window.rs`); here it is the crossing that is tested:
seconds, costs, steps of the clock.
"""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from exact_windows import ExactWindows
from given_guards import REAL, SEED, guard, is_sound_hit
from given_quotas import SECOND_US, UNITS
from throttle import Envelope, Limit, ManualClock, RateLimiter

AMOUNTS = st.sampled_from([1, 2, 7, 100, 65_535, 65_536, 1 << 30]) | st.integers(1, 200)

STARTS_US = st.sampled_from([0, int(REAL) * SECOND_US])

Steps = list[tuple[int, str, int, int]]


@st.composite
def schedules(draw: st.DrawFn) -> tuple[int, str, Steps]:
    amount, unit = draw(AMOUNTS), draw(st.sampled_from(list(UNITS)))
    period_us = UNITS[unit] * SECOND_US
    panes = [period_us // n for n in (4, 5, 12, 15)]
    pauses = st.sampled_from([0, 1, period_us - 1, period_us, *panes]) | st.integers(0, period_us // 3)
    costs = st.sampled_from([1, 1, amount]) | st.integers(0, amount + 1)
    step = st.tuples(pauses, st.sampled_from("ab"), costs, st.integers(1, 4))
    return amount, unit, draw(st.lists(step, max_size=40))


@given(schedule=schedules(), start_us=STARTS_US)
@example(schedule=(1, "second", [(999_999, "a", 1, 1), (999_999, "a", 1, 1), (1, "a", 1, 1)]), start_us=0)
@settings(max_examples=300)
def test_no_window_holds_more_than_the_limit_and_a_retry_passes_when_told(
    schedule: tuple[int, str, Steps], start_us: int
) -> None:
    amount, unit, steps = schedule
    clock = ManualClock()
    pace = RateLimiter(f"{amount}/{unit}", algorithm="sliding-window", memory="8 KiB", clock=clock, seed=SEED)
    exact = ExactWindows(UNITS[unit] * SECOND_US)
    longer = ExactWindows(UNITS[unit] * SECOND_US * 5 // 4)  # by the oldest pane, a quarter at most
    now_us = start_us
    for pause_us, key, cost, times in steps:
        now_us += pause_us
        for _ in range(times):
            clock.now = now_us / 1e6
            decision = pace.hit(key, cost)
            assert is_sound_hit(decision)
            if decision:
                exact.charge(key, now_us, cost)
                longer.charge(key, now_us, cost)
                assert exact.counted(key, now_us) <= amount
            elif cost > amount:
                assert decision.retry_after == float("inf")
            else:
                assert longer.counted(key, now_us) + cost > amount
                wait_us = round(decision.retry_after * 1e6)
                assert not pace.peek(key, cost, now=(now_us + wait_us - 1) / 1e6)
                assert pace.peek(key, cost, now=(now_us + wait_us) / 1e6)


@given(amount=st.integers(1, 300), unit=st.sampled_from(list(UNITS)), start_us=STARTS_US, phase=st.integers(0, 10**9))
@settings(max_examples=100)
def test_an_evenly_spaced_sender_at_four_fifths_of_the_limit_is_never_refused(
    amount: int, unit: str, start_us: int, phase: int
) -> None:
    pace = RateLimiter(f"{amount}/{unit}", algorithm="sliding-window", memory="8 KiB", clock=ManualClock(), seed=SEED)
    period_us = UNITS[unit] * SECOND_US
    times = [start_us + phase + number * period_us * 5 // (4 * amount) for number in range(3 * amount + 10)]
    assert [us for us in times if not pace.hit("a", now=us / 1e6)] == []


@given(back_s=st.floats(1.0, 1e9), amount=st.integers(1, 50))
@settings(max_examples=100)
def test_a_step_back_of_the_clock_gives_no_more_than_the_limit_and_locks_nobody_out(back_s: float, amount: int) -> None:
    clock = ManualClock(REAL)
    pace = RateLimiter(f"{amount}/minute", algorithm="sliding-window", memory="8 KiB", clock=clock, seed=SEED)
    assert sum(bool(pace.hit("a")) for _ in range(2 * amount)) == amount
    clock.now -= back_s
    refused = pace.hit("a")
    assert not refused
    assert refused.retry_after <= 64.0  # one pane of 15 more than the window
    clock.advance(refused.retry_after + 0.000002)
    assert pace.hit("a")


def test_a_quota_of_a_policy_holds_in_every_window_and_names_the_user() -> None:
    clock = ManualClock(REAL)
    quota = Limit(name="auth-pace", per="auth.user", rate="500/hour")
    gate = guard(quota, clock=clock)
    exact = ExactWindows(3600 * SECOND_US)
    envelope = Envelope(client_ip="192.0.2.1", auth_user="Joe", mail_from="joe@ex.com")
    refusals = 0
    for second in range(0, 4 * 3600, 5):  # 720 an hour
        clock.now = REAL + second
        decision = gate.check(envelope)
        if decision:
            exact.charge("joe", second * SECOND_US)
        else:
            refusals += 1
            assert (decision.limit, decision.key) == ("auth-pace", "joe")
        assert exact.counted("joe", second * SECOND_US) <= 500
    assert refusals > 0
    table, sketch = gate.tables()
    assert (table.table, table.used, table.slots) == ("auth-pace", 1, table.bytes // 64 * 3)
    assert (sketch.table, sketch.used, sketch.untracked) == ("sketch of auth-pace", 0, 0)
    assert len(exact.events["joe"]) > 4 * 500 * 0.8
