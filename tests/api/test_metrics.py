"""Metrics: the snapshot and the text, whose series are bounded before start."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as prometheus_families

from given_guards import REAL, guard, limit
from throttle import Envelope, ManualClock, Policy, Throttle, types
from throttle._core import MetricsExporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

MOST_BYTES = 100_000
MOST_SECONDS = 0.005


def message(sender: str = "a@b.com", **fields: object) -> Envelope:
    return Envelope(client_ip="192.0.2.1", mail_from=sender, **fields)  # type: ignore[arg-type]


def openmetrics(text: str) -> list[Metric]:
    return list(openmetrics_families(text))  # type: ignore[no-untyped-call]


def prometheus(text: str) -> list[Metric]:
    return list(prometheus_families(text))


def series(text: bytes) -> set[str]:
    """The names and labels of all samples."""
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    names = {line.rpartition(" ")[0] for line in lines}
    assert len(names) == len(lines), "a series twice"
    return names


def total(metrics: types.Metrics, decision: str) -> int:
    return sum(counts[decision] for counts in metrics.checks.values())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["check", "peek", "admit", "explain", "report"]))))
def test_counts_are_those_of_the_decisions(steps: list[tuple[str, str]]) -> None:
    pace = guard(limit("org", "sender.org", "2/day"), limit("all", "global", "5/day", mode="shadow"))
    checks = dict.fromkeys(("admitted", "refused", "shadow"), 0)
    refusals = {"org": 0, "all": 0}
    reports = 0
    for org, step in steps:
        envelope = message(f"x@{org}.com")
        if step in {"peek", "explain"}:
            getattr(pace, step)(envelope)
            continue
        if step == "report":
            pace.report(envelope, "spam")
            reports += 1
            continue
        decision = pace.check(envelope) if step == "check" else pace.admit(envelope).decision
        kind = "shadow" if decision and decision.shadow else "admitted" if decision else "refused"
        checks[kind] += 1
        refusals["org"] += decision.limit == "org"
        refusals["all"] += "all" in decision.shadow
    metrics = pace.metrics()
    assert {decision: total(metrics, decision) for decision in checks} == checks
    assert metrics.checks["mail"] == checks, "MAIL is the last stage of these envelopes"
    assert metrics.refusals["org"] == {"enforced": refusals["org"], "shadow": 0}
    assert metrics.refusals["all"] == {"enforced": 0, "shadow": refusals["all"]}
    assert metrics.reports == {"unknown-recipient": 0, "auth-failure": 0, "spam": reports, "virus": 0}


def test_each_step_of_a_session_counts_once_and_one_out_of_order_is_no_check() -> None:
    pace = guard(limit("org", "sender.org", "2/day"))
    with pace.session(client_ip="192.0.2.1") as session:
        assert not session.data()
        assert session.connect()
        assert session.helo("mx.b.com")
        assert session.mail("a@b.com")
        assert session.rcpt("c@d.com")
        assert session.data()
    metrics = pace.metrics()
    assert {stage: sum(counts.values()) for stage, counts in metrics.checks.items()} == dict.fromkeys(metrics.checks, 1)
    assert metrics.refusals["out-of-order"] == {"enforced": 1, "shadow": 0}


def test_one_check_in_64_has_its_duration_counted() -> None:
    pace = guard(limit("org", "sender.org", "2/day"))
    for _ in range(640):
        pace.check(message())
        pace.peek(message())
    latency = pace.metrics().latency
    assert latency.samples == 10
    assert list(latency.buckets.values())[-1] == 10
    assert 0 < latency.sum_seconds < 10


def test_a_reload_keeps_the_counts_of_limits_that_stay() -> None:
    pace = guard(limit("org", "sender.org", "1/day"), limit("net", "client.net", "1000/day"))
    for _ in range(4):
        pace.check(message())
    pace.reload(Policy([limit("new", "helo.host", "9/day"), limit("org", "sender.org", "2/day")]))
    metrics = pace.metrics()
    assert metrics.refusals["org"] == {"enforced": 3, "shadow": 0}
    assert metrics.refusals["new"] == {"enforced": 0, "shadow": 0}
    assert "net" not in metrics.refusals
    assert total(metrics, "refused") == 3


def both(pace: Throttle) -> Iterator[bytes]:
    yield pace.render()
    yield pace.render(openmetrics=True)


def test_the_text_has_all_series_from_the_start_within_the_bound_of_the_policy() -> None:
    pace = Throttle(clock=ManualClock(REAL))
    now, a_day = pace.policy.series_bound()
    start = [series(text) for text in both(pace)]
    assert start[0] == start[1]
    for number in range(3000):
        pace.check(message(f"joe@n{number}.com", helo=f"n{number}.com", rcpt_to="a@b.com"))
        if number % 300 == 0:
            assert series(pace.render()) >= start[0]
    assert len(start[0]) <= len(series(pace.render())) <= now < a_day


def test_a_million_unique_senders_add_no_series_and_the_text_stays_short_and_quick() -> None:
    clock = ManualClock(REAL)
    pace = Throttle(clock=clock)
    before = series(pace.render())
    for number in range(1_000_000):
        pace.check(Envelope(client_ip=f"10.{number >> 16}.{number >> 8 & 255}.9", mail_from=f"a@n{number}.com"))
        clock.advance(0.01)
    clock.advance(3600)
    for number in range(20_000):  # offenders, each with a name in a slot
        pace.check(
            Envelope(client_ip=f"10.{number >> 8}.{number & 255}.9", mail_from=f"a@h{number}.org{number % 20}.com")
        )
        clock.advance(0.001)
    for openmetrics in (False, True):
        texts, seconds = zip(*(timed_render(pace, openmetrics) for _ in range(20)), strict=True)
        names = {name for name in series(texts[-1]) if "slot_info" in name}
        assert series(texts[-1]) - names == before
        assert 16 <= len(names) <= 16 * 8
        assert len(texts[-1]) <= MOST_BYTES
        assert statistics.median(seconds) <= MOST_SECONDS


def timed_render(pace: Throttle, openmetrics: bool) -> tuple[bytes, float]:
    began = time.perf_counter()
    text = pace.render(openmetrics=openmetrics)
    return text, time.perf_counter() - began


def test_both_texts_are_read_by_the_parsers_of_prometheus_client() -> None:
    pace = Throttle()
    for _ in range(100):
        pace.check(message())
    (old, new) = both(pace)
    assert new.endswith(b"# EOF\n")
    read = {
        sample.name: sample.value
        for family in openmetrics(new.decode())
        for sample in family.samples
        if sample.labels == {"stage": "mail", "decision": "admitted"}
    }
    assert read == {"throttle_checks_total": 100}
    names = {family.name for family in prometheus(old.decode())}
    assert names == {family.name for family in openmetrics(new.decode())}
    assert all(family.documentation for family in openmetrics(new.decode()))


def test_the_collector_shows_the_same_beside_other_metrics() -> None:
    pace = guard(limit("org", "sender.org", "1/day"))
    registry = CollectorRegistry()
    registry.register(pace.collector(slots=2))
    pace.check(message())
    assert registry.get_sample_value("throttle_checks_total", {"stage": "mail", "decision": "admitted"}) == 1
    assert b'throttle_slot_messages{identity="sender.org",slot="1"} 0.0' in generate_latest(registry)
    assert registry.get_sample_value("throttle_slot_messages", {"identity": "sender.org", "slot": "2"}) is None
    with pytest.raises(ValueError, match="slots: found 65; allowed: a whole number from 1 to 64"):
        pace.collector(slots=65)


def test_several_guards_have_a_label_and_each_family_once() -> None:
    guards = {name: guard(limit("org", "sender.org", "1/day")) for name in ("in", "out")}
    guards["in"].check(message())
    exporter = MetricsExporter(guards)
    extra = [("throttle_requests", "counter", "Requests.", [({"b": "<2>", "a": '"1"'}, 3.0)])]
    text = exporter.render(True, extra=extra).decode()
    values = {
        (s.name, s.labels.get("policy"), s.labels.get("decision")): s.value
        for family in openmetrics(text)
        for s in family.samples
        if s.labels.get("stage") == "mail"
    }
    assert values["throttle_checks_total", "in", "admitted"] == 1
    assert values["throttle_checks_total", "out", "admitted"] == 0
    assert 'throttle_requests_total{a="\\"1\\"",b="<2>"} 3\n' in text
    with pytest.raises(ValueError, match="kind: found summary"):
        exporter.render(extra=[("x", "summary", "", [])])


HOSTILE = ["<script>", "\x1b[31m", 'a"b', "a\\b", "a\nb", "\u202e", "joe.secret"]


def test_a_hostile_sender_is_harmless_and_no_local_part_is_shown() -> None:
    pace = guard(
        limit("pair", ["sender.address", "helo.host"], "1/day"),
        limit("user", "auth.user", "1/day"),
        limit("list", "reply_to.address", "1/day"),
        clock=ManualClock(REAL),
    )
    for text in HOSTILE:
        for _ in range(4):
            pace.check(
                message(f"{text}@ex.com", helo=f"{text}.net", auth_user=f"{text}@ex.org", reply_to=f"{text}@ex.net")
            )
    for shown in both(pace):
        assert b"<" not in shown
        assert shown.isascii()
        assert b"\x1b" not in shown
        keys = [line for line in shown.decode().splitlines() if line.startswith("throttle_slot_info")]
        assert keys
        assert not [line for line in keys if "secret@" in line or ("secret" in line and "helo" not in line)]
    assert openmetrics(pace.render(openmetrics=True).decode())


@pytest.mark.servers
def test_promtool_accepts_the_text() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "install Debian's prometheus"
    pace = Throttle()
    for _ in range(20_000):
        pace.check(message())
    done = subprocess.run([promtool, "check", "metrics"], input=pace.render(), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
