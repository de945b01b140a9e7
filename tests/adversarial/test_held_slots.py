"""Held slots: networks that open all they can and let go of nothing for five minutes, beside a hundred that write
100,000 messages an hour.

What the attacker gains: of a cap that is shared by tenths, n networks that take all they can one after another leave
(10/11)ⁿ free, a seventh after
twenty; in turns, one slot each, they leave 10/(10 + n). They keep it for as long as they like.
What innocents lose: nothing while twenty networks do so, whatever they hold, nor against any number of addresses in one
IPv6 /48. Two hundred
networks do nothing in turns, but one after another they leave nothing but what is kept for those that hold nothing:
a network's first message passes, a second beside it waits. The figures are printed.
The same attacks on static caps (100 a network, 2000 and 1 GiB in all) are played beside it.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import pytest

from attack_table import Outcome
from throttle import Envelope, Limit, ManualClock, Permit, Policy, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

START = 1_795_541_400.0

INNOCENT_NETWORKS = 100

INNOCENT_GAP_S = 3600 / 100_000

INNOCENT_HOLDS_S = 2.0

# Of a hundred messages four are of a megabyte, and one is of five.
INNOCENT_BYTES = [75_000] * 95 + [1_000_000] * 4 + [5_000_000]

ATTACKER_HOLDS_S = 300.0

QUIET_S = 30

ATTACK_S = 630

# A network asks for the largest until it is refused, then for smaller ones: it leaves no room that it might have.
ATTACKER_BYTES = [25_000_000, 5_000_000, 1_000_000, 200_000, 40_000]

STATIC = Policy(
    [
        Limit(name="net-open", per="client.net", in_flight=100),
        Limit(name="all-open", per="global", in_flight=2000),
        Limit(name="all-bytes", per="global", in_flight="1 GiB"),
    ]
)


@dataclass
class Server:
    """Permits and when each is let go of."""

    guard: Throttle
    clock: ManualClock
    open: list[tuple[float, int, Permit]] = field(default_factory=list)
    numbers: count[int] = field(default_factory=count)

    def at(self, seconds: float) -> None:
        """Lets go of what has had its time by then."""
        while self.open and self.open[0][0] <= seconds:
            until, _, permit = heapq.heappop(self.open)
            self.clock.now = START + until
            permit.release()
        self.clock.now = START + seconds

    def admit(self, envelope: Envelope, seconds: float, holds: float) -> bool:
        permit = self.guard.admit(envelope)
        if permit:
            heapq.heappush(self.open, (seconds + holds, next(self.numbers), permit))
        return bool(permit)

    def close(self) -> None:
        """Lets go of all, and nothing is left."""
        self.open.clear()
        caps = {limit.name for limit in self.guard.policy.limits if "in_flight" in limit.fields}
        assert {table.used for table in self.guard.tables() if table.table in caps | {"permits"}} == {0}


@dataclass
class Played:
    """What came of it."""

    innocent: int = 0
    refused: int = 0
    refused_networks: set[int] = field(default_factory=set)
    most: int = 0

    @property
    def share(self) -> float:
        return self.refused / self.innocent


@dataclass(frozen=True)
class Attack:
    """Who asks from where, for what sizes; one after another all it can get, or in turns."""

    networks: list[Callable[[], Envelope]]
    sizes: list[int | None]
    in_turns: bool = False

    def ask(self, server: Server, second: float) -> None:
        for size in self.sizes:
            eager = list(self.networks)
            while eager:
                network = eager.pop(0)
                while server.admit(network().replace(size=size), second, ATTACKER_HOLDS_S):
                    if self.in_turns:
                        eager.append(network)
                        break


def play(policy: Policy | None, attack: Attack, rng: random.Random) -> Played:
    """Innocents by chance, and each second the attackers ask for all they can get."""
    clock = ManualClock(START)
    server, played = Server(Throttle(policy, clock=clock, seed=rng.randbytes(16)), clock), Played()
    innocents = [
        Envelope(client_ip=f"198.18.{net}.25", mail_from=f"a@sender{net}.com") for net in range(INNOCENT_NETWORKS)
    ]
    now, second = 0.0, QUIET_S
    while now < QUIET_S + ATTACK_S:
        now += rng.expovariate(1 / INNOCENT_GAP_S)
        while second <= now:
            server.at(second)
            attack.ask(server, second)
            second += 1
        server.at(now)
        net = rng.randrange(INNOCENT_NETWORKS)
        played.innocent += 1
        if not server.admit(innocents[net].replace(size=rng.choice(INNOCENT_BYTES)), now, INNOCENT_HOLDS_S):
            played.refused += 1
            played.refused_networks.add(net)
        played.most = max(played.most, len(server.open))
    server.close()
    return played


def networks(number: int) -> list[Callable[[], Envelope]]:
    """So many IPv4 /24, one sender each: no limit on names stands in their way."""

    def of(net: int) -> Callable[[], Envelope]:
        envelope = Envelope(client_ip=f"203.{net // 250}.{net % 250}.66", mail_from=f"x@junk{net}.com")
        return lambda: envelope

    return [of(net) for net in range(number)]


def one_48(rng: random.Random) -> list[Callable[[], Envelope]]:
    """Any address of one IPv6 /48: 65,536 networks of /64, and one owner."""

    def somewhere() -> Envelope:
        groups = ":".join(f"{rng.getrandbits(16):x}" for _ in range(5))
        return Envelope(client_ip=f"2001:db8:7:{groups}", mail_from="x@junk.com")

    return [somewhere]


def outcome(name: str, played: Played) -> Outcome:
    lost = {"messages": (played.refused, played.innocent)}
    return Outcome(f"networks that hold for five minutes all they may: {name}", lost=lost)


def told(name: str, policy: str, played: Played) -> str:
    return (
        f"{name}, {policy}: {played.refused} of {played.innocent} innocent messages refused ({100 * played.share:.2f} "
        f"%), "
        f"{len(played.refused_networks)} of {INNOCENT_NETWORKS} networks; {played.most} open at most"
    )


IDLE: list[int | None] = [None]

LARGE: list[int | None] = [*ATTACKER_BYTES]

ATTACKS: dict[str, Callable[[random.Random], Attack]] = {
    "20 networks, idle messages": lambda _: Attack(networks(20), IDLE),
    "one IPv6 /48, idle messages": lambda rng: Attack(one_48(rng), IDLE),
    "1 network, SIZE 25 MB": lambda _: Attack(networks(1), LARGE),
    "20 networks, SIZE 25 MB": lambda _: Attack(networks(20), LARGE),
    "one IPv6 /48, SIZE 25 MB": lambda rng: Attack(one_48(rng), LARGE),
}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_who_holds_all_it_can_gets_nobody_else_refused(
    name: str, rng: random.Random, capsys: pytest.CaptureFixture[str], write_outcome: Callable[[Outcome], None]
) -> None:
    shared = play(None, ATTACKS[name](rng), rng)
    static = play(STATIC, ATTACKS[name](rng), rng)
    with capsys.disabled():
        print(f"\n{told(name, 'inbound', shared)}\n{told(name, 'static caps', static)}")
    write_outcome(outcome(name, shared))
    assert shared.innocent > 15_000
    assert (shared.refused, shared.refused_networks) == (0, set())
    assert static.share > 0.2, "the attack is one"


def test_without_an_attack_nobody_is_refused(rng: random.Random) -> None:
    played = play(None, Attack([], IDLE), rng)
    assert (played.refused, played.refused_networks) == (0, set())
    assert 56 < played.most < 120, "they have 56 open on average"


@pytest.mark.parametrize("in_turns", [True, False])
def test_two_hundred_networks_do_hurt_and_how_much_is_told(
    in_turns: bool, rng: random.Random, capsys: pytest.CaptureFixture[str], write_outcome: Callable[[Outcome], None]
) -> None:
    attack = Attack(networks(200), IDLE, in_turns)
    shared, static = (play(policy, attack, rng) for policy in (None, STATIC))
    name = f"200 networks, idle messages, {'in turns' if in_turns else 'one after another'}"
    with capsys.disabled():
        print(f"\n{told(name, 'inbound', shared)}\n{told(name, 'static caps', static)}")
    write_outcome(outcome(name, shared))
    assert static.share > 0.8
    # One after another they leave 2000 · (10/11)²⁰⁰ to share: less than one. From the reserve of 500 they get one each.
    assert shared.share < (0.01 if in_turns else 0.4)
