"""`RateLimiter`: one table for any key."""

from __future__ import annotations

import math
import pickle
from typing import Any, Literal

import pytest

from given_guards import REAL, SEED
from throttle import HitResult, ManualClock, RateLimiter, ThrottleError

WITHOUT_ROOM = "8 KiB"  # the header and one page: 448 slots


def limiter(rate: str = "3/minute", **options: Any) -> RateLimiter:
    given: dict[str, Any] = {"clock": ManualClock(REAL), "seed": SEED} | options
    return RateLimiter(rate, **given)


def admitted(pace: RateLimiter, key: str | bytes, times: int = 100) -> int:
    return sum(bool(pace.hit(key)) for _ in range(times))


def test_a_key_gets_the_burst_at_once_and_then_the_rate() -> None:
    clock = ManualClock(REAL)
    pace = limiter(clock=clock)
    assert admitted(pace, "a") == 3
    clock.advance(20.0)
    assert admitted(pace, "a") == 1
    clock.advance(600.0)
    assert admitted(pace, "a") == 3


def test_a_burst_of_its_own_changes_what_comes_at_once_and_not_the_rate() -> None:
    clock = ManualClock(REAL)
    pace = limiter(clock=clock, burst=10)
    assert admitted(pace, "a") == 10
    clock.advance(60.0)
    assert admitted(pace, "a") == 3


def test_keys_are_apart_and_a_str_is_its_bytes() -> None:
    pace = limiter("1/minute")
    assert pace.hit("ä")
    assert pace.hit("b")
    assert not pace.hit("ä".encode())
    assert not pace.hit(b"b")


def test_a_cost_is_charged_in_one_step_or_not_at_all() -> None:
    pace = limiter("5/minute")
    assert pace.hit("a", 3)
    refused = pace.hit("a", cost=3)
    assert not refused
    assert refused.retry_after == 12.0
    assert pace.hit("a", 2)
    assert pace.hit("a", 0)
    assert not pace.hit("a")


@pytest.mark.parametrize("cost", [6, 2**63, 2**64, 2**200])
def test_a_cost_over_the_burst_can_never_pass(cost: int) -> None:
    assert limiter("5/minute").hit("a", cost).retry_after == math.inf


def test_peek_says_what_a_hit_would_and_charges_nothing() -> None:
    pace = limiter("1/minute")
    for _ in range(3):
        assert pace.peek("a")
    assert pace.hit("a")
    assert pace.peek("a") == pace.peek("a") == pace.hit("a")
    assert pace.peek("a", 2).retry_after == math.inf


def test_a_result_has_the_key_and_nothing_of_smtp() -> None:
    pace = limiter("1/minute")
    assert (pace.hit("joe").allowed, pace.hit("joe").key, pace.hit("joe").retry_after) == (True, "joe", 60.0)
    assert pace.hit(b"joe").key == b"joe"
    assert not any(hasattr(HitResult, name) for name in ("reply", "code", "limit", "identity", "identities", "shadow"))


def test_a_refund_returns_the_cost_once() -> None:
    pace = limiter("5/minute")
    first, second = pace.hit("joe", 3), pace.hit("joe", 2)
    refused = pace.hit("joe")
    assert (first.allowed, second.allowed, refused.allowed) == (True, True, False)
    assert (refused.refund(), pace.peek("joe").refund()) == (False, False), "neither has charged anything"
    assert (first.refund(), first.refund()) == (True, False)
    assert pace.peek("joe", 3)
    assert not pace.peek("joe", 4)


@pytest.mark.parametrize("algorithm", ["gcra", "sliding-window"])
def test_a_refund_returns_no_more_than_still_counts(algorithm: Any) -> None:
    clock = ManualClock(REAL)
    pace = limiter("5/minute", algorithm=algorithm, clock=clock)
    result = pace.hit("joe", 5)
    clock.advance(600)
    assert pace.hit("joe", 5)
    assert not result.refund(), "it has drained"
    assert not pace.peek("joe")


def test_a_hit_at_a_stated_time_is_refunded_at_the_latest_time() -> None:
    pace = limiter("1/minute")
    result = pace.hit("joe", now=REAL)
    assert result.refund()
    assert pace.hit("joe", now=REAL)


