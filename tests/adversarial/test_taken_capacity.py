"""Capacity that one client takes and keeps: idle connections, declared sizes, a network's allowance.

Gain: of everything that is shared, a client, its network and the block of its owner hold a part of what is still free,
and of what is kept for those that hold nothing at most a twentieth, by many clients that hold one each. Of a network's
rates one client has a third or a half.
Innocents lose: nothing, nor do the neighbours of a few clients that hold all that their block may have: each has its
first message of up to 1 MB. A message of more than 1 MB waits when a hundred networks hold all they can; the table says
which size still passes. A few clients together use up what their network has.
Each attack is played against the first `inbound` too, where innocents do lose. Its "always one message" was not
bounded, and cannot be played any more: there one idle session with SIZE=1073741824 refused 200 of 200.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from attack import in_words
from attack_table import Outcome
from throttle import Envelope, ManualClock, Policy, PolicyError, Session, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

START = 1_795_541_400.0

FIRST_INBOUND = Policy.from_file(Path(__file__).parents[2] / "benches/inbound-1.toml")

MB = 1_000_000

#: The largest message of servers: many by default, many in companies, the largest providers.
LARGEST = (10 * MB, 32 * MB, 150 * MB)

GIB = 1 << 30

PAGE = Path(__file__).parents[2] / "docs/inbound.md"


def attacker(network: int, client: int = 66) -> str:
    """An address in one of the attacker's networks."""
    return f"203.{network // 250}.{network % 250}.{client}"


def innocent(number: int) -> str:
    """An address in a network of its own."""
    return f"198.{18 + number // 250}.{number % 250}.25"


def six(site: int, bits: int) -> str:
    """An address in a /48 of a block of so many bits."""
    prefix = 0x2A0E_B000_0000 >> (48 - bits) << (48 - bits)
    groups = prefix | site
    return f"{groups >> 32:x}:{groups >> 16 & 0xFFFF:x}:{groups & 0xFFFF:x}::25"


@dataclass
class Server:
    """Sessions that are open."""

    guard: Throttle
    held: list[Session] = field(default_factory=list)

    def connects(self, client: str, *, keeps: bool = True) -> bool:
        """Whether the connection is admitted; it stays open and idle, unless it is closed at once."""
        session = self.guard.session(client_ip=client)
        admitted = bool(session.connect())
        return self._ends(session, admitted, keeps)

    def sends(self, client: str, size: int | None, *, keeps: bool = True) -> bool:
        """Whether a message is admitted up to its recipient; then it idles, unless it is delivered at once."""
        session = self.guard.session(client_ip=client)
        sender = f"a@of-{client.replace('.', '-').replace(':', '-')}.com"
        admitted = session.connect() and session.helo("mx") and session.mail(sender, size=size)
        return self._ends(session, bool(admitted and session.rcpt("joe@box.com")), keeps)

    def _ends(self, session: Session, admitted: bool, keeps: bool) -> bool:
        if admitted and keeps:
            self.held.append(session)
        else:
            session.close()
        return admitted

    def close(self) -> None:
        """Closes all, and nothing is left."""
        while self.held:
            self.held.pop().close()
        used = {table.table: table.used for table in self.guard.tables()}
        caps = {limit.name for limit in self.guard.policy.limits if "in_flight" in limit.fields}
        assert {used[name] for name in caps | {"permits"}} == {0}
        assert {count for name, count in used.items() if name.startswith("in flight")} == {0}


@pytest.fixture
def server(rng: random.Random) -> Callable[..., Server]:
    return lambda policy=None: Server(Throttle(policy, clock=ManualClock(START), seed=rng.randbytes(16)))


def refused(answers: Iterable[bool]) -> int:
    return sum(not answer for answer in answers)


def test_one_idle_session_with_a_huge_size_refuses_nobody(
    server: Callable[..., Server], write_outcome: Callable[[Outcome], None]
) -> None:
    at = server()
    assert not at.sends(attacker(0), GIB), "more than passes when nothing is held"
    # So it takes all it can, in whatever pieces.
    taken = 0
    for size in (190 * MB, *LARGEST, 5 * MB, MB, 1000):
        while at.sends(attacker(0), size):
            taken += size
    one_by_one = refused(at.sends(innocent(number), 10 * MB, keeps=False) for number in range(200))
    at_once = refused(at.sends(innocent(number), (75_000, MB, 10 * MB)[number % 3]) for number in range(200))
    lost = {"messages of up to 10 MB": (one_by_one + at_once, 400)}
    write_outcome(
        Outcome(
            "one client that declares all the bytes it can, beside messages of up to 10 MB",
            taken // MB,
            unit="MB",
            lost=lost,
        )
    )
    assert (one_by_one, at_once) == (0, 0)
    at.close()


