"""A real Prometheus and Alertmanager watch a `throttle serve` that is flooded with new hosts under one organisation.

They run with the files that `throttle metrics` prints; only addresses are replaced. A second Prometheus scrapes an
exporter with a series for each name, which counts the same mail. Each listens on loopback, keeps its data in a
temporary directory, and ends with the test.
"""

from __future__ import annotations

import contextlib
import json
import re
import statistics
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from prometheus_client import CollectorRegistry, Counter, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from integrations.loopback import LOOPBACK, free_port
from integrations.postfix.policy_client import DUNNO, PolicyClient, instance
from integrations.postfix.serve_process import ServeProcess
from throttle import Policy, Throttle, monitoring
from throttle.demo.cast import FLOODED
from throttle.demo.monitors import Webhook
from throttle.demo.peers import host_of
from throttle.demo.traffic import Mix, conversations, last_minute
from throttle.monitoring.dashboard import queries
from throttle.serve.guards import OWN_SERIES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from throttle.demo.traffic import Group, Message

pytestmark = pytest.mark.servers

SEED = 1
ORDINARY_A_SECOND = 25
FLOOD_A_SECOND = 100
"""Messages of the flood, and of ordinary senders in the midst of it: one in eight."""
LEAST_FLOOD_A_SECOND = 80
INTERVAL_SECONDS = 15
TOLD_SECONDS = 45
RESOLVED_SECONDS = 180
QUERY_SECONDS = 0.1
OF_A_SCRAPE = {
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
}
"""What Prometheus adds for each target."""
SERIES_OF_AN_ALERT = 3
"""For each of its label sets: ALERTS while it is pending, ALERTS while it fires, and ALERTS_FOR_STATE."""
RULE = re.compile(r"- (record|alert): (\S+)\n +expr: (.+(?:\n {10}.+)*)")
NAIVE = """
global: {{scrape_interval: 15s}}
scrape_configs:
  - job_name: naive
    static_configs: [{{targets: ["{target}"]}}]
"""


def wait(happened: Callable[[], Any], seconds: float) -> Any:
    """Returns what `happened` returns, once that is true."""
    until = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < until, f"it has not happened within {seconds:.0f} s"
        time.sleep(0.1)  # another process does it
    return found


def answer(address: str, path: str, **parameters: str | float) -> bytes:
    url = f"http://{address}{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=20) as response:
        body: bytes = response.read()
        return body


