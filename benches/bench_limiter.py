"""``RateLimiter.hit`` beside the peers, on the same keys, and the memory that a million keys take in each."""

import gc
import multiprocessing
from itertools import cycle, islice

import psutil
import pytest
from benches.conftest import Benchmark, Findings

from throttle.bench import peers
from throttle.bench.side_by_side import SHORT, Way, verdict

BATCH = 20_000
ROUNDS = 3 if SHORT else 15

#: Ours first.
MAKERS = (peers.ours, *peers.installed()[0])

ROTATING = [f"user{number}@org{number}.com" for number in range(100_000)]

#: Keys, and what each may send in a minute.
SHAPES = {
    "hot key, refused": (["user@org.com"], 100),
    "hot key, admitted": (["user@org.com"], 10_000_000),
    "100,000 keys in turn, admitted": (ROTATING, 1_000),
}

UNIQUE = 50_000 if SHORT else 1_000_000


class Hits:
    """Batches of hits of one peer, and a sample of its answers."""

    def __init__(self, peer: peers.Peer, keys: list[str]) -> None:
        self._peer = peer
        self._keys = cycle(keys)
        for _ in range(max(len(keys), 200)):
            peer.hit(next(self._keys))
        self.asked = self.admitted = 0

    def batch(self) -> None:
        hit = self._peer.hit
        for key in islice(self._keys, BATCH):
            hit(key)

    def settle(self) -> None:
        """Between batches, and not timed: were they what the shape says?"""
        for key in islice(self._keys, 100):
            self.asked += 1
            self.admitted += self._peer.admitted(self._peer.hit(key))
        self._peer.settle()


@pytest.mark.parametrize("shape", SHAPES)
def test_hit_beside_the_peers(shape: str, benchmark: Benchmark, findings: Findings) -> None:
    keys, per_minute = SHAPES[shape]
    made = [make(per_minute) for make in MAKERS]
    hits = [Hits(peer, keys) for peer in made]
    ways = [Way(peer.name, each.batch, BATCH, each.settle) for peer, each in zip(made, hits, strict=True)]
    for each in hits:
        each.settle()
    ours, *others = ways

    def the_others() -> None:
        for way in others:
            way.run()

    benchmark.group = f"{BATCH:,} hits"
    benchmark.pedantic(ours.run, setup=the_others, rounds=ROUNDS)

    for peer, each in zip(made, hits, strict=True):
        share = each.admitted / each.asked
        assert share <= 0.01 if "refused" in shape else share == 1.0, f"{peer.name} admitted {share:.2%}"
    best = min(way.median for way, peer in zip(ways, made, strict=True) if peer.alike)
    findings.tell(
        f"hit: {shape}; processor time, medians of {ROUNDS} rounds",
        [
            *(f"{way.median:8,.0f} ns  {way.median / ours.median:6.1f} ×  {way.name}" for way in ways),
            verdict("best GCRA or token bucket of the peers / ours", best / ours.median, at_least=10),
        ],
        ratio=best / ours.median,
        **{way.name: way.median for way in ways},
    )


def growth(place: int, keys: int, answers: "multiprocessing.SimpleQueue[int]") -> None:
    """In a process of its own: what the resident set grows by over ``keys`` unique keys."""
    peer = MAKERS[place](100)
    peer.hit("first@org.com")
    gc.collect()
    before = psutil.Process().memory_info().rss
    for number in range(keys):
        peer.hit(f"user{number}@org{number}.com")
    peer.settle()
    gc.collect()
    answers.put(psutil.Process().memory_info().rss - before)


def test_memory_of_unique_keys(benchmark: Benchmark, findings: Findings) -> None:
    spawn = multiprocessing.get_context("spawn")
    grown: dict[str, int] = {}

    def measure() -> None:
        for place, make in enumerate(MAKERS):
            answers: multiprocessing.SimpleQueue[int] = spawn.SimpleQueue()
            process = spawn.Process(target=growth, args=(place, UNIQUE, answers))
            process.start()
            grown[make(100).name] = answers.get()
            process.join()

    benchmark.group = f"{UNIQUE:,} unique keys in each"
    benchmark.pedantic(measure, rounds=1)

    findings.tell(
        f"resident growth over {UNIQUE:,} unique keys, each in a process of its own; ours takes its 2 MiB at the start",
        [f"{size / 2**20:8.1f} MiB  {size / UNIQUE:6.0f} bytes a key  {name}" for name, size in grown.items()],
        **grown,
    )
