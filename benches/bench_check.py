"""A whole check from Python beside one hit of the peer that most people would take.

A million senders take turns through ``inbound`` in 16 MiB, more than it remembers: nearly every host and organisation
is new each time and
displaces another. That is the dearest check there is, short of a refused one. Then the same under a policy with every
kind of limit at once.
"""

import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import pytest
from benches.conftest import Benchmark, Findings

from throttle import Decision, Envelope, Limit, Policy, Throttle
from throttle.bench import traffic
from throttle.bench.peers.limits import moving_window
from throttle.bench.side_by_side import SHORT, Way, rounds, verdict

#: Calls of a batch: long enough for a sweep of the peer's to fall into its own batch as it would when nothing paused.
BATCH = 50_000
ROUNDS = 4 if SHORT else 20

KEYS = 100_000

#: Seconds of hits before the peer is timed. Its cost grows with what its window holds, and a window of a minute that
#: has just been opened holds nothing.
#: The short way stops long before it is full, which flatters the peer.
WARM_SECONDS = 8 if SHORT else 60


#: What every bound on speed is measured under: `inbound` as it was when the bounds were set.
INBOUND = Path(__file__).with_name("inbound-1.toml")

#: One limit of every kind there is.
EVERY_KIND = Path(__file__).with_name("every_kind.toml")

#: What the longest of a thousand checks may take, in medians.
TAIL = 20