@contextlib.contextmanager
def running(directory: Path, *command: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server of Prometheus' family. Gives its address, once it is ready, and its process."""
    address = f"{LOOPBACK}:{free_port()}"
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address={address}", "--log.level=warn"], cwd=directory, stdout=log, stderr=log
        )

    def is_ready() -> bool:
        assert process.poll() is None, (directory / "log").read_text()
        try:
            return bool(answer(address, "/-/ready"))
        except (urllib.error.URLError, ConnectionError):
            return False

    try:
        wait(is_ready, 30)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def prometheus(directory: Path, name: str, config: str) -> Iterator[Prometheus]:
    home = directory / name
    home.mkdir()
    (home / "throttle-rules.yml").write_text(monitoring.text("rules"))
    (home / "prometheus.yml").write_text(config)
    with running(home, "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data") as (address, process):
        yield Prometheus(address, process)


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that runs."""

    address: str
    process: psutil.Process
    since: float = field(default_factory=time.time)

    def ask(self, path: str, **parameters: str | float) -> Any:
        found = json.loads(answer(self.address, f"/api/v1/{path}", **parameters))
        assert found["status"] == "success", found
        assert not found.get("warnings"), found
        return found["data"]

    def value(self, query: str) -> float:
        """The value of a query with one series; 0 without one."""
        found = self.ask("query", query=query)["result"]
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else 0.0

    def series(self, job: str) -> set[frozenset[tuple[str, str]]]:
        """All that a job has had since the start."""
        wanted: dict[str, str | float] = {"match[]": f'{{job="{job}"}}', "start": self.since, "end": time.time()}
        found = self.ask("series", **wanted)
        return {frozenset(labels.items()) for labels in found}

    def resident_mb(self) -> float:
        return float(self.process.memory_info().rss) / 1e6


class Sending:
    """Asks the policy service about one message after another at a steady rate, in a thread, until the block ends."""

    def __init__(self, address: str, messages: Iterator[Message], rate: int, naive: Counter) -> None:
        self.asked: dict[Group, int] = {}
        self.refused: dict[Group, int] = {}
        self.began = self.ended = time.monotonic()
        self._address, self._messages, self._rate, self._naive = address, messages, rate, naive
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Sending:
        self.began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.ended = time.monotonic()

    def _run(self) -> None:
        with PolicyClient(self._address) as client:
            for number, message in enumerate(self._messages):
                if self._stop.wait(max(0.0, self.began + number / self._rate - time.monotonic())):
                    return
                told = client.ask(
                    instance=instance(),
                    client_address=message.client_ip,
                    helo_name=message.helo,
                    sender=message.mail_from.strip("<>"),
                    recipient=message.rcpt_to,
                )
                self._naive.labels(host_of(message.mail_from)).inc()
                self.asked[message.group] = self.asked.get(message.group, 0) + 1
                if told != DUNNO:
                    self.refused[message.group] = self.refused.get(message.group, 0) + 1
        raise AssertionError("there are too few messages for the time")


def addresses(text: str, **replaced: str) -> str:
    """A printed file with the addresses of this test."""
    for port, address in replaced.items():
        example = f"{LOOPBACK}:{port.removeprefix('port_')}"
        assert text.count(example) == 1
        text = text.replace(example, address)
    return text


def most_series() -> dict[str, int]:
    """Returns how many series of each kind one service with the policy `inbound` can make.

    The label sets of a rule are those of its metric, reduced to the labels that the rule groups by. All of them exist
    from the start. A metric that no guard has, `up` or one of `serve`, has one label set.
    """
    label_sets: dict[str, set[frozenset[tuple[str, str]]]] = {}
    for family in text_string_to_metric_families(Throttle("inbound").render().decode()):
        for sample in family.samples:
            label_sets.setdefault(sample.name, set()).add(frozenset(sample.labels.items()))
    of_rules = {"record": 0, "alert": 0}
    for kind, name, expression in RULE.findall(monitoring.text("rules")):
        # A rule may keep its own value.
        metric = re.search(r"(\w+:)?throttle_\w+(:\w+)?|\bup\b", expression.replace(name, ""))
        by = re.search(r"\bby \((.*?)\)", expression)
        assert metric
        label_sets[name] = {
            frozenset(label for label in labels if not by or label[0] in by[1].split(", "))
            for labels in label_sets.get(metric[0], {frozenset()})
        }
        of_rules[kind] += len(label_sets[name])
    return {
        "throttle": Policy.builtin("inbound").series_bound()[0] + OWN_SERIES,
        "scrape": len(OF_A_SCRAPE),
        "recorded": of_rules["record"],
        "ALERTS": SERIES_OF_AN_ALERT * of_rules["alert"],
    }


def check_series(series: set[frozenset[tuple[str, str]]], before: set[frozenset[tuple[str, str]]]) -> str:
    """Every series of the job has its reason, and the flood made no other than names of offenders."""
    most = most_series()
    kinds: dict[str, list[dict[str, str]]] = {kind: [] for kind in most}
    for labels in map(dict, series):
        name = labels["__name__"]
        kind = "scrape" if name in OF_A_SCRAPE else "recorded" if ":" in name else name.partition("_")[0]
        kinds[kind].append(labels)
        assert "key" not in labels or name == "throttle_slot_info"
        assert name == "throttle_slot_info" or FLOODED not in "".join(labels.values())
    assert {labels["__name__"] for labels in kinds["scrape"]} == OF_A_SCRAPE
    counted = ", ".join(f"{len(some)} {kind} of at most {most[kind]}" for kind, some in kinds.items())
    assert all(0 < len(some) <= most[kind] for kind, some in kinds.items()), counted
    more = [name for name in (dict(labels)["__name__"] for labels in series - before) if name.startswith("throttle_")]
    assert set(more) == {"throttle_slot_info"}
    return f"series of the job: {counted}; the flood added {len(more)} names and no other of throttle"


def check_queries(watcher: Prometheus) -> list[str]:
    """Runs each query as its panel does: a table at this moment, the others over an hour."""
    lines = []
    for panel, query in queries(job="throttle"):
        when: dict[str, float] = {"start": time.time() - 3600, "end": time.time(), "step": 15}
        path, when = ("query", {}) if panel.kind == "table" else ("query_range", when)
        took, found = [], 0
        for _ in range(3):
            start = time.perf_counter()
            found = len(watcher.ask(path, query=query, **when)["result"])
            took.append(time.perf_counter() - start)
        lines.append(
            f"{panel.title}: {found} of at most {panel.most_series} series, {statistics.median(took) * 1000:.1f} ms"
        )
        assert 0 < found <= panel.most_series, lines[-1]
        assert statistics.median(took) < QUERY_SECONDS, lines[-1]
    return lines


@pytest.mark.parametrize(
    ("seconds", "is_resolved"),
    [(40, False), pytest.param(180, True, marks=[pytest.mark.soak, pytest.mark.timeout(900)])],
)
def test_a_flood_is_told_with_its_name_and_makes_no_series(
    tmp_path: Path, rng: random.Random, seconds: int, is_resolved: bool
) -> None:
    registry = CollectorRegistry()
    naive = Counter("mails", "Messages by sender.", ["sender"], registry=registry)
    flood = [message for talk in conversations(SEED, Mix.scaled(FLOOD_A_SECOND * (seconds + 90))) for message in talk]
    ordinary = [message for talk in last_minute(SEED) for message in talk] * 10
    with contextlib.ExitStack() as stack:
        start = stack.enter_context
        service = start(ServeProcess(tmp_path, "--policy", "inbound", "--metrics", f"{LOOPBACK}:0"))
        target = service.wait_for(r"for Prometheus on inet:(\S+)")[1]
        server, thread = start_http_server(0, LOOPBACK, registry)
        for ending in (server.server_close, thread.join, server.shutdown):  # called from the last to the first
            stack.callback(ending)
        naive_target = f"{LOOPBACK}:{server.server_port}"
        webhook = start(Webhook())
        (tmp_path / "alertmanager.yml").write_text(
            addresses(monitoring.text("alertmanager"), port_9099=webhook.address)
        )
        alertmanager, _ = start(
            running(tmp_path, "prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts",
                    "--cluster.listen-address=")
        )  # fmt: skip
        config = addresses(monitoring.text("scrape-config"), port_9093=alertmanager, port_9797=target)
        watcher = start(prometheus(tmp_path, "watcher", config))
        beside = start(prometheus(tmp_path, "beside", NAIVE.format(target=naive_target)))

        with Sending(service.address, iter(ordinary), ORDINARY_A_SECOND, naive) as quiet:
            wait(lambda: watcher.value("sum(throttle_checks_total)") > 0, 60)
            wait(lambda: beside.value('scrape_samples_scraped{job="naive"}') > 0, 30)
            time.sleep(rng.uniform(0, INTERVAL_SECONDS))  # a flood begins at any time between two scrapes
        assert not quiet.refused
        before = watcher.series("throttle")
        assert not webhook.got
        resident = {one: one.resident_mb() for one in (watcher, beside)}
        few = beside.value('scrape_samples_scraped{job="naive"}')

        with Sending(service.address, iter(flood), FLOOD_A_SECOND, naive) as sending:
            told_at, alert = wait(lambda: webhook.first("firing"), 2 * TOLD_SECONDS)
            told = told_at - sending.began
            wait(lambda: time.monotonic() - sending.began > seconds, seconds)
            answers = check_queries(watcher)
        lines = [
            check_series(watcher.series("throttle"), before),
            *answers,
        ]
        flood_a_second = sending.asked["flood"] / (sending.ended - sending.began)
        most = watcher.value('max(throttle_fan_out_max{window="minute"})')
        sizes = [len(answer(one, "/metrics")) / 1000 for one in (target, naive_target)]
        many = beside.value('scrape_samples_scraped{job="naive"}')
        held = [f"{resident[one]:.0f} -> {one.resident_mb():.0f} MB" for one in (watcher, beside)]
        lines += [
            f"flood: {flood_a_second:.0f} messages a second; asked {sending.asked}, refused {sending.refused}",
            f"told after {told:.1f} s: {alert['annotations']['summary']}; at the end {most:.0f} new names in a minute",
            f"resident, Prometheus of throttle: {held[0]}; of the naive exporter: {held[1]}",
            f"a scrape of throttle: {sizes[0]:.0f} kB",
            f"a scrape of the naive exporter: {sizes[1]:.0f} kB, {few:.0f} -> {many:.0f} series",
        ]
        print("", *lines, sep="\n")
        assert flood_a_second >= LEAST_FLOOD_A_SECOND
        assert told <= TOLD_SECONDS
        assert alert["annotations"]["summary"].endswith(
            f" new names in a minute under one sender.registered: {FLOODED}"
        )
        assert sending.refused["flood"] > 0.9 * sending.asked["flood"]
        assert "innocent" not in sending.refused
        if is_resolved:
            resolved_at, _ = wait(lambda: webhook.first("resolved"), 2 * RESOLVED_SECONDS)
            print(f"resolved {resolved_at - sending.ended:.1f} s after the flood's end")
            assert resolved_at - sending.ended <= RESOLVED_SECONDS
