"""``throttle.sketch`` beside ``datasketches``: error and time at equal memory, and what takes less memory than ours.

The error is the root of the mean square over several runs, each with a seed (of ours) and names of its own.
"""

import math
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import datasketches as peer  # type: ignore[import-untyped]
from benches.conftest import Benchmark, Findings

from throttle.bench.side_by_side import SHORT, Way, rounds, verdict
from throttle.sketch import CountMin, HyperLogLog

RUNS = 5 if SHORT else 20

#: Different keys, at each of which the error is looked at.
STEPS = [1_000, 10_000, 100_000] if SHORT else [1_000, 10_000, 100_000, 1_000_000]

PRECISION = 14

BATCH = 50_000
ROUNDS = 3 if SHORT else 15


def by_registers(sketch: HyperLogLog) -> float:
    """The estimate after a merge."""
    merged = HyperLogLog(PRECISION, seed=sketch.seed)
    merged.merge(sketch)
    return merged.estimate()


@dataclass(frozen=True)
class Distinct:
    """A way to count different keys."""

    name: str
    make: Callable[[], Any]
    add: Callable[[Any], Callable[[str], object]]
    estimate: Callable[[Any], float]
    size: Callable[[Any], int]


def hll(bits: int, kind: Any) -> Distinct:
    return Distinct(
        f"datasketches HLL_{bits}",
        lambda: peer.hll_sketch(PRECISION, kind),
        lambda sketch: sketch.update,
        lambda sketch: sketch.get_estimate(),
        lambda sketch: sketch.get_updatable_serialization_bytes(),
    )


DISTINCT = [
    Distinct(
        "HyperLogLog", HyperLogLog, lambda made: made.add, lambda made: made.estimate(), lambda made: made.memory_bytes
    ),
    Distinct("HyperLogLog, merged", HyperLogLog, lambda made: made.add, by_registers, lambda made: made.memory_bytes),
    hll(6, peer.HLL_6),
    hll(4, peer.HLL_4),
    Distinct(
        "datasketches CPC, serialised",
        lambda: peer.cpc_sketch(PRECISION),
        lambda sketch: sketch.update,
        lambda sketch: sketch.get_estimate(),
        lambda sketch: len(sketch.serialize()),
    ),
]


def root_mean_square(errors: list[float]) -> float:
    return math.sqrt(sum(error * error for error in errors) / len(errors))


def test_distinct_counts_beside_datasketches(benchmark: Benchmark, findings: Findings) -> None:
    errors: dict[str, dict[int, list[float]]] = {way.name: {step: [] for step in STEPS} for way in DISTINCT}
    sizes: dict[str, int] = {}
    for _ in range(RUNS):
        made = [way.make() for way in DISTINCT]
        adds = [way.add(sketch) for way, sketch in zip(DISTINCT, made, strict=True)]
        run, first = os.urandom(8).hex(), 0
        for step in STEPS:
            for number in range(first, step):
                key = f"{run}{number}@org.com"
                for add in adds:
                    add(key)
            first = step
            for way, sketch in zip(DISTINCT, made, strict=True):
                errors[way.name][step].append(way.estimate(sketch) / step - 1)
                sizes[way.name] = way.size(sketch)

    keys = [f"user{number}@org{number}.com" for number in range(BATCH)]

    def batch(way: Distinct) -> Callable[[], None]:
        add = way.add(way.make())

        def run() -> None:
            for key in keys:
                add(key)

        return run

    ways = [Way(way.name, batch(way), BATCH) for way in DISTINCT]
    benchmark.group = f"{BATCH:,} keys"
    benchmark.pedantic(lambda: rounds(ways, 1), rounds=ROUNDS)

    spread = {name: {step: root_mean_square(of) for step, of in steps.items()} for name, steps in errors.items()}
    # Of each way, over all runs: five sigma of theory for the widest of them, and a root mean square is narrower.
    assert all(error < 5 * 1.04 / 2 ** (PRECISION / 2) for of in spread.values() for error in of.values())
    by_name = {way.name: way.median for way in ways}
    ours, theirs = "HyperLogLog", "datasketches HLL_6"
    findings.tell(
        f"distinct keys: bytes, time of one addition, root mean square error over {RUNS} runs at "
        f"{', '.join(f'{step:,}' for step in STEPS)}",
        [
            *(
                f"{sizes[name]:8,}  {by_name[name]:6,.0f} ns  {'  '.join(f'{error:7.3%}' for error in of.values())}  "
                f"{name}"
                for name, of in spread.items()
            ),
            (
                f"theory: {0.833 / 2 ** (PRECISION / 2):.3%}, merged {1.04 / 2 ** (PRECISION / 2):.3%}; a figure of "
                f"{RUNS} runs is itself uncertain by {(2 * RUNS) ** -0.5:.0%}"
            ),
            f"time of HLL_6 / ours: {by_name[theirs] / by_name[ours]:.3g}",
        ],
        **{f"{name}, error": of[STEPS[-1]] for name, of in spread.items()},
        **{f"{name}, ns": ns for name, ns in by_name.items()},
    )


WIDTH, DEPTH = 2_000, 4
SENDERS, MESSAGES = 50_000, 100_000 if SHORT else 500_000


def test_counts_beside_datasketches(benchmark: Benchmark, findings: Findings) -> None:
    rng = random.Random(5)
    weights = list(accumulate(rank**-1.1 for rank in range(1, SENDERS + 1)))
    stream = rng.choices(
        [f"user{number}@org{number}.com" for number in range(SENDERS)], cum_weights=weights, k=MESSAGES
    )
    truth = Counter(stream)
    ours, theirs = CountMin(WIDTH, DEPTH), peer.count_min_sketch(DEPTH, WIDTH)
    for key in stream:
        ours.add(key)
        theirs.update(key)

    def errors(estimate: Callable[[str], float]) -> tuple[float, float, float]:
        off = sorted(estimate(key) - count for key, count in truth.items())
        assert off[0] >= 0, "an estimate below the truth"
        return sum(off) / len(off), off[int(0.999 * len(off))], off[-1]

    found = {"CountMin": errors(ours.estimate), "datasketches": errors(theirs.get_estimate)}

    def batch(add: Callable[[str], object]) -> Callable[[], None]:
        def run() -> None:
            for key in stream[:BATCH]:
                add(key)

        return run

    ways = [Way("CountMin", batch(ours.add), BATCH), Way("datasketches", batch(theirs.update), BATCH)]
    benchmark.group = f"{BATCH:,} keys"
    benchmark.pedantic(lambda: rounds(ways, 1), rounds=ROUNDS)

    ratio = found["CountMin"][0] / found["datasketches"][0]
    findings.tell(
        f"counts: {DEPTH} × {WIDTH:,} cells, {8 * DEPTH * WIDTH:,} bytes in both, {MESSAGES:,} messages of "
        f"{len(truth):,} senders (Zipf 1.1); "
        "time of one addition, error in messages: mean, 99.9 %, largest",
        [
            *(
                f"{way.median:6,.0f} ns  {'  '.join(f'{error:8,.1f}' for error in found[way.name])}  {way.name}"
                for way in ways
            ),
            f"e · N / width: {math.e * MESSAGES / WIDTH:,.1f}",
            verdict("mean error, ours / theirs", ratio, at_most=1),
        ],
        ratio=ratio,
        **{f"{way.name}, ns": way.median for way in ways},
    )
