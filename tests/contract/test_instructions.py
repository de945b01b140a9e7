"""What `make instructions` says of a growth, by the recorded lines, and of the bounds of the built-in policy; it counts
nothing here.
"""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from throttle import Policy

SCRIPT = Path(__file__).parents[2] / "benches" / "instructions.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("instructions", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["instructions"] = module  # where its dataclasses look for their module
    spec.loader.exec_module(module)
    return module


def line(script: ModuleType, **counts: float) -> Any:
    return script.Line("2026-11-24", "1.0", "abc", "rustc 1.95.0", "x86_64", counts)


def test_five_per_cent_more_passes_and_more_than_that_does_not(script: ModuleType) -> None:
    recorded = line(script, check=10_000.0, hit=1_000.0)
    assert script.compare(line(script, check=10_500.0, hit=900.0), recorded) == []
    assert script.compare(line(script, check=10_501.0, hit=900.0), recorded) == ["check: +5.01%, at most +5%"]


def test_a_path_on_one_side_only_is_told(script: ModuleType) -> None:
    wrong = script.compare(line(script, check=1.0, new=1.0), line(script, check=1.0, old=1.0))
    assert wrong == ["old: no longer counted", "new: not in the recorded line"]


def test_only_lines_of_one_compiler_and_machine_are_alike(script: ModuleType) -> None:
    one = line(script, check=1.0)
    assert one.is_like(replace(one, date="2027-01-01", counts={}))
    assert not one.is_like(replace(one, rustc="rustc 1.96.0"))
    assert not one.is_like(replace(one, machine="aarch64"))
    assert not one.is_like(replace(one, policy="inbound"))


def test_a_check_under_the_built_in_policy_has_a_ratio_and_a_price_for_each_added_limit(script: ModuleType) -> None:
    first = line(script, check=5_000.0)
    assert script.exceeded(line(script, check=8_000.0), first, 12) == []
    assert script.exceeded(line(script, check=8_001.0), first, 8) == [
        "check: 1.60 × inbound-1, at most 1.6 ×",
        "check: 375 instructions for each added limit, at most 350",
    ]


def test_the_limits_of_both_policies_are_counted(script: ModuleType) -> None:
    assert script.limits_of(script.FIRST) == 12
    assert script.limits_of(script.BUILT_IN) == len(Policy.builtin().limits)


def test_the_recorded_lines_are_lines(script: ModuleType) -> None:
    recorded = script.recorded()
    assert recorded
    assert all(count > 0 for one in recorded for count in one.counts.values())
    assert {one.policy for one in recorded} == set(script.POLICIES)
