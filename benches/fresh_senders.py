"""Ten million senders that nobody has seen before: what they cost in memory (P1) and in time (P2).

    .venv/bin/python benches/fresh_senders.py [--count N] [--json]

Each sender has an organisation of its own; they come from 4,096 networks, a thousand a second of stated time,
so that nearly all are admitted.
Every tenth batch of 10,000 is timed check by check, for p99.9; the others as a whole, for the medians.
Envelope construction is timed with the check, the making of its text is not.

It judges nothing: the numbers are for who reads them, or for a test.
Invariant: what is measured with is allocated before the first 100,000 checks are over, so that growth after them is the
guard's.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from array import array
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter_ns

import psutil

from throttle import Envelope, Throttle

BATCH = 10_000
MILLION = 1_000_000
WARM_UP = 100_000
NETWORKS = 4_096
PACE_US = 1_000
SAMPLED = 10  # one batch of so many is timed check by check
START = 1_795_000_000.0  # November 2026
BUCKET_NS = 20  # width of the histogram's classes
LONGEST_NS = 2_000_000
POLICY = Path(__file__).with_name("inbound-1.toml")


@dataclass(frozen=True)
class Measured:
    """What was seen."""

    checks: int
    admitted: int
    memory_bytes_before: int
    memory_bytes_after: int
    resident_growth_bytes: int  # the most, at any batch's end, over what it was after the first 100,000
    first_million_median_us: float
    last_million_median_us: float
    ratio: float
    p50_us: float
    p999_us: float
    longest_us: float


def batch_of(first: int) -> list[tuple[str, str, str, float]]:
    """Client address, HELO name, reverse-path and time of the senders from ``first`` on; all names equally long."""
    made = []
    for number in range(first, first + BATCH):
        network = number % NETWORKS
        client = f"{100 + network // 256}.{network % 256}.{number % 7 + 100}.{100 + number % 100}"
        organisation = f"org{number:08d}.com"
        made.append((client, f"mx.{organisation}", f"user@{organisation}", START + number * PACE_US / 1e6))
    return made


def together(guard: Throttle, senders: list[tuple[str, str, str, float]]) -> tuple[int, int]:
    """How many were admitted, and nanoseconds for all."""
    check = guard.check
    admitted = 0
    begin = perf_counter_ns()
    for client, helo, mail_from, now in senders:
        envelope = Envelope(client_ip=client, helo=helo, mail_from=mail_from, rcpt_to="in@box.com")
        if check(envelope, now=now):
            admitted += 1
    return admitted, perf_counter_ns() - begin


def one_by_one(guard: Throttle, senders: list[tuple[str, str, str, float]], histogram: array[int]) -> tuple[int, int]:
    """How many were admitted, and nanoseconds for the longest; each check is entered into the histogram."""
    check = guard.check
    admitted = longest = 0
    for client, helo, mail_from, now in senders:
        begin = perf_counter_ns()
        envelope = Envelope(client_ip=client, helo=helo, mail_from=mail_from, rcpt_to="in@box.com")
        decision = check(envelope, now=now)
        took = perf_counter_ns() - begin
        histogram[min(took // BUCKET_NS, len(histogram) - 1)] += 1
        longest = max(longest, took)
        if decision:
            admitted += 1
    return admitted, longest


def quantile_us(histogram: array[int], part: float) -> float:
    """Upper edge of the class in which the quantile lies."""
    wanted = part * sum(histogram)
    seen = 0
    for place, count in enumerate(histogram):
        seen += count
        if count and seen >= wanted:
            return (place + 1) * BUCKET_NS / 1000
    return float("nan")


def measure(count: int, memory: str) -> Measured:
    """Runs ``count`` fresh senders through the policy of the speed bounds."""
    resident = psutil.Process().memory_info
    histogram = array("Q", bytes(8 * (LONGEST_NS // BUCKET_NS + 1)))
    batches_ns = array("d", bytes(8 * (count // BATCH)))
    timed = 0
    guard = Throttle(POLICY, memory=memory)
    before = guard.memory_bytes
    admitted = longest = 0
    after_warm_up = most = 0
    edges = [0, 0]  # batches timed as a whole when the first million was over, and when the last began
    for number, first in enumerate(range(0, count, BATCH)):
        senders = batch_of(first)
        if number % SAMPLED == SAMPLED - 1:
            more, took = one_by_one(guard, senders, histogram)
            longest = max(longest, took)
        else:
            more, batches_ns[timed] = together(guard, senders)
            timed += 1
        admitted += more
        edges[0] = timed if first < MILLION else edges[0]
        edges[1] = timed if first + BATCH <= count - MILLION else edges[1]
        if first + BATCH == WARM_UP:
            after_warm_up = most = resident().rss
        elif first >= WARM_UP:
            most = max(most, resident().rss)
    first_us = median(batches_ns[: edges[0]]) / BATCH / 1000
    last_us = median(batches_ns[edges[1] : timed]) / BATCH / 1000
    return Measured(
        checks=count,
        admitted=admitted,
        memory_bytes_before=before,
        memory_bytes_after=guard.memory_bytes,
        resident_growth_bytes=most - after_warm_up,
        first_million_median_us=first_us,
        last_million_median_us=last_us,
        ratio=last_us / first_us,
        p50_us=quantile_us(histogram, 0.5),
        p999_us=quantile_us(histogram, 0.999),
        longest_us=longest / 1000,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--count", type=int, default=10 * MILLION, help="checks: a multiple of 10,000, more than 100,000"
    )
    parser.add_argument("--memory", default="16 MiB")
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    arguments = parser.parse_args()
    if arguments.count % BATCH or arguments.count <= WARM_UP:
        parser.error(f"--count is {arguments.count}: a multiple of {BATCH:,} above {WARM_UP:,} is needed")
    measured = measure(arguments.count, arguments.memory)
    if arguments.json:
        json.dump(asdict(measured), sys.stdout)
        return
    print(f"{platform.platform()}, Python {platform.python_version()}, {arguments.memory}")
    for name, value in asdict(measured).items():
        print(f"{name:26} {value:>15,.3f}" if isinstance(value, float) else f"{name:26} {value:>15,}")


if __name__ == "__main__":
    main()
