"""What a million senders that nobody has seen before do to the metrics (P8): nothing.

    .venv/bin/python benches/exported_series.py [--count N] [--json]

A guard with the policy `inbound` checks so many messages, each from another organisation, and then a flood of hosts
under salesforce.com. The series are compared before, between and after; the text is rendered a hundred times. The
exit code is 1 when a bound is exceeded, or a series has come or gone.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from typing import NamedTuple

from throttle import Envelope, ManualClock, Policy, Throttle

MILLION = 1_000_000
FLOOD = 40_000
START = 1_795_000_000.0
NETWORKS = 4_096
PACE_S = 0.001
NAME = b"throttle_slot_info{"
RENDERS = 100
MOST_MS, MOST_BYTES = 5.0, 100_000


class Measured(NamedTuple):
    """What was seen. Names of offenders are counted apart; `changed` counts the other series that came or went.
    `render` is the median of a hundred.
    """

    senders: int
    series: int
    changed: int
    names: int
    most_series: int
    most_series_a_day: int
    text_bytes: int
    render_ms: float
    longest_render_ms: float

    def holds(self) -> bool:
        """Whether the series are those of the start, and all bounds hold."""
        return (
            not self.changed
            and self.series + self.names <= self.most_series
            and self.text_bytes <= MOST_BYTES
            and self.render_ms <= MOST_MS
        )


def series_of(text: bytes) -> set[bytes]:
    """The series in a text of Prometheus, without names of offenders."""
    return {line.rpartition(b" ")[0] for line in text.splitlines() if not line.startswith((b"#", NAME))}


def checked(guard: Throttle, clock: ManualClock, count: int, sender: str) -> None:
    """Checks messages of invented senders; `sender` has a place for a number."""
    for number in range(count):
        network = number % NETWORKS
        address = f"10.{network >> 8}.{network & 255}.1"
        guard.check(Envelope(client_ip=address, helo="mx.example.net", mail_from=sender.format(number)))
        clock.advance(PACE_S)


def measure(count: int) -> Measured:
    """Checks and renders."""
    clock = ManualClock(START)
    guard = Throttle("inbound", clock=clock)
    before = series_of(guard.render())
    checked(guard, clock, count, "joe@example{}.com")
    between = series_of(guard.render())
    checked(guard, clock, FLOOD, "bounce@a.b.c.h{}.salesforce.com")
    times, text = [], b""
    for _ in range(RENDERS):
        start = time.perf_counter()
        text = guard.render()
        times.append((time.perf_counter() - start) * 1000)
    changed = (before ^ between) | (before ^ series_of(text))
    return Measured(
        count, len(before), len(changed), text.count(NAME), *Policy.builtin("inbound").series_bound(), len(text),
        statistics.median(times), max(times),
    )  # fmt: skip


def main() -> None:
    """Measures and prints."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=MILLION, help="senders")
    options.add_argument("--json", action="store_true", help="print JSON only")
    asked = options.parse_args()
    found = measure(asked.count)
    if asked.json:
        sys.stdout.write(json.dumps(found._asdict(), indent=2) + "\n")
        sys.exit(not found.holds())
    print(f"{platform.machine()}, Python {platform.python_version()}; {found.senders:,} senders, then {FLOOD:,} hosts")
    print(
        f"series: {found.series}, {found.changed} of them new or gone after the flood, and "
        f"{found.names} names; "
        f"at most {found.most_series:,}, in a day {found.most_series_a_day:,}"
    )
    print(f"text: {found.text_bytes:,} bytes in {found.render_ms:.2f} ms, at most {found.longest_render_ms:.2f} ms")
    holds = found.holds()
    print(
        f"{'holds' if holds else 'SHORT'}  only names are added, series stay within the bound; at most {MOST_MS:g} ms "
        f"and {MOST_BYTES:,} bytes"
    )
    sys.exit(not holds)


if __name__ == "__main__":
    main()