class Checks:
    """Checks in turn, and how many of them were admitted."""

    def __init__(self, policy: Path = INBOUND, size: int | None = None) -> None:
        """With a ``size`` who sends has signed in, too."""
        self._guard = Throttle(policy, memory="16 MiB")
        self._size = size
        self._batches = traffic.in_batches(traffic.senders(), BATCH)
        self._now = traffic.START
        self.forget()
        for _ in range(traffic.SENDERS // BATCH):
            self.batch()

    def forget(self) -> None:
        """Counts from here."""
        self.made = self.admitted = 0

    def batch(self) -> None:
        """What a policy server does; the envelope is part of it."""
        check, now, admitted, size = self._guard.check, self._now, 0, self._size
        for client_ip, helo, mail_from in next(self._batches):
            now += traffic.PACE
            if check(
                Envelope(client_ip=client_ip, helo=helo, mail_from=mail_from, rcpt_to=traffic.RECIPIENT)
                if size is None
                else Envelope(
                    client_ip=client_ip,
                    helo=helo,
                    mail_from=mail_from,
                    rcpt_to=traffic.RECIPIENT,
                    auth_user=mail_from,
                    size=size,
                ),
                now=now,
            ):
                admitted += 1
        self._now = now
        self.made += BATCH
        self.admitted += admitted

    def times(self) -> list[int]:
        """Nanoseconds of each check of a batch, by the wall clock."""
        check, now, read, times = self._guard.check, self._now, time.perf_counter_ns, []
        for client_ip, helo, mail_from in next(self._batches):
            now += traffic.PACE
            start = read()
            check(Envelope(client_ip=client_ip, helo=helo, mail_from=mail_from, rcpt_to=traffic.RECIPIENT), now=now)
            times.append(read() - start)
        self._now = now
        return times

    @property
    def admitted_share(self) -> float:
        return self.admitted / self.made


class Hits:
    """Admitted hits of the peer, over rotating keys."""

    def __init__(self) -> None:
        self.peer = moving_window(100)
        self._keys = cycle([f"user{number}@org{number}.com" for number in range(KEYS)])
        self.made = self.admitted = 0
        start = time.monotonic()
        while time.monotonic() - start < WARM_SECONDS:
            self.batch()

    def batch(self) -> None:
        hit, admitted = self.peer.hit, 0
        for key in islice(self._keys, BATCH):
            if hit(key):
                admitted += 1
        self.made += BATCH
        self.admitted += admitted


@pytest.fixture(scope="module")
def checks() -> Checks:
    return Checks()


def test_check_beside_an_admitted_hit_of_limits(checks: Checks, benchmark: Benchmark, findings: Findings) -> None:
    hits = Hits()
    checks.forget()
    ours = Way("throttle: check(Envelope(...))", checks.batch, BATCH)
    theirs = Way("limits: moving window, one hit, 100,000 keys in turn", hits.batch, BATCH, hits.peer.settle)
    hits.peer.settle()
    benchmark.group = f"{BATCH:,} checks"
    benchmark.pedantic(ours.run, setup=theirs.run, rounds=ROUNDS)

    assert checks.admitted_share >= 0.95
    assert hits.admitted == hits.made
    ratio = ours.median / theirs.median
    findings.tell(
        f"check(Envelope(...)): {traffic.SENDERS:,} senders in turn, inbound, 16 MiB; processor time, medians of "
        f"{ROUNDS} rounds",
        [
            f"admitted: {checks.admitted_share:.2%} of {checks.made:,}, at least 95 %",
            *(f"{way.median:8,.0f} ns  {way.name}" for way in (ours, theirs)),
            verdict("check / hit", ratio, at_most=1 / 8),
        ],
        check_ns=ours.median,
        peer_ns=theirs.median,
        ratio=ratio,
        admitted=checks.admitted_share,
    )


def test_check_one_by_one(checks: Checks, benchmark: Benchmark, findings: Findings) -> None:
    batches = 4 if SHORT else 20
    times: list[int] = []
    benchmark.group = f"{BATCH:,} checks"
    benchmark.pedantic(lambda: times.extend(checks.times()), rounds=batches)

    times.sort()
    quantiles = {f"p{part * 100:g}": times[int(part * len(times))] for part in (0.5, 0.99, 0.999)}
    findings.tell(
        f"one check, of {len(times):,}; wall clock, so what else runs here is in it",
        [
            "  ".join(f"{name} {ns / 1000:.2f} µs" for name, ns in quantiles.items()),
            verdict("p99.9 / median", quantiles["p99.9"] / quantiles["p50"], at_most=TAIL),
        ],
        **quantiles,
    )


def test_check_under_every_kind_of_limit(checks: Checks, benchmark: Benchmark, findings: Findings) -> None:
    """Both in turn. A user has signed in and declared a size, which `inbound` does not look at."""
    all_kinds = Checks(EVERY_KIND, size=50_000)
    limits = len(Policy.from_file(EVERY_KIND).limits)
    checks.forget()
    all_kinds.forget()
    inbound = Way("inbound", checks.batch, BATCH)
    every = Way(f"every kind of limit at once, {limits} limits", all_kinds.batch, BATCH)
    benchmark.group = f"{BATCH:,} checks"
    benchmark.pedantic(every.run, setup=inbound.run, rounds=ROUNDS)

    assert all_kinds.admitted_share >= 0.95
    findings.tell(
        f"check(Envelope(...)): {traffic.SENDERS:,} senders in turn, 16 MiB; processor time, medians of {ROUNDS} "
        f"rounds",
        [
            f"admitted: {all_kinds.admitted_share:.2%} of {all_kinds.made:,}, at least 95 %",
            *(f"{way.median:8,.0f} ns  {way.median / inbound.median:5.2f} ×  {way.name}" for way in (inbound, every)),
            f"of {limits} limits each costs {every.median / limits:,.0f} ns",
        ],
        every_kind_ns=every.median,
        inbound_ns=inbound.median,
        admitted=all_kinds.admitted_share,
    )


def test_where_the_time_of_a_check_goes(benchmark: Benchmark, findings: Findings) -> None:
    """By elimination: each way does a little more than the one before."""
    guard = Throttle(INBOUND, memory="16 MiB")
    idle = Throttle(
        # No client here has a name.
        Policy([Limit(name="client-pace", per="client.org", rate="1/minute")]),
        memory="1 MiB",
    )
    batches = traffic.in_batches(traffic.senders(100_000), 5_000)
    now = traffic.START

    def loop() -> None:
        nonlocal now
        for _sender in next(batches):
            now += traffic.PACE

    def construct() -> None:
        nonlocal now
        for sender in next(batches):
            now += traffic.PACE
            traffic.envelope(sender)

    def ask(question: Callable[..., Decision]) -> Callable[[], None]:
        def batch() -> None:
            nonlocal now
            for sender in next(batches):
                now += traffic.PACE
                question(traffic.envelope(sender), now=now)

        return batch

    steps = {
        "the loop": loop,
        "+ Envelope(...)": construct,
        "+ into Rust and back, nothing asked": ask(idle.check),
        "+ identities, keys, consulting": ask(guard.peek),
        "+ charging": ask(guard.check),
    }
    ways = [Way(name, step, 5_000) for name, step in steps.items()]
    benchmark.group = "steps"
    benchmark.pedantic(lambda: rounds(ways, 1), rounds=10 if SHORT else 40)

    lines, before = [], 0.0
    for way in ways:
        lines.append(f"{way.median:8,.0f} ns  {way.median - before:+8,.0f}  {way.name}")
        before = way.median
    findings.tell("where a check spends its time; processor time", lines, **{way.name: way.median for way in ways})
