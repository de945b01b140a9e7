"""What 100,000 invented label values do to a counter: prometheus_client's, OpenTelemetry's, and the guarded one.

    python benches/guarded_metrics.py [--invented 100000] [--rounds 60] [--json]

First an application counts under each invented value once, then 1,000 times under each of three ordinary ones. The
table has what is exported afterwards, what it costs, and the time of an update, as the best of many rounds by turns:

    visible     of the three ordinary values, those that are exported with their name; and the least of their counts
    total       the sum of all exported values, beside that of all updates
    memory      what the counter allocated, by tracemalloc; `peak` while it is exported, too
    labels      `labels(value).inc()` of a value with a name; OpenTelemetry: `add(1, {name: value})`
    handle      `inc()` of a kept handle
    unnamed     the same as `labels`, and as `handle`, of a value that has no name; only GuardedCounter has such
    fresh       `labels(value).inc()` of values that nobody has seen before

OpenTelemetry has no handles. Its export is a collection into memory, without a text.
The exit code is 1 when GuardedCounter exceeds a bound of `bounds`.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import timeit
import tracemalloc
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import version
from itertools import count
from math import isnan, nan
from time import perf_counter
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, generate_latest

from throttle.metrics import GuardedCounter

try:
    otel: Any = import_module("opentelemetry.sdk.metrics")
except ModuleNotFoundError:
    otel = None

if TYPE_CHECKING:
    from collections.abc import Callable

ORDINARY = ("a.example.com", "b.example.com", "c.example.com")
EACH = 1_000
ROUNDS = 60
UPDATES = 2_000

MOST_SERIES = 100
LEAST_SHOWN = 0.95
MOST_PEAK_BYTES = 500_000
MOST_TIMES = 1.5
"""An update against the `labels(value).inc()` of prometheus_client; of a fresh value, against that of a fresh value."""


class Subject(ABC):
    """One library's counter."""

    name: str

    @abstractmethod
    def add(self, value: str) -> None:
        """Counts a value."""

    @abstractmethod
    def exported(self) -> tuple[dict[str, float], int]:
        """The values by label, and the bytes of text."""

    def handle(self, value: str) -> Callable[[], object] | None:
        return None


class Plain(Subject):
    name = "prometheus_client"

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.counter: Any = self.made()

    def made(self) -> Any:
        return Counter("mails", "Messages.", ["sender"], registry=self.registry)

    def add(self, value: str) -> None:
        self.counter.labels(value).inc()

    def handle(self, value: str) -> Callable[[], object] | None:
        return self.counter.labels(value).inc  # type: ignore[no-any-return]

    def exported(self) -> tuple[dict[str, float], int]:
        text = generate_latest(self.registry)
        samples = next(iter(self.counter.collect())).samples
        return {sample.labels["sender"]: sample.value for sample in samples if sample.name == "mails_total"}, len(text)


class Guarded(Plain):
    name = "GuardedCounter"

    def made(self) -> Any:
        return GuardedCounter("mails", "Messages.", ["sender"], registry=self.registry)


class OpenTelemetry(Subject):
    name = "OpenTelemetry"

    def __init__(self) -> None:
        self.reader = otel.export.InMemoryMetricReader()
        self.provider = otel.MeterProvider([self.reader], shutdown_on_exit=False)
        self.counter = self.provider.get_meter("bench").create_counter("mails")

    def add(self, value: str) -> None:
        self.counter.add(1, {"sender": value})

    def exported(self) -> tuple[dict[str, float], int]:
        data: Any = self.reader.get_metrics_data()
        points = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
        return {str(point.attributes.get("sender", "overflow")): point.value for point in points}, 0


@dataclass(frozen=True)
class Row:
    """What was measured of one library."""

    name: str
    series: int
    visible: int
    least: float
    total: float
    updates: int
    memory_bytes: int
    peak_bytes: int
    text_bytes: int
    export_ms: float
    labels_ns: float
    handle_ns: float
    unnamed_ns: float
    unnamed_handle_ns: float
    fresh_ns: float


def flooded(subject: Subject, invented: int) -> None:
    for number in range(invented):
        subject.add(f"h{number}.sandbox.example.org")
    for _ in range(EACH):
        for value in ORDINARY:
            subject.add(value)


def times(kinds: list[type[Subject]], rounds: int) -> dict[str, list[float]]:
    """Nanoseconds of an update by name: labels, handle, the same two of a value without a name, fresh."""
    ways: dict[str, list[Callable[[], object] | None]] = {}
    for kind in kinds:
        subject = kind()
        flooded(subject, 200)
        fresh, add = count(), subject.add

        def unseen(add: Callable[[str], None] = add, fresh: Any = fresh) -> None:
            add(f"h{next(fresh)}.fresh.org")

        def ordinary(add: Callable[[str], None] = add) -> None:
            add(ORDINARY[0])

        def unnamed(add: Callable[[str], None] = add) -> None:
            add("h150.sandbox.example.org")

        handle = subject.handle(ORDINARY[0])
        if kind is Guarded:
            for number in range(10):  # spend the budget, so that the one value stays without a name
                for _ in range(20_000):
                    add(f"spent{number}")
        nameless = [unnamed, subject.handle("h150.sandbox.example.org")] if kind is Guarded else [None, None]
        ways[kind.name] = [ordinary, handle, *nameless, unseen]
    best = {name: [nan] * len(of) for name, of in ways.items()}
    for _ in range(rounds):
        for way in range(5):
            for name, of in ways.items():
                update = of[way]
                if update is not None:
                    took = timeit.timeit(update, number=UPDATES) / UPDATES * 1e9
                    best[name][way] = took if isnan(best[name][way]) else min(took, best[name][way])
    return best


