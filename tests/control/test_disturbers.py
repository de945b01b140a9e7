"""What hostile clients of the control socket and two scrapers cost mail: the slowest policy requests in alternating
periods with and without them.

It needs a machine with nothing else to do: on two cores any other process can make the slowest requests three times as
slow, whatever the service does, since a request waits for the end of somebody's slice.
"""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integrations.postfix.policy_client import DUNNO, PolicyClient, instance
from integrations.postfix.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

DISTURBERS = Path(__file__).with_name("disturbers.py")
REQUESTS_A_SECOND = 200
MOST_RATIO = 1.2
MOST_OF_A_CORE = 0.1
"""What the service may spend on its answers to the disturbers."""


@contextmanager
def running(*arguments: str) -> Iterator[dict[str, int]]:
    """Runs a process during the block. After it the result has what the process printed."""
    process = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    told: dict[str, int] = {}
    try:
        yield told
    finally:
        told |= json.loads(process.communicate(timeout=20)[0])


@pytest.mark.parametrize(
    ("rounds", "seconds"), [(1, 3), pytest.param(10, 30, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_mail_hardly_notices_hostile_operators_and_scrapers(tmp_path: Path, rounds: int, seconds: int) -> None:
    control, is_root = str(tmp_path / "control" / "socket"), os.getuid() == 0
    with ServeProcess(tmp_path, "--control", control, "--metrics", "127.0.0.1:0") as service:
        port = service.wait_for(r"for Prometheus on \S+:(\d+)")[1]
        if is_root:  # an operator's mistake, after the service has looked: now anybody reaches the socket
            Path(control).parent.chmod(0o755)
            Path(control).chmod(0o666)
        slowest: dict[str, list[float]] = {"alone": [], "disturbed": []}
        shares: list[tuple[float, float]] = []
        did: dict[str, int] = {}
        busy = ["answers to a flood", "seconds stalled", "random bytes", "scrapes", *["wrong user"] * is_root]
        with PolicyClient(service.address) as client:
            latencies(client, 1)
            for _ in range(rounds):
                before = service.processor_seconds()
                slowest["alone"].append(p999(latencies(client, seconds)))
                alone = service.processor_seconds() - before
                before, of_children = service.processor_seconds(), children_seconds()
                with running(str(DISTURBERS), control, port, "disturbers") as did:
                    slowest["disturbed"].append(p999(latencies(client, seconds)))
                assert all(did.get(name, 0) >= seconds / 10 for name in busy), did
                answers = (service.processor_seconds() - before - alone) / seconds
                shares.append((answers, (children_seconds() - of_children) / seconds))
            assert client.ask(instance=instance(), sender="joe@example.org", client_port="9") == DUNNO
    median = {kind: statistics.median(of) for kind, of in slowest.items()}
    of_answers, of_disturbers = (statistics.median(of) for of in zip(*shares, strict=True))
    print(
        f"p99.9: alone {median['alone'] * 1e3:.2f} ms, disturbed {median['disturbed'] * 1e3:.2f}: "
        f"{median['disturbed'] / median['alone']:.2f} x; the service spent {of_answers:.1%} of a core on the "
        f"disturbers, which took {of_disturbers:.1%} themselves; in the last period they did {did}"
    )
    assert not re.search(r"fault: ", service.log())
    assert of_answers <= MOST_OF_A_CORE
    if rounds > 1:
        assert median["disturbed"] <= MOST_RATIO * median["alone"]


def children_seconds() -> float:
    """The processor time of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def latencies(client: PolicyClient, seconds: int) -> list[float]:
    """How long each of a flood of requests took: every message comes from another host of one organisation."""
    taken, start = [], time.perf_counter()
    for number in range(seconds * REQUESTS_A_SECOND):
        wait = start + number / REQUESTS_A_SECOND - time.perf_counter()
        if wait > 0:
            time.sleep(wait)  # the flood has a rate
        name = instance()
        asked = time.perf_counter()
        client.ask(
            instance=name,
            sender=f"case@{name.replace('.', '-')}.salesforce.com",
            client_port=str(1024 + number % 60_000),
        )
        taken.append(time.perf_counter() - asked)
    return taken


def p999(taken: list[float]) -> float:
    return sorted(taken)[int(len(taken) * 0.999)]
