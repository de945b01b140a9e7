"""`ManualClock`: stands still until it is told otherwise."""

from __future__ import annotations

import math

import pytest

from given_guards import REAL
from throttle import ManualClock


def test_it_stands_still() -> None:
    clock = ManualClock(REAL)
    assert [clock(), clock(), clock.now] == [REAL] * 3
    assert ManualClock().now == 0.0
    assert repr(ManualClock(1.5)) == "ManualClock(1.5)"


def test_it_moves_and_is_set_also_back() -> None:
    clock = ManualClock(10.0)
    clock.advance(2.5)
    assert clock.now == 12.5
    clock.advance(-20)
    assert clock.now == -7.5
    clock.now = 3
    assert clock() == 3.0


def test_it_keeps_microseconds_and_nothing_below() -> None:
    clock = ManualClock(REAL)
    for _ in range(1000):
        clock.advance(0.000001)
    assert clock.now == REAL + 0.001
    clock.advance(0.0000004)
    assert clock.now == REAL + 0.001


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, 1.8e12])
def test_what_is_no_time_is_refused_and_changes_nothing(seconds: float) -> None:
    clock = ManualClock(REAL)
    for move in (lambda: ManualClock(seconds), lambda: clock.advance(seconds), lambda: setattr(clock, "now", seconds)):
        with pytest.raises(ValueError, match=r"(now|seconds): found .*; allowed: finite Unix seconds"):
            move()
    assert clock.now == REAL


def test_text_is_no_time() -> None:
    with pytest.raises(TypeError):
        ManualClock("now")  # type: ignore[arg-type]


def test_no_number_of_steps_leaves_what_is_a_time() -> None:
    clock = ManualClock(9e10)
    with pytest.raises(ValueError, match="seconds: found"):
        clock.advance(9e10)
    assert clock.now == 9e10