def take_bytes(at: Server, networks: int, largest: int, *, clients: int = 1) -> None:
    """Each network holds the largest message; then all of them, in turns, whatever else they get."""
    for network in range(networks):
        at.sends(attacker(network), largest)
    for size in sorted({largest, 10 * MB, MB, 100_000, 10_000}, reverse=True):
        eager = [(network, client) for network in range(networks) for client in range(clients)]
        while eager:
            eager = [(network, client) for network, client in eager if at.sends(attacker(network, client), size)]


def documented(networks: int, largest: int) -> list[float]:
    """What the page says that still passes, in megabytes: with one client in each network, and with three."""
    (row,) = re.findall(rf"^\| {networks} \|(.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    cell = row.split("|")[LARGEST.index(largest)]
    return [float(number) for number in re.findall(r"[\d.]+", cell)]


@pytest.mark.parametrize("networks", [1, 20, 100])
@pytest.mark.parametrize("largest", LARGEST)
def test_a_first_message_of_a_megabyte_passes_whatever_others_declare(
    largest: int, networks: int, server: Callable[..., Server], write_outcome: Callable[[Outcome], None]
) -> None:
    told: list[float] = []
    lost = 0
    for clients in (1, 3):
        at = server()
        assert at.sends(innocent(0), largest, keeps=False), "nothing is held"
        take_bytes(at, networks, largest, clients=clients)
        envelope = Envelope(client_ip=innocent(999), mail_from="a@b.com")
        low, high = 0, 2 * GIB
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if at.guard.peek(envelope.replace(size=middle)) else (low, middle - 1)
        lost += refused(at.sends(innocent(number), MB) for number in range(30))
        told.append(low / MB)
        assert low >= MB
        at.close()
    print(
        f"{networks} networks that declare {largest // MB} MB and all they can: a first message of {told[0]:.1f} MB "
        f"passes, {told[1]:.1f} MB if each has three clients"
    )
    assert told == pytest.approx(documented(networks, largest), abs=0.5)
    name = f"networks that declare all the bytes they can, beside first messages of 1 MB: {in_words(networks)}"
    write_outcome(Outcome(name, lost={"first messages of 1 MB": (lost, 60)}))
    assert lost == 0


def test_the_first_inbound_left_next_to_nothing(server: Callable[..., Server]) -> None:
    at = server(FIRST_INBOUND)
    take_bytes(at, 200, 10 * MB)
    assert refused(at.sends(innocent(number), MB, keeps=False) for number in range(30)) == 30
    at.close()


def test_the_largest_message_is_checked_with_the_policy() -> None:
    text = 'extends = "inbound"\nlargest_message = "{}"\n'
    for size in ("10 MB", "32 MiB", "150 MiB"):
        assert Policy.parse(text.format(size)).largest_message
    with pytest.raises(PolicyError, match="all-bytes"):
        Policy.parse(text.format("200 MiB"))
    with pytest.raises(PolicyError, match="all-bytes"):
        Policy.parse(text.format("150 MB") + "scale = 0.5\n")


NEIGHBOURS = {
    "253 neighbours in its /24": ([f"203.0.113.{1 + n}" for n in range(254)], 253),
    "1,000 customers in its /48": ([f"2a01:4f8:7:{n:x}::2" for n in range(1001)], 200),
}


@pytest.mark.parametrize("name", list(NEIGHBOURS))
def test_one_address_with_a_hundred_idle_connections_refuses_no_neighbour(
    name: str, server: Callable[..., Server], write_outcome: Callable[[Outcome], None]
) -> None:
    (own, *others), together = NEIGHBOURS[name]

    def play(at: Server) -> tuple[int, int, int]:
        idle = sum(at.connects(own) for _ in range(300))
        one_by_one = refused(at.connects(address, keeps=False) for address in others)
        at_once = refused(at.connects(address) for address in others[:together])
        at.close()
        return idle, one_by_one, at_once

    idle, one_by_one, at_once = play(server())
    print(f"one address with {idle} idle connections: {one_by_one} of {name} refused; {at_once} of {together} at once")
    lost = {"connections of neighbours": (one_by_one + at_once, len(others) + together)}
    write_outcome(Outcome(f"idle connections from one address: {name}", idle, 300, "connections", lost))
    assert (idle, one_by_one, at_once) == (100, 0, 0)
    assert play(server(FIRST_INBOUND))[1:] == (len(others), together)


def take_connections(at: Server, networks: int, clients: int, *, in_turns: bool) -> int:
    """A hundred connections of each network, as far as they are admitted."""
    before = len(at.held)
    tries = [(network, n % clients) for network in range(networks) for n in range(100)]
    if in_turns:
        tries.sort(key=lambda it: it[1])
        tries = [(network, n % clients) for n in range(100) for network in range(networks)]
    for network, client in tries:
        at.connects(attacker(network, client))
    return len(at.held) - before


@pytest.mark.parametrize("in_turns", [True, False])
@pytest.mark.parametrize("clients", [1, 100])
@pytest.mark.parametrize("networks", [100, 400])
def test_networks_full_of_idle_connections_refuse_nobody_at_connect(
    networks: int, clients: int, in_turns: bool, server: Callable[..., Server], write_outcome: Callable[[Outcome], None]
) -> None:
    at = server()
    taken = take_connections(at, networks, clients, in_turns=in_turns)
    lost = refused(at.connects(innocent(number)) for number in range(300))
    at.close()
    order = "in turns" if in_turns else "one after another"
    each = f"{clients} client{'s' * (clients > 1)} each"
    name = f"100 idle connections from each network: {in_words(networks)}, {each}, {order}"
    write_outcome(Outcome(name, taken, 100 * networks, "connections", {"first connections": (lost, 300)}))
    assert lost == 0


def test_the_first_inbound_refused_everybody_at_connect(server: Callable[..., Server]) -> None:
    at = server(FIRST_INBOUND)
    assert take_connections(at, 100, 1, in_turns=False) == 10_000
    assert refused(at.connects(innocent(number)) for number in range(300)) == 300
    at.close()


@pytest.mark.parametrize("bits", [41, 32, 29])
def test_the_holder_of_a_block_takes_a_quarter_of_what_is_free(
    bits: int, server: Callable[..., Server], write_outcome: Callable[[Outcome], None]
) -> None:
    def play(policy: Policy | None) -> tuple[int, int, int, int]:
        at = server(policy)
        sites = 1 << min(48 - bits, 12)
        step = (1 << 48 - bits) // sites
        taken = sum(at.connects(six(n % sites * step, bits)) for n in range(12_000))
        lost = refused(at.connects(innocent(number)) for number in range(300))
        at.close()
        at = server(policy)
        declared = sum(at.sends(six(n % sites * step, bits), 10 * MB) for n in range(3_000))
        waiting = refused(at.sends(innocent(number), 10 * MB, keeps=False) for number in range(300))
        at.close()
        return taken, lost, declared, waiting

    taken, lost, declared, waiting = play(None)
    name = f"idle connections from one IPv6 block: /{bits}"
    write_outcome(Outcome(name, taken, 12_000, "connections", {"first connections": (lost, 300)}))
    name = f"declared messages of 10 MB from one IPv6 block: /{bits}"
    write_outcome(Outcome(name, declared, 3_000, "messages of 10 MB", {"messages of 10 MB": (waiting, 300)}))
    assert (lost, waiting) == (0, 0)
    assert taken <= 6_500 / 4
    assert declared * 10 * MB <= 2 * GIB / 4
    assert play(FIRST_INBOUND)[1] == 300


@pytest.mark.parametrize("bits", [41, 29])
def test_the_holder_of_a_block_gets_little_by_networks_that_hold_nothing(
    bits: int, server: Callable[..., Server], write_outcome: Callable[[Outcome], None]
) -> None:
    """Nine of its networks take all that they can, then each of the others its first."""
    at = server()
    few, many = range(9), range(9, 128)
    step = (1 << 48 - bits) // 128
    for site in few:
        while at.connects(six(site * step, bits)):
            pass
    by_few = len(at.held)
    connections = by_few + sum(at.connects(six(site * step, bits)) for site in many)
    at.close()
    in_bytes = 0
    for size in SIZES[1:]:
        for site in few:
            while at.sends(six(site * step, bits), size):
                in_bytes += size
    for size in SIZES[SIZES.index(MB) :]:
        in_bytes += sum(size * at.sends(six(site * step, bits), size) for site in many)
    at.close()
    print(f"the holder of a /{bits}: {by_few} connections by 9 networks, {connections} in all, and {in_bytes / MB} MB")
    name = f"connections of the holder of an IPv6 block, the last of each from an empty network: /{bits}"
    write_outcome(Outcome(name, connections, unit="connections"))
    # A fifth of the 4,500 that are shared, and of the 500 for neighbours; of 1856 MiB and 48 MiB.
    assert (by_few, connections) == (900, 1_000)
    assert in_bytes <= (1856 + 48) * (1 << 20) / 5 + MB


#: The client of a number, each in a network of its own where the block has several.
BLOCKS: dict[str, Callable[[int], str]] = {
    "a hoster's IPv6 /29": lambda n: f"2a01:4f8:{n:x}:{n:x}::1",
    "an IPv4 /24": lambda n: f"203.0.113.{n}",
}


@dataclass(frozen=True)
class Few:
    """A few clients of one block, which hold all they get."""

    block: str
    clients: int
    #: The largest size that the server takes; `None`: the messages declare none.
    size: int | None
    #: Whether they only connect.
    connects: bool = False
    #: How many neighbours have their first at once, at least.
    at_once: int = 0

    def play(self, at: Server) -> None:
        sizes = [self.size] if self.size is None else [s for s in SIZES if s <= self.size]
        for size in sizes:
            eager = list(range(self.clients))
            while eager:
                eager = [n for n in eager if self.opens(at, n, size)]

    def opens(self, at: Server, number: int, size: int | None, *, keeps: bool = True) -> bool:
        client = BLOCKS[self.block](number)
        return at.connects(client, keeps=keeps) if self.connects else at.sends(client, size, keeps=keeps)


SIZES = [1_000 * MB, 190 * MB, 150 * MB, 50 * MB, 25 * MB, 10 * MB, 3 * MB, MB, 300_000, 100_000, 20_000, 5_000]

#: At most so many clients were needed to refuse every neighbour before neighbours had a part of the reserve.
FEW = {
    "1 GB": Few("a hoster's IPv6 /29", 3, 1_000 * MB, at_once=9),
    "50 MB": Few("a hoster's IPv6 /29", 3, 50 * MB, at_once=9),
    "10 MB": Few("a hoster's IPv6 /29", 3, 10 * MB, at_once=9),
    "messages": Few("a hoster's IPv6 /29", 6, None, at_once=30),
    "connections": Few("a hoster's IPv6 /29", 9, None, connects=True, at_once=90),
    "1 GB in a /24": Few("an IPv4 /24", 2, 1_000 * MB, at_once=5),
    "messages in a /24": Few("an IPv4 /24", 3, None, at_once=15),
}


@pytest.mark.parametrize("what", list(FEW))
def test_a_few_clients_leave_every_neighbour_in_their_block_its_first(
    what: str, server: Callable[..., Server], write_outcome: Callable[[Outcome], None]
) -> None:
    few, at = FEW[what], server()
    few.play(at)
    taken = len(at.held)
    first = None if few.size is None else MB
    # A network has two hundred new organisations in ten minutes.
    numbers = range(50, 230) if "/24" in few.block else range(50, 450)

    def one_by_one() -> int:
        return refused(few.opens(at, number, first, keeps=False) for number in numbers)

    # Others take all that they can: that is no loss of the neighbours.
    alone = one_by_one()
    others = range(60)
    for network in others:
        while at.connects(attacker(network)) if few.connects else at.sends(attacker(network), first and 10 * MB):
            pass
    beside_others = one_by_one()
    kept = [few.opens(at, number, first) for number in list(numbers)[:150]]
    at_once = kept.index(False)
    lost = refused(at.connects(innocent(n)) if few.connects else at.sends(innocent(n), first) for n in range(50))
    kind = "connections" if few.connects else "messages"
    name = f"a few clients that hold all they can in {few.block}: {few.clients} clients, {what}"
    of_neighbours = f"first {kind} of neighbours"
    write_outcome(
        Outcome(
            name,
            taken,
            unit=kind,
            lost={
                of_neighbours: (alone + beside_others, 2 * len(numbers)),
                f"first {kind} elsewhere": (lost, 50),
            },
        )
    )
    print(f"{what}: {taken} held by {few.clients} clients; {at_once} neighbours have their first at once")
    assert (alone, beside_others, lost) == (0, 0, 0)
    assert at_once >= few.at_once
    at.close()


#: How the attacker and its neighbours are addressed: the client of a number, the attacker's at 0.
HOMES: dict[str, Callable[[int, int], str]] = {
    "an address in an IPv4 /24": lambda client, _: f"203.0.113.{1 + client}",
    "a VPS with a /64 in a /48": lambda client, n: f"2a01:4f8:7:{client:x}::{1 + n:x}",
}

#: What the attacker sends: the sender of its nth message.
FLOODS: dict[str, Callable[[int], str]] = {
    "invents 300 organisations": lambda n: f"a@invented{n % 300}.com",
    "invents organisations without end": lambda n: f"a@invented{n}.com",
    "sends 6,000 a minute": lambda n: f"a@own{n % 20}.com",
}


@pytest.mark.parametrize("spf", [None, "pass"])
@pytest.mark.parametrize("what", list(FLOODS))
@pytest.mark.parametrize("home", list(HOMES))
def test_one_client_leaves_its_neighbours_their_first_mail(
    home: str, what: str, spf: str | None, rng: random.Random, write_outcome: Callable[[Outcome], None]
) -> None:
    """3,000 messages at once and then 100 a second from one client; in the next minute each of 100 neighbours writes
    the first time, half of them proven.
    """

    def play(policy: Policy | None) -> tuple[int, int, int]:
        guard = Throttle(policy, seed=rng.randbytes(16))
        admitted, lost, lost_proven = 0, 0, 0
        for n in range(13_000):
            now = START + max(0, n - 3_000) / 100
            sender = FLOODS[what](n)
            envelope = Envelope(client_ip=HOMES[home](0, n), mail_from=sender, rcpt_to=f"u{n}@box.com", spf=spf)
            admitted += bool(guard.check(envelope, now=now))
            client = (n - 3_000) // 60
            if 1 <= client <= 100 and n % 60 == 0:
                proven = client % 2 == 0
                envelope = Envelope(
                    client_ip=HOMES[home](client, n),
                    mail_from=f"a@neighbour{client}.com",
                    rcpt_to="joe@box.com",
                    spf="pass" if proven else None,
                )
                if not guard.check(envelope, now=now):
                    lost += 1
                    lost_proven += proven
        return admitted, lost, lost_proven

    admitted, lost, lost_proven = play(None)
    was = play(FIRST_INBOUND)
    print(
        f"{home} {what}{', proven' if spf else ''}: {admitted} of 13,000 admitted, of 100 neighbours' first mail {lost}"
        f" refused, {lost_proven} proven; under the first inbound {was[0]} admitted, {was[1]} and {was[2]} refused"
    )
    name = f"one client that {what}: {home}{', proven' if spf else ''}"
    write_outcome(Outcome(name, admitted, 13_000, lost={"first messages of neighbours": (lost, 100)}))
    assert (lost, lost_proven) == (0, 0)
    assert was[1] > 30


GOOGLE = "2a00:1450:4864:20::331"


def test_a_provider_that_sends_for_all_from_one_client_is_not_held_to_a_clients_numbers(rng: random.Random) -> None:
    guard = Throttle(seed=rng.randbytes(16))
    for n in range(1_400):
        envelope = Envelope(client_ip=GOOGLE, mail_from=f"a@customer{n}.com", rcpt_to=f"u{n}@box.com")
        assert guard.check(envelope, now=START + n * 600 / 1_400), n
    for n in range(20_000):
        envelope = Envelope(client_ip=GOOGLE, mail_from=f"a@customer{n % 1_400}.com", rcpt_to=f"u{n}@box.com")
        assert guard.check(envelope, now=START + 600 + n / 45), n
    for n in range(1_400):
        envelope = Envelope(client_ip="2a01:4f8:7:1::2", mail_from=f"a@customer{n}.com", rcpt_to=f"u{n}@box.com")
        if not guard.check(envelope, now=START + n * 600 / 1_400):
            break
    assert n < 250, "anybody else is"
