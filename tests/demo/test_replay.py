"""The outage in small, on real servers and real connections, from the command as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from throttle import Policy

if TYPE_CHECKING:
    from pathlib import Path

FLOOD = 1_200
FIELDS = {
    "flood_sent",
    "flood_admitted",
    "innocents_sent",
    "innocents_refused",
    "tenants_sent",
    "tenants_refused",
    "first_refusal_after",
    "rss_growth_bytes",
    "invented_orgs_rss_growth_bytes",
    "series",
    "scrape_seconds",
    "check_p50_us",
    "check_p99_us",
}


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("outage")
    command = [sys.executable, "-m", "throttle", "demo", "--json", "--messages", str(FLOOD), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), out


def test_stdout_is_one_json_object_with_the_same_fields_for_every_side(replayed: tuple[dict[str, Any], Path]) -> None:
    table, _ = replayed
    assert list(table) == ["naive", "careful", "throttle"]
    assert all(set(side) == FIELDS for side in table.values())


def test_every_side_was_sent_the_same_mail(replayed: tuple[dict[str, Any], Path]) -> None:
    table, _ = replayed
    for side in table.values():
        assert (side["flood_sent"], side["innocents_sent"], side["tenants_sent"]) == (FLOOD, 144, 36)


def test_naive_admits_the_whole_flood(replayed: tuple[dict[str, Any], Path]) -> None:
    naive = replayed[0]["naive"]
    assert naive["flood_admitted"] == FLOOD
    assert naive["first_refusal_after"] is None
    assert naive["invented_orgs_rss_growth_bytes"] is None
    assert naive["series"] > FLOOD


def test_careful_stops_the_flood_and_the_tenants_with_it(replayed: tuple[dict[str, Any], Path]) -> None:
    careful = replayed[0]["careful"]
    assert careful["flood_admitted"] <= 600
    assert careful["tenants_refused"] > 0


def test_throttle_admits_the_allowance_of_one_name_and_refuses_nobody_else(
    replayed: tuple[dict[str, Any], Path],
) -> None:
    side = replayed[0]["throttle"]
    assert 200 <= side["flood_admitted"] <= 220  # 200 at once, then 20 a minute
    assert 195 <= side["first_refusal_after"] <= 250
    assert side["innocents_refused"] == 0
    assert side["tenants_refused"] == 0
    names = [limit.name for limit in Policy.builtin().limits] + ["max-open", "max-recipients", "out-of-order"]
    assert side["series"] == 2 * (1 + len(names)) + 1  # a count of each outcome and its start; bytes of all counters


def test_the_picture_is_a_png(replayed: tuple[dict[str, Any], Path]) -> None:
    (picture,) = replayed[1].iterdir()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def started(out: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A demo whose first server and its senders are there, and these two processes.

    A shell that runs the tests in the background lets them ignore SIGINT, and a process inherits that; so it is undone.
    """
    command = [sys.executable, "-m", "throttle", "demo", "--out", str(out)]
    demo = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while len(children) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
        children = psutil.Process(demo.pid).children()
    assert len(children) == 2
    return demo, children


def test_ctrl_c_ends_every_process_of_the_demo(tmp_path: Path) -> None:
    demo, children = started(tmp_path)
    try:
        os.killpg(demo.pid, signal.SIGINT)
        out, err = demo.communicate(timeout=30)
    finally:
        demo.kill()
    assert demo.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "throttle: interrupted"
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_no_process_outlives_a_demo_that_is_killed(tmp_path: Path) -> None:
    demo, children = started(tmp_path)
    demo.kill()
    demo.communicate(timeout=30)
    assert psutil.wait_procs(children, timeout=30)[1] == []
