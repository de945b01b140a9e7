"""`throttle serve --metrics`: what a scraper gets over a real socket, and what a hostile client gets."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from integrations.postfix.policy_client import DUNNO, PolicyClient
from integrations.postfix.serve_process import ServeProcess, policy_file
from throttle import Policy
from throttle.serve.guards import OWN_SERIES
from throttle.serve.metrics import MOST_CLIENTS, MOST_HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prometheus_client import Metric

POLICY = '[[limit]]\nname = "pace"\nper = "sender.org"\nrate = "2/day"\n'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    directory = tmp_path_factory.mktemp("serve")
    policy = policy_file(directory, POLICY)
    with ServeProcess(directory, "--policy", policy, "--metrics", "127.0.0.1:0", "--max-series", "300") as process:
        yield process


def port(service: ServeProcess) -> int:
    return int(service.wait_for(r"for Prometheus on \S+:(\d+)")[1])


def get(service: ServeProcess, path: str, method: str = "GET", **fields: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port(service), timeout=20)
    connection.request(method, path, headers=fields)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["Content-Type"], text


def read(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def value(text: str, name: str) -> float:
    return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + " "))


def test_a_scraper_gets_the_format_that_it_asks_for(service: ServeProcess) -> None:
    with PolicyClient(service.address) as client:
        assert client.ask() == DUNNO
    status, kind, text = get(service, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert value(text, "throttle_requests_total") >= 1
    assert value(text, "throttle_last_reload_success") == 1
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    status, kind, text = get(service, "/metrics", Accept=accept)
    assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    for weight in ("0", "0.0", "0.000"):
        assert get(service, "/metrics", Accept=f"application/openmetrics-text;q={weight}")[1].startswith("text/plain")
    families = {family.name: family for family in read(text)}
    assert {"throttle_requests", "throttle_errors", "throttle_connections", "throttle_checks"} <= families.keys()
    assert sum(len(family.samples) for family in families.values()) <= 300


def test_health_and_other_paths(service: ServeProcess) -> None:
    assert get(service, "/healthz")[::2] == (200, "ok\n")
    assert get(service, "/readyz")[::2] == (200, "ok\n")
    assert get(service, "/../etc/passwd")[0] == 404
    assert get(service, "/metrics", "POST")[0] == 405
    assert get(service, "/metrics", "HEAD")[::2] == (200, "")


def test_clients_that_send_too_much_or_nothing_do_not_keep_a_scraper_out(service: ServeProcess) -> None:
    address = ("127.0.0.1", port(service))
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n" + b"x" * (2 * MOST_HEAD_BYTES))
        assert client.recv(100) == b""
    stalled = [socket.create_connection(address, timeout=20) for _ in range(MOST_CLIENTS)]
    assert get(service, "/healthz")[0] == 200, "the oldest that has asked nothing makes room"
    with socket.create_connection(address, timeout=20) as one_more:
        with contextlib.suppress(ConnectionResetError):
            assert one_more.recv(100) == b""
    for client in stalled:
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b"", "a client that sends nothing is dropped after five seconds"
        client.close()
    assert get(service, "/healthz")[0] == 200


def test_a_probe_of_life_gets_its_answer_beside_scrapers_in_a_loop(service: ServeProcess) -> None:
    ended = threading.Event()

    def scrape() -> int:
        scrapes = 0
        while not (ended.is_set() and scrapes):
            with contextlib.suppress(OSError, http.client.HTTPException):
                scrapes += get(service, "/metrics")[0] == 200
        return scrapes

    with ThreadPoolExecutor(16) as scrapers:
        running = [scrapers.submit(scrape) for _ in range(16)]
        try:
            answers = [get(service, "/healthz")[0] for _ in range(10)]
        finally:
            ended.set()
    assert answers == [200] * 10
    assert all(scraper.result() for scraper in running)


def test_a_probe_of_life_gets_its_answer_behind_a_thousand_clients_that_have_gone(service: ServeProcess) -> None:
    """They wait in the kernel's queue, each with a scrape. It took 22 s when each had its turn."""
    for _ in range(1000):
        with socket.create_connection(("127.0.0.1", port(service)), timeout=20) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    began = time.monotonic()
    assert get(service, "/healthz")[0] == 200
    assert time.monotonic() - began < 10


def test_a_reload_that_fails_shows(tmp_path: Path) -> None:
    policy = policy_file(tmp_path, POLICY)
    with ServeProcess(tmp_path, "--policy", policy, "--metrics", "127.0.0.1:0") as service:
        good = value(get(service, "/metrics")[2], "throttle_last_reload_timestamp_seconds")
        policy_file(tmp_path, "wrong")
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("reload failed")
        text = get(service, "/metrics")[2]
        assert value(text, "throttle_last_reload_success") == 0
        assert value(text, "throttle_last_reload_timestamp_seconds") == good


def test_a_start_above_max_series_is_refused_with_the_sum(tmp_path: Path) -> None:
    policy = policy_file(tmp_path, POLICY)
    most = Policy.from_file(policy).series_bound()[0] + OWN_SERIES
    command = [
        sys.executable,
        "-m",
        "throttle",
        "serve",
        "--postfix",
        "inet:127.0.0.1:0",
        "--policy",
        policy,
        "--check",
    ]
    done = [
        subprocess.run(
            [*command, "--max-series", str(allowed)], capture_output=True, text=True, timeout=60, check=False
        )
        for allowed in (most, most - 1)
    ]
    assert [one.returncode for one in done] == [0, 2]
    assert f"can show {most} series at once; allowed: {most - 1}" in done[1].stderr


def test_a_reload_above_max_series_keeps_the_policy(tmp_path: Path) -> None:
    policy = policy_file(tmp_path, POLICY)
    most = Policy.from_file(policy).series_bound()[0] + OWN_SERIES
    with ServeProcess(tmp_path, "--policy", policy, "--metrics", "127.0.0.1:0", "--max-series", str(most)) as service:
        policy_file(tmp_path, POLICY + POLICY.replace("pace", "other"))
        service.process.send_signal(signal.SIGHUP)
        service.wait_for(f"reload failed.*series at once; allowed: {most}; the earlier policy stays")
        assert 'limit="other"' not in get(service, "/metrics")[2]
