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
from throttle.demo import monitors

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
    "scrape_bytes",
    "scrape_seconds",
    "slowest_scrape_seconds",
    "prometheus_rss_growth_bytes",
    "alert_after_seconds",
    "alert",
    "check_p50_us",
    "check_p99_us",
}


@pytest.fixture(scope="session")  # a worker that steals tests comes back to this module
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("outage")
    command = [sys.executable, "-m", "throttle", "demo", "--json", "--messages", str(FLOOD), "--out", str(out)]
    nothing = tmp_path_factory.mktemp("nothing")
    environment = {**os.environ, "PATH": str(nothing)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Prometheus and Alertmanager not found on the PATH" in done.stderr
    assert "apt install prometheus prometheus-alertmanager" in done.stderr
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


def test_throttle_exports_no_more_series_than_its_policy_says_whatever_the_flood_invents(
    replayed: tuple[dict[str, Any], Path],
) -> None:
    naive, side = replayed[0]["naive"], replayed[0]["throttle"]
    assert len(Policy.builtin().limits) < side["series"] <= Policy.builtin().series_bound()[0] < FLOOD
    assert 10 * side["series"] < side["scrape_bytes"] < naive["scrape_bytes"]


def test_every_side_was_scraped_and_without_prometheus_no_alert_is_claimed(
    replayed: tuple[dict[str, Any], Path],
) -> None:
    for side in replayed[0].values():
        assert 0 < side["scrape_seconds"] <= side["slowest_scrape_seconds"]
        assert side["prometheus_rss_growth_bytes"] is side["alert_after_seconds"] is side["alert"] is None


def test_the_picture_is_a_png(replayed: tuple[dict[str, Any], Path]) -> None:
    (picture,) = replayed[1].iterdir()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def started(out: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A demo whose first server is there, and its senders or what watches it; and all of these processes.

    A shell that runs the tests in the background lets them ignore SIGINT, and a process inherits that; so it is undone.
    """
    command = [sys.executable, "-m", "throttle", "demo", "--out", str(out)]
    (out / "temporary").mkdir()
    wanted = 2 if monitors.missing(monitors.find()) else 5  # two programs, each with a shell that ends it
    demo = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(out / "temporary")},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while len(children) < wanted and time.monotonic() < deadline:
        time.sleep(0.05)
        children = psutil.Process(demo.pid).children(recursive=True)
    assert len(children) >= wanted
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
    assert list((tmp_path / "temporary").iterdir()) == []


def test_no_process_outlives_a_demo_that_is_killed(tmp_path: Path) -> None:
    demo, children = started(tmp_path)
    demo.kill()
    demo.communicate(timeout=30)
    assert psutil.wait_procs(children, timeout=30)[1] == []  # the shells end last
    assert list((tmp_path / "temporary").iterdir()) == []
