"""One side under the flood: start its server, feed it the quiet hours, let the senders loose, watch from outside.

It knows processes and ports, not what a side does.
Invariant: resident memory is read from outside the server; what was admitted is what the handler behind the guard
received.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from throttle.demo import monitors
from throttle.demo.child import Child, ChildFailedError
from throttle.demo.scraper import Scrape, Scraper, scrape
from throttle.demo.server import LOOPBACK
from throttle.demo.traffic import GROUPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from throttle.demo.invented import Growth
    from throttle.demo.monitors import Monitors
    from throttle.demo.plan import Plan
    from throttle.demo.sides import SideName

    #: Takes the newest sample, or `None`, and the name of the step that the demo waits for.
    Progress = Callable[["Sample | None", str], None]

SAMPLE_SECONDS = 0.1
SIDE_SECONDS = 150.0  # a side that takes longer is broken, not slow
ALERT_SECONDS = 45.0
"""How long the demo waits for the alert, from the first message on."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a side during the flood."""

    seconds: float  # since the first message
    sent: int  # messages of all groups
    flood_admitted: int
    resident_bytes: int
    prometheus_bytes: int | None  # resident memory of the Prometheus that watches the side


@dataclass(slots=True)
class Outcome:
    """Everything measured on one side; None where the side has no such thing."""

    side: SideName
    sent: dict[str, int]
    delivered: dict[str, int]
    refused: dict[str, int]
    first_refusal_after: int | None
    reserved_bytes: int | None
    check_p50_us: float | None
    check_p99_us: float | None
    samples: list[Sample] = field(repr=False)
    scrapes: list[Scrape] = field(repr=False)  # before the flood, once an interval, after the flood
    watched_by: str | None = None
    alert: monitors.Alert | None = None
    act_two: Growth | None = None

    @property
    def scrape(self) -> Scrape:
        """The reading after the flood, when the server does nothing else."""
        return self.scrapes[-1]

    @property
    def rss_growth_bytes(self) -> int:
        """How much the server's resident memory grew at most."""
        return max(sample.resident_bytes for sample in self.samples) - self.samples[0].resident_bytes

    @property
    def prometheus_rss_growth_bytes(self) -> int | None:
        """How much the resident memory of its Prometheus grew at most."""
        seen = [sample.prometheus_bytes for sample in self.samples if sample.prometheus_bytes is not None]
        return max(seen) - seen[0] if seen else None


def flood(side: SideName, plan: Plan, found: dict[str, str], progress: Progress) -> Outcome:
    """Replay the outage against one side.

    `found` has the programs that watch the side; without any it is only scraped.
    """
    with contextlib.ExitStack() as running:
        server = running.enter_context(Child("throttle.demo.server", side, plan.to_argument()))
        ready = server.answer()
        page = f"{LOOPBACK}:{ready['metrics_port']}"
        watch = running.enter_context(monitors.watching(found, side, page, plan.interval_seconds)) if found else None
        server.ask("quiet", SIDE_SECONDS)
        clients = running.enter_context(Child("throttle.demo.clients", str(ready["smtp_port"]), plan.to_argument()))
        _complete(side, clients.answer(), server.ask("finish"), ("quiet",))
        if watch:
            progress(None, "waiting for Prometheus")
            watch.wait_until_ready()
        scrapes = [scrape(page, 0.0)]  # before the first reading of memory: a server that runs has been scraped
        samples = [Sample(0.0, 0, 0, server.resident_bytes(), watch.resident_bytes() if watch else None)]
        start = time.monotonic()
        with Scraper(page, plan.interval_seconds, start) as scraper:
            clients.ask("start")
            told = _watch(server, clients, watch, start, samples, progress)
        end = server.ask("finish")
        scrapes += [*scraper.scrapes, scrape(page, samples[-1].seconds)]
        alert = None
        if watch and side == "throttle":
            progress(samples[-1], "waiting for the alert")
            alert = watch.alert(start, ALERT_SECONDS)
            progress(samples[-1], "")
    _complete(side, told, end, GROUPS)
    return Outcome(
        side=side,
        sent=told["sent"],
        delivered=end["delivered"],
        refused=told["refused"],
        first_refusal_after=end["first_refusal_after"],
        reserved_bytes=ready["reserved_bytes"],
        check_p50_us=end["check_p50_us"],
        check_p99_us=end["check_p99_us"],
        samples=samples,
        scrapes=scrapes,
        watched_by=watch.versions if watch else None,
        alert=alert,
    )


def _watch(
    server: Child, clients: Child, watch: Monitors | None, start: float, samples: list[Sample], progress: Progress
) -> dict[str, Any]:
    while True:
        time.sleep(SAMPLE_SECONDS)
        told = clients.ask("status")
        admitted = server.ask("status")["delivered"]["flood"]
        sizes = server.resident_bytes(), watch.resident_bytes() if watch else None
        samples.append(Sample(time.monotonic() - start, sum(told["sent"].values()), admitted, *sizes))
        progress(samples[-1], "")
        if told["done"]:
            return told
        if samples[-1].seconds > SIDE_SECONDS:
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
