"""What `throttle bench` times: groups of calls that may be compared, ours first.

It knows no clock but those inside the limiters. Invariant: every group is timed in one interleaved run, and says what
share of its calls was admitted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from throttle import Envelope, Policy, Throttle, policies
from throttle.bench import peers, traffic
from throttle.bench.side_by_side import Way
from throttle.sketch import CountMin, HyperLogLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from throttle.bench.peers import Peer

#: Calls of a batch.
BATCH = 5_000

SENDERS = 100_000

KEYS = 100_000

PER_MINUTE = 100_000


@dataclass
class Tally:
    """How many were asked and admitted."""

    asked: int = 0
    admitted: int = 0

    @property
    def share(self) -> float | None:
        """None where nobody was asked: a sketch refuses nothing."""
        return self.admitted / self.asked if self.asked else None


@dataclass
class Group:
    """Ways to do about the same, and what became of their calls."""

    title: str
    ways: list[Way]
    tallies: list[Tally] = field(default_factory=list)


def builtin_policies() -> list[str]:
    """The names of the policies that the package brings, `inbound` first."""
    return sorted(policies.names(), key=lambda name: name != "inbound")


def groups() -> tuple[Iterator[Group], int, list[str]]:
    """Each group when it is its turn, how many there are, and the distributions that are missing."""
    makers, missing = peers.installed()
    sketches, no_sketches = _sketches()
    made: list[Callable[[], Group]] = [
        lambda: _checks(makers),
        lambda: _hits("RateLimiter.hit, 100,000 keys in turn, admitted", _keys(), makers, PER_MINUTE),
        lambda: _hits("RateLimiter.hit, one key, refused", ["user@org.com"], makers, 100),
        *sketches,
    ]
    return (make() for make in made), len(made), missing + no_sketches


def _keys() -> list[str]:
    return [f"user{number}@org{number}.com" for number in range(KEYS)]


def _checks(makers: list[peers.Maker]) -> Group:
    group = Group(f"check(Envelope(...)), {SENDERS:,} senders in turn, 16 MiB; peers: one hit a message", [])
    senders = traffic.senders(SENDERS)
    for name in builtin_policies():
        policy = Policy.builtin(name)
        signed_in = all("auth.user" in str(limit.per) for limit in policy.limits)
        _add(
            group,
            f"throttle, {name}",
            _checking(Throttle(policy, memory="16 MiB"), senders, signed_in, tally := Tally()),
            tally,
        )
    for peer in (make(PER_MINUTE) for make in makers):
        _add(
            group,
            f"{peer.name}, one hit",
            _hitting(peer, [sender[2] for sender in senders], tally := Tally()),
            tally,
            peer,
        )
    return group


def _hits(title: str, keys: list[str], makers: list[peers.Maker], per_minute: int) -> Group:
    group = Group(title, [])
    for make in [peers.ours, peers.our_window, *makers]:
        peer = make(per_minute)
        for key in islice(cycle(keys), max(len(keys), 2 * per_minute if len(keys) == 1 else 0)):
            peer.hit(key)
        _add(group, peer.name, _hitting(peer, keys, tally := Tally()), tally, peer)
    return group


def _add(group: Group, name: str, batch: Callable[[], None], tally: Tally, peer: Peer | None = None) -> None:
    group.ways.append(Way(name, batch, BATCH, peer.settle if peer else lambda: None))
    group.tallies.append(tally)


def _checking(guard: Throttle, senders: list[traffic.Sender], signed_in: bool, tally: Tally) -> Callable[[], None]:
    check, batches, now = guard.check, traffic.in_batches(senders, BATCH), traffic.START

    def batch() -> None:
        nonlocal now
        admitted = 0
        for client_ip, helo, mail_from in next(batches):
            now += traffic.PACE
            if check(
                Envelope(
                    client_ip=client_ip,
                    helo=helo,
                    mail_from=mail_from,
                    rcpt_to=traffic.RECIPIENT,
                    auth_user=mail_from if signed_in else None,
                ),
                now=now,
            ):
                admitted += 1
        tally.asked += BATCH
        tally.admitted += admitted

    return batch


def _hitting(peer: Peer, keys: list[str], tally: Tally) -> Callable[[], None]:
    turn, hit, means = cycle(keys), peer.hit, peer.admitted

    def batch() -> None:
        answer: Any = None
        for key in islice(turn, BATCH):
            answer = hit(key)
        # One of a batch: to ask them all would be timed.
        tally.asked += 1
        tally.admitted += means(answer)

    return batch


def _sketches() -> tuple[list[Callable[[], Group]], list[str]]:
    try:
        import datasketches as peer  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        peer = None

    def adding(add: Callable[[str], object]) -> Callable[[], None]:
        turn = cycle(_keys())

        def batch() -> None:
            for key in islice(turn, BATCH):
                add(key)

        return batch

    def group(title: str, adds: dict[str, Callable[[str], object]]) -> Group:
        return Group(title, [Way(name, adding(add), BATCH) for name, add in adds.items()], [Tally() for _ in adds])

    def counts() -> Group:
        adds: dict[str, Callable[[str], object]] = {"throttle, CountMin.add": CountMin(2_000, 4).add}
        if peer:
            adds["datasketches, count_min_sketch.update"] = peer.count_min_sketch(4, 2_000).update
        return group("how often: 4 × 2,000 cells of 8 bytes", adds)

    def distinct() -> Group:
        adds: dict[str, Callable[[str], object]] = {"throttle, HyperLogLog.add": HyperLogLog(14).add}
        if peer:
            adds["datasketches, hll_sketch.update (HLL_6)"] = peer.hll_sketch(14, peer.HLL_6).update
        return group("how many different: 2¹⁴ registers", adds)

    return [counts, distinct], [] if peer else ["datasketches"]
