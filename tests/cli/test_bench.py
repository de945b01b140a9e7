"""`throttle bench`: what it prints, and what it says of a peer that is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import throttle
from throttle.bench.machine import describe
from throttle.bench.plan import builtin_policies

if TYPE_CHECKING:
    from pathlib import Path

# stands in front of the package search, as in test_command.py
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from throttle.cli import main
main()
"""


def bench(*arguments: str, without: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT.format(packages=without), "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """One short run, with only one of the peers."""
    done = bench("--json", "--seconds", "0.1", without=("pyrate_limiter", "throttled"))
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


def test_the_json_names_the_machine(told: dict[str, Any]) -> None:
    assert told["machine"]["throttle"] == throttle.__version__
    assert told["machine"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert told["machine"]["cores"] >= 1
    assert all(told["machine"].values())


def test_every_builtin_policy_is_checked_and_nearly_all_is_admitted(told: dict[str, Any]) -> None:
    checks = told["groups"][0]
    ours = {row["name"]: row["admitted"] for row in checks["rows"] if row["name"].startswith("throttle, ")}
    assert list(ours) == [f"throttle, {name}" for name in builtin_policies()]
    assert all(share >= 0.95 for share in ours.values())


def test_ratios_are_over_the_first_row_and_every_group_has_several_rounds(told: dict[str, Any]) -> None:
    for group in told["groups"]:
        assert group["rounds"] >= 3
        first = group["rows"][0]["nanoseconds"]
        assert first > 0
        assert [row["ratio"] for row in group["rows"]] == [row["nanoseconds"] / first for row in group["rows"]]


def test_a_refused_key_is_refused_by_all(told: dict[str, Any]) -> None:
    (refused,) = (group for group in told["groups"] if "refused" in group["title"])
    assert {row["admitted"] for row in refused["rows"]} == {0.0}


def test_peers_that_are_missing_are_listed_and_the_others_are_timed(told: dict[str, Any]) -> None:
    assert told["missing"] == ["pyrate-limiter", "throttled-py"]
    names = [row["name"] for group in told["groups"] for row in group["rows"]]
    assert "limits, moving window" in names
    assert "datasketches, count_min_sketch.update" in names
    assert not any(name.startswith(("pyrate", "throttled")) for name in names)


def test_the_table_names_the_machine_and_how_to_get_the_peers() -> None:
    absent = ("limits", "pyrate_limiter", "throttled", "datasketches")
    done = bench("--seconds", "0.1", without=absent)
    assert done.returncode == 0, done.stderr
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in done.stdout.splitlines()[0]
    assert "throttle, inbound" in done.stdout
    assert "cheaper than the first: none" in done.stdout
    assert "limits, pyrate-limiter, throttled-py, datasketches; pip install 'mailthrottle[bench]'" in done.stderr


@pytest.mark.parametrize("seconds", ["0", "-1", "soon"])
def test_seconds_that_are_none_are_named_and_end_with_2(seconds: str) -> None:
    done = bench("--seconds", seconds)
    assert done.returncode == 2
    assert "--seconds" in done.stderr
    assert done.stdout == ""


def test_a_wheel_knows_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "__file__", str(tmp_path / "site-packages" / "throttle" / "__init__.py"))
    assert describe().commit == "unknown"