def test_a_pickled_result_is_equal_and_has_nothing_to_refund() -> None:
    pace = limiter("1/minute")
    for result in (pace.hit("joe"), pace.hit("joe"), pace.hit("joe", 2)):
        again = pickle.loads(pickle.dumps(result))
        assert (again, hash(again), repr(again)) == (result, hash(result), repr(result))
        with pytest.raises(ThrottleError, match="pickled"):
            again.refund()
    assert pace.hit("jim") != pace.peek("jim")
    assert pace.hit("jim") != "jim"


def test_a_stated_time_comes_before_the_clock() -> None:
    pace = limiter("1/minute")
    assert pace.hit("a", now=REAL)
    assert not pace.hit("a", now=REAL + 59.999999)
    assert pace.hit("a", now=REAL + 60.0)
    assert not pace.peek("a", now=0.0)


def test_memory_is_what_was_asked_for_and_at_most_that() -> None:
    assert RateLimiter("1/minute").memory_bytes == 1 << 20
    assert limiter(memory="64 KiB").memory_bytes == 65_536
    assert limiter(memory=10_000).memory_bytes == 8_192


def fill(pace: RateLimiter, keys: int = 5000) -> int:
    return sum(bool(pace.hit(f"key {number}")) for number in range(keys))


def test_a_full_table_admits_uncounted_and_says_how_many() -> None:
    pace = limiter(memory=WITHOUT_ROOM)
    assert (pace.load, pace.untracked) == (0.0, 0)
    assert fill(pace) == 5000
    tracked = round(pace.load * 448)
    assert pace.untracked == 5000 - tracked
    assert 0.95 < pace.load <= 1.0


def test_a_full_table_refuses_when_it_is_told_so_and_says_when_there_is_room() -> None:
    clock = ManualClock(REAL)
    pace = limiter(memory=WITHOUT_ROOM, when_full="refuse", clock=clock)
    assert fill(pace) == round(pace.load * 448)
    assert pace.untracked == 0
    refused = next(decision for number in range(5000) if not (decision := pace.peek(f"other {number}")))
    clock.advance(refused.retry_after - 0.000001)
    assert not pace.peek(str(refused.key))
    clock.advance(0.000001)
    assert pace.hit(str(refused.key))


@pytest.mark.parametrize("algorithm", ["gcra", "sliding-window"])
def test_keys_beside_a_full_table_are_counted_in_the_sketch_and_none_gets_more(
    algorithm: Literal["gcra", "sliding-window"],
) -> None:
    pace = limiter("5/minute", memory="12 KiB", when_full="sketch", algorithm=algorithm)
    sent = [sum(bool(pace.hit(f"key {number}")) for _ in range(9)) for number in range(5000)]
    assert max(sent) == 5
    assert sum(sent) > 5 * 448
    assert (pace.untracked, pace.memory_bytes) == (0, 12_288)
    assert 0.9 < pace.load <= 1.0


@pytest.mark.parametrize("algorithm", ["gcra", "sliding-window"])
def test_a_key_without_a_slot_is_told_when_its_estimate_has_room(algorithm: Literal["gcra", "sliding-window"]) -> None:
    clock = ManualClock(REAL)
    pace = limiter("5/minute", memory="12 KiB", when_full="sketch", algorithm=algorithm, clock=clock)
    for number in range(5000):
        pace.hit(f"key {number}", cost=3)
    refused = next(decision for number in range(5000) if not (decision := pace.peek(f"other {number}", 5)))
    clock.advance(refused.retry_after - 0.000001)
    assert not pace.peek(str(refused.key), 5)
    clock.advance(0.000001)
    assert pace.hit(str(refused.key), 5)


def test_a_key_that_has_drained_leaves_its_room() -> None:
    clock = ManualClock(REAL)
    pace = limiter("1/minute", clock=clock)
    fill(pace, 100)
    assert pace.load * 114_240 == pytest.approx(100)
    clock.advance(60.0)
    assert pace.peek("key 1")
    pace.hit("other")  # moves the table's time
    assert pace.load * 114_240 == pytest.approx(1)


