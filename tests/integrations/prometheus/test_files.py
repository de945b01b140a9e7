"""The files that `throttle metrics` prints: Prometheus' own tools accept them, and no query has a sender's label."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from pages import ROOT
from throttle import Envelope, ManualClock, Throttle, monitoring
from throttle.cli.app import app
from throttle.monitoring.dashboard import PANELS, queries

HERE = Path(__file__).parent


def run(*command: str | Path, cwd: Path) -> str:
    found = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, file in (("rules", "rules.yml"), ("alertmanager", "alertmanager.yml"), ("scrape-config", "scrape.yml")):
        (tmp_path / file).write_text(monitoring.text(name))
    (tmp_path / "throttle-rules.yml").write_text(monitoring.text("rules"))
    return tmp_path


@pytest.mark.servers
def test_prometheus_takes_the_files_and_each_alert_fires_when_it_must(files: Path) -> None:
    assert "SUCCESS" in run("promtool", "check", "rules", "rules.yml", cwd=files)
    run("promtool", "check", "config", "scrape.yml", cwd=files)
    run("amtool", "check-config", "alertmanager.yml", cwd=files)
    for tests in ("rules_test.yml", "day_test.yml"):
        shutil.copy(HERE / tests, files)
        run("promtool", "test", "rules", tests, cwd=files)


@pytest.mark.servers
def test_the_tests_of_the_rules_can_fail(files: Path) -> None:
    shutil.copy(HERE / "rules_test.yml", files)
    for right, wrong in (
        ("> 300", "> 1000"), ("> 0.05", "> 0.5"), ("== 0\n        for: 1m", "== 1\n        for: 1m"),
        ("keep_firing_for: 30s", "keep_firing_for: 2m"), ("instance, policy, identity", "instance, identity"),
        ("> 0.5\n", "> 0.75\n"), ("topk(3, throttle", "topk(1, throttle"),
    ):  # fmt: skip
        rules = monitoring.text("rules")
        assert right in rules
        (files / "rules.yml").write_text(rules.replace(right, wrong))
        with pytest.raises(AssertionError):
            run("promtool", "test", "rules", "rules_test.yml", cwd=files)


@pytest.mark.servers
def test_an_alert_about_a_hostile_sender_shows_his_provider_and_a_hash(files: Path) -> None:
    clock = ManualClock(1_795_000_000)
    guard = Throttle(clock=clock)
    for number in range(2_000):
        guard.check(
            Envelope(
                client_ip=f"10.0.{number >> 8}.{number & 255}",
                mail_from=f"a@n{number}.com",
                reply_to='"<script>\x1b[31m"@gmail.com',
            )
        )
        clock.advance(0.01)
    shown = [
        sample
        for family in text_string_to_metric_families(guard.render().decode())
        for sample in family.samples
        if sample.labels.get("identity") == "reply_to.mailbox" and sample.value
    ]
    of_target = {"job": "throttle", "instance": "mx1"}
    inputs = [{"series": series(one.name, of_target | one.labels), "values": f"{one.value}x4"} for one in shown]
    (most,) = (f"{one.value:.0f}" for one in shown if one.name == "throttle_fan_out_max")
    (key,) = (one.labels["key"] for one in shown if one.name == "throttle_slot_info")
    assert re.fullmatch("gmail.com#[0-9a-f]{8}", key)
    alert = {
        "exp_labels": {**of_target, "severity": "critical", "identity": "reply_to.mailbox"},
        "exp_annotations": {
            "summary": f"{most} new names in a minute under one reply_to.mailbox: {key}",
            "description": "One sender writes under a new name for each message. The limits on new names hold it.",
            "runbook": "alerts.html#throttlefanoutflood",
        },
    }
    expected = [{"eval_time": "30s", "alertname": "ThrottleFanOutFlood", "exp_alerts": [alert]}]
    tests = [{"interval": "15s", "input_series": inputs, "alert_rule_test": expected}]
    # JSON is YAML, too.
    (files / "hostile_test.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "tests": tests}))
    run("promtool", "test", "rules", "hostile_test.yml", cwd=files)


def series(name: str, labels: dict[str, str]) -> str:
    return name + "{" + ",".join(f"{label}={json.dumps(value)}" for label, value in labels.items()) + "}"


def test_every_alert_has_a_test_and_a_runbook() -> None:
    alerts = re.findall(r"alert: (\w+)", monitoring.text("rules"))
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    tested = (HERE / "rules_test.yml").read_text(encoding="utf-8")
    assert len(alerts) == len(set(alerts)) >= 8
    for alert in alerts:
        assert f"\n## {alert}\n" in page
        assert f"alerts.html#{alert.lower()}\n" in monitoring.text("rules")
        assert f"alertname: {alert}\n        exp_alerts:\n          - " in tested


def test_no_label_of_an_alert_and_no_variable_is_a_senders() -> None:
    rules = monitoring.text("rules")
    for expression in re.findall(r"expr: (?:>-\n((?:          .*\n)+)|(.*)\n)", rules):
        assert "key" not in "".join(expression)
    dashboard = json.loads(monitoring.text("dashboard"))
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "job", "instance"]
    assert len(dashboard["panels"]) == len(PANELS)
    assert all("$" not in query for _, query in queries())
    with_names = [query for _, query in queries() if "throttle_slot_info" in query]
    assert len(with_names) == 1
    assert with_names[0].startswith("topk(20, ")


@pytest.mark.parametrize("name", [*monitoring.FILES, "dashboard"])
def test_each_file_is_printed(name: str) -> None:
    result = CliRunner().invoke(app, ["metrics", name])
    assert (result.exit_code, result.stdout) == (0, monitoring.text(name))
