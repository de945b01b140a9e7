"""One side under the flood: start its server, feed it the quiet hours, let the senders loose, watch from outside.

It knows processes and ports, not what a side does.
Invariant: resident memory is read from outside the server; what was admitted is what the handler behind the guard
received.
"""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from throttle.demo.child import Child, ChildFailedError
from throttle.demo.server import LOOPBACK
from throttle.demo.traffic import GROUPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from throttle.demo.invented import Growth
    from throttle.demo.plan import Plan
    from throttle.demo.sides import SideName

SAMPLE_SECONDS = 0.1
SIDE_SECONDS = 150.0  # a side that takes longer is broken, not slow
SCRAPE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a side during the flood."""

    seconds: float  # since the first message
    sent: int  # messages of all groups
    flood_admitted: int
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Scrape:
    """One reading of the metrics page."""

    series: int
    page_bytes: int
    seconds: float


@dataclass(slots=True)
class Outcome:
    """Everything measured on one side; None where the side has no such thing."""

    side: SideName
    sent: dict[str, int]
    delivered: dict[str, int]
    refused: dict[str, int]
    first_refusal_after: int | None
    reserved_bytes: int | None
    rss_growth_bytes: int
    scrape: Scrape
    check_p50_us: float | None
    check_p99_us: float | None
    samples: list[Sample] = field(repr=False)
    act_two: Growth | None = None


def flood(side: SideName, plan: Plan, progress: Callable[[Sample], None]) -> Outcome:
    """Replay the outage against one side; `progress` is told each sample."""
    with Child("throttle.demo.server", side, plan.to_argument()) as server:
        ready = server.answer()
        server.ask("quiet", SIDE_SECONDS)
        with Child("throttle.demo.clients", str(ready["smtp_port"]), plan.to_argument()) as clients:
            _complete(side, clients.answer(), server.ask("finish"), ("quiet",))
            before = server.resident_bytes()
            samples = [Sample(0.0, 0, 0, before)]
            clients.ask("start")
            told = _watch(server, clients, samples, progress)
        after = max(sample.resident_bytes for sample in samples)
        page = scrape(ready["metrics_port"])  # after the last reading of memory: rendering takes some, too
        end = server.ask("finish")
    _complete(side, told, end, GROUPS)
    return Outcome(
        side=side,
        sent=told["sent"],
        delivered=end["delivered"],
        refused=told["refused"],
        first_refusal_after=end["first_refusal_after"],
        reserved_bytes=ready["reserved_bytes"],
        rss_growth_bytes=after - before,
        scrape=page,
        check_p50_us=end["check_p50_us"],
        check_p99_us=end["check_p99_us"],
        samples=samples,
    )


def scrape(port: int) -> Scrape:
    """Read a metrics page over HTTP as Prometheus does, and count its time series."""
    start = time.perf_counter()
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=SCRAPE_SECONDS) as page:
        text = page.read()
    seconds = time.perf_counter() - start
    series = sum(1 for line in text.splitlines() if line and not line.startswith(b"#"))
    return Scrape(series, len(text), seconds)


def _watch(server: Child, clients: Child, samples: list[Sample], progress: Callable[[Sample], None]) -> dict[str, Any]:
    start = time.monotonic()
    while True:
        time.sleep(SAMPLE_SECONDS)
        told = clients.ask("status")
        admitted = server.ask("status")["delivered"]["flood"]
        seconds = time.monotonic() - start
        samples.append(Sample(seconds, sum(told["sent"].values()), admitted, server.resident_bytes()))
        progress(samples[-1])
        if told["done"]:
            return told
        if seconds > SIDE_SECONDS:
            raise ChildFailedError(f"{server.name} and its senders did not finish within {SIDE_SECONDS:.0f} s")


def _complete(side: SideName, told: dict[str, Any], end: dict[str, Any], groups: tuple[str, ...]) -> None:
    """A run that lost messages or hit a fault proves nothing, so it is none."""
    if told["failed"] or end["faults"]:
        raise ChildFailedError(
            f"{side}: {told['failed']} messages got no answer, {end['faults']} faults in the handler; first: "
            f"{told['failure']}"
        )
    for group in groups:
        sent, refused, delivered = told["sent"][group], told["refused"][group], end["delivered"][group]
        if delivered + refused != sent:
            raise ChildFailedError(f"{side}: of {sent} {group} messages {delivered} arrived and {refused} were refused")