def test_a_sliding_window_lets_its_amount_through_at_once_and_no_more_before_the_window_has_passed() -> None:
    clock = ManualClock(0.0)
    pace = limiter("100/minute", clock=clock, algorithm="sliding-window")  # a window of 12 panes of 5 s
    clock.now = 4.0
    assert admitted(pace, "a", 200) == 100
    refused = pace.hit("a")
    assert refused.retry_after == 61.0  # when the pane that ends at 5 s has left the window
    assert pace.hit("a", 101).retry_after == math.inf
    clock.advance(60.999999)
    assert not pace.hit("a")
    clock.advance(0.000001)
    assert admitted(pace, "a", 200) == 100


def test_a_full_table_of_windows_holds_three_keys_a_line_and_never_forgets_one() -> None:
    pace = limiter("1/minute", memory=WITHOUT_ROOM, algorithm="sliding-window", when_full="refuse")
    tracked = [number for number in range(5000) if pace.hit(f"key {number}")]
    assert len(tracked) == round(pace.load * 64 * 3)
    assert 0.95 < pace.load <= 1.0
    assert not any(pace.hit(f"key {number}") for number in tracked)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rate": "often"}, ValueError, r'rate: found "often"; allowed: a whole number, a slash and a period'),
        ({"rate": "0/minute"}, ValueError, r'rate: found "0/minute"; allowed: an amount from 1'),
        ({"rate": "6 per minute"}, ValueError, r'did you mean "6/minute"\?'),
        (
            {"rate": "9000000/second", "burst": 1},
            ValueError,
            r'rate: found "9000000/second" with a burst of 1; allowed: at most eight million',
        ),
        ({"rate": 3}, TypeError, "rate: found int; allowed: str"),
        ({"burst": 0}, ValueError, "burst: found 0; allowed: an integer of at least 1"),
        ({"burst": -1}, ValueError, "burst: found -1; allowed: an integer of at least 1"),
        ({"burst": 2**70}, ValueError, "with a burst of"),
        ({"burst": "3"}, TypeError, "burst: found str; allowed: int"),
        ({"memory": 4096}, ValueError, r"memory: found 4096 bytes \(4 KiB\); allowed: at least 8192 bytes \(8 KiB\)"),
        ({"memory": "1 kb"}, ValueError, r'memory: found "1 kb"'),
        ({"algorithm": "leaky"}, ValueError, r'algorithm: found "leaky"; allowed: "gcra" or "sliding-window"'),
        (
            {"algorithm": "sliding-window", "burst": 3},
            ValueError,
            r'burst: found 3; allowed: none with algorithm "sliding-window"',
        ),
        ({"when_full": "drop"}, ValueError, r'when_full: found "drop"; allowed: "admit", "sketch" or "refuse"'),
        (
            {"when_full": "sketch", "memory": 8192},
            ValueError,
            r"memory: found 8192 bytes \(8 KiB\); allowed: at least 12288 bytes \(12 KiB\)",
        ),
        ({"seed": b"short"}, ValueError, "seed: found 5 bytes; allowed: bytes of length 16"),
        ({"clock": 5.0}, TypeError, "clock: found float; allowed: a callable"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        limiter(**options)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"key": 3}, TypeError, "key: found int; allowed: str or bytes"),
        ({"key": "a", "cost": -1}, ValueError, "cost: found -1; allowed: an integer of at least 0"),
        ({"key": "a", "cost": 1.5}, TypeError, "cost: found float; allowed: int"),
        ({"key": "a", "now": math.nan}, ValueError, "now: found NaN; allowed: finite Unix seconds"),
    ],
)
def test_a_wrong_hit_charges_nothing(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    pace = limiter("1/minute")
    for ask in (pace.hit, pace.peek):
        with pytest.raises(error, match=message):
            ask(**arguments)
    assert pace.hit("a")


def test_it_does_not_pickle_and_prints() -> None:
    with pytest.raises(TypeError, match="a RateLimiter does not pickle"):
        pickle.dumps(limiter())
    assert repr(limiter(memory="8 KiB")) == 'RateLimiter("3/minute", burst=3, memory_bytes=8192)'
    windows = limiter(memory="8 KiB", algorithm="sliding-window")
    assert repr(windows) == 'RateLimiter("3/minute", algorithm="sliding-window", memory_bytes=8192)'
