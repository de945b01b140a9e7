"""What watches a side of the demo: a real Prometheus and Alertmanager where they are installed."""

from __future__ import annotations

import io
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest
from rich.console import Console

from throttle import Policy
from throttle.demo import monitors, report
from throttle.demo.cast import FLOODED
from throttle.demo.child import ChildFailedError
from throttle.demo.measure import ALERT_SECONDS, Outcome, Sample, flood
from throttle.demo.monitors import Alert
from throttle.demo.plan import Plan
from throttle.demo.scraper import Scrape

if TYPE_CHECKING:
    from pathlib import Path

    from throttle.demo.sides import SideName

PLAN = Plan(flood=1_200)


def program(path: Path, says: str) -> str:
    path.write_text(f"#!/bin/sh\necho {says}\nexit 1\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(monitors.missing(monitors.find()) is not None, reason="needs Prometheus and Alertmanager")
def test_a_real_alertmanager_tells_the_name_and_prometheus_grows_only_by_the_naive_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    told: list[str] = []
    found, before = monitors.find(), psutil.Process().children(recursive=True)

    def replayed(side: SideName) -> Outcome:
        return flood(side, PLAN, found, lambda _, waits_for: told.append(waits_for))

    with ThreadPoolExecutor() as sides:
        naive, throttle = sides.map(replayed, ("naive", "throttle"))

    assert throttle.alert is not None
    assert 5 < throttle.alert.seconds < ALERT_SECONDS  # group_wait is five seconds
    assert throttle.alert.summary.endswith(f" new names in a minute under one sender.registered: {FLOODED}")
    assert naive.alert is None
    assert {"waiting for Prometheus", "waiting for the alert"} <= set(told)

    first, last = throttle.scrapes[0], throttle.scrapes[-1]
    assert first.series <= last.series <= Policy.builtin().series_bound()[0]
    assert last.series - first.series < 10  # names of offenders
    assert naive.scrapes[-1].series - naive.scrapes[0].series > PLAN.flood
    growth = [outcome.prometheus_rss_growth_bytes for outcome in (naive, throttle)]
    assert None not in growth

    assert psutil.Process().children(recursive=True) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reads_after", ["", "wait $!\n"], ids=["a zombie", "waited for"])
def test_a_program_that_ends_at_once_is_reported_with_what_it_said_and_leaves_nothing(
    reads_after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitors, "_KEEPER", monitors._KEEPER.replace("read -r _", f"{reads_after}read -r _"))
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    found = {"Prometheus": program(tmp_path / "one", "no"), "Alertmanager": program(tmp_path / "other", "no cluster")}
    before = psutil.Process().children(recursive=True)
    with (
        pytest.raises(ChildFailedError, match="Alertmanager ended; --no-prometheus does without; it said: no cluster"),
        monitors.watching(found, "naive", "127.0.0.1:9", 1) as watch,
    ):
        watch.wait_until_ready()
    assert psutil.Process().children(recursive=True) == before
    assert list(temporary.iterdir()) == []


def test_programs_are_found_under_the_names_of_debian_and_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    one = program(tmp_path / "prometheus", "")
    assert (monitors.missing(monitors.find()) or "").startswith("Alertmanager not found on the PATH")
    other = program(tmp_path / "alertmanager", "")
    assert monitors.find() == {"Prometheus": one, "Alertmanager": other}
    assert monitors.missing(monitors.find()) is None
    debian = program(tmp_path / "prometheus-alertmanager", "")
    assert monitors.find()["Alertmanager"] == debian


def test_a_port_of_the_webhook_is_free_after_its_block() -> None:
    with monitors.Webhook() as webhook:
        host, _, port = webhook.address.partition(":")
        socket.create_connection((host, int(port))).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_an_alert_with_escapes_is_harmless_in_the_table_and_whole_in_json() -> None:
    summary = "9 new names under \x1b[31m[bold]<script>"
    outcome = Outcome(
        side="throttle",
        sent=dict.fromkeys(("flood", "innocent", "tenant"), 1),
        delivered=dict.fromkeys(("flood", "innocent", "tenant"), 1),
        refused=dict.fromkeys(("flood", "innocent", "tenant"), 0),
        first_refusal_after=None,
        reserved_bytes=None,
        check_p50_us=None,
        check_p99_us=None,
        samples=[Sample(0.0, 0, 0, 0, 5), Sample(1.0, 3, 1, 0, 12), Sample(2.0, 3, 1, 0, 9)],
        scrapes=[Scrape(0.0, 1, 10, 0.5), Scrape(2.0, 2, 20, 0.25)],
        watched_by="Prometheus 2.42.0",
        alert=Alert(6.25, summary),
    )
    shown = io.StringIO()
    Console(file=shown, width=200).print(report.as_table([outcome], 5))
    text = " ".join(shown.getvalue().split())
    assert "9 new names under \\x1b[31m[bold]<script>" in text
    assert "Prometheus 2.42.0 scraped each server every 5 s." in text
    row = report.as_json([outcome])["throttle"]
    assert (row["alert"], row["alert_after_seconds"]) == (summary, 6.25)
    assert (row["prometheus_rss_growth_bytes"], row["slowest_scrape_seconds"], row["series"]) == (7, 0.5, 2)