def measured(kind: type[Subject], invented: int, ns: list[float]) -> Row:
    gc.collect()
    tracemalloc.start()
    subject = kind()
    flooded(subject, invented)
    gc.collect()
    memory_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    subject.exported()
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    begin = perf_counter()
    shown, text_bytes = subject.exported()
    export_ms = (perf_counter() - begin) * 1e3
    visible = [shown[value] for value in ORDINARY if value in shown]
    return Row(
        kind.name,
        len(shown),
        len(visible),
        min(visible, default=0),
        sum(shown.values()),
        invented + EACH * len(ORDINARY),
        memory_bytes,
        peak_bytes,
        text_bytes,
        export_ms,
        *ns,
    )


def bounds(ours: Row, theirs: Row) -> dict[str, bool]:
    """Returns what must be true of GuardedCounter, and whether it is."""
    updates = (ours.labels_ns, ours.handle_ns, ours.unnamed_ns, ours.unnamed_handle_ns)
    return {
        f"all {len(ORDINARY)} ordinary values are visible, each with {LEAST_SHOWN:.0%} of its updates or more": (
            ours.visible == len(ORDINARY) and LEAST_SHOWN * EACH <= ours.least <= EACH
        ),
        "the total is exact": ours.total == ours.updates,
        f"at most {MOST_SERIES} series": ours.series <= MOST_SERIES,
        f"at most {MOST_PEAK_BYTES / 1e6:g} MB, however many values are invented": ours.peak_bytes <= MOST_PEAK_BYTES,
        f"an update takes at most {MOST_TIMES:g} times prometheus_client's labels(value).inc()": (
            max(updates) <= MOST_TIMES * theirs.labels_ns and ours.fresh_ns <= MOST_TIMES * theirs.fresh_ns
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--invented", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    kinds: list[type[Subject]] = [Plain, *([OpenTelemetry] if otel is not None else []), Guarded]
    ns = times(kinds, arguments.rounds)
    rows = [measured(kind, arguments.invented, ns[kind.name]) for kind in kinds]
    ours, theirs = rows[-1], rows[0]
    held = bounds(ours, theirs)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        sys.exit(not all(held.values()))
    packages = ["prometheus_client", *(["opentelemetry-sdk"] if otel is not None else [])]
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    print(f"{versions}, Python {platform.python_version()}, {platform.machine()}")
    print(f"{arguments.invented:,} invented values once, then {len(ORDINARY)} ordinary ones {EACH:,} times each\n")
    print(
        f"{'':18}{'series':>8}{'visible':>8}{'least':>7}{'total':>9}{'of':>9}{'memory':>10}{'peak':>10}{'export':>12}"
    )
    for row in rows:
        print(
            f"{row.name:18}{row.series:8,}{row.visible:8}{row.least:7,.0f}{row.total:9,.0f}{row.updates:9,}"
            f"{row.memory_bytes / 1e6:7.1f} MB{row.peak_bytes / 1e6:7.1f} MB{row.export_ms:9,.1f} ms"
        )
    print(f"\n{'one update, ns':18}{'labels':>8}{'handle':>8}{'unnamed':>8}{'handle':>8}{'fresh':>8}{'text':>12}")
    for row in rows:
        updates = (row.labels_ns, row.handle_ns, row.unnamed_ns, row.unnamed_handle_ns, row.fresh_ns)
        shown = "".join("       –" if isnan(ns) else f"{ns:8,.0f}" for ns in updates)
        print(f"{row.name:18}{shown}" + (f"{row.text_bytes / 1e3:9,.0f} kB" if row.text_bytes else f"{'–':>12}"))
    print("\nGuardedCounter's time as a multiple of prometheus_client's:")
    print(f"  a value with a name     labels {ours.labels_ns / theirs.labels_ns:.2f}", end="  ")
    print(f"handle {ours.handle_ns / theirs.handle_ns:.2f}")
    print(f"  a value without a name  labels {ours.unnamed_ns / theirs.labels_ns:.2f}", end="  ")
    print(f"handle {ours.unnamed_handle_ns / theirs.handle_ns:.2f}")
    print(f"  a fresh value           labels {ours.fresh_ns / theirs.fresh_ns:.2f}")
    if otel is None:
        print("OpenTelemetry is not installed: pip install 'mailthrottle[bench]'", file=sys.stderr)
    print()
    for bound, holds in held.items():
        print(f"{'holds' if holds else 'SHORT'}  {bound}")
    sys.exit(not all(held.values()))


if __name__ == "__main__":
    main()
