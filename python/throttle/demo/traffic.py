"""The mail of the outage, as a pure function of a seed: who writes, from where, in which order.

It knows no server, no guard and no clock.
Invariants: one seed and one mix give the same messages; every sender lies under a listed TLD; every address is
reserved for
documentation or benchmarks (RFC 2544, RFC 3849), so nobody's name is taken in vain but the flooded organisation's,
which the incident gave.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from throttle.demo.cast import FLOODED, Cast, Party, label

if TYPE_CHECKING:
    from collections.abc import Iterator

Group = Literal["quiet", "flood", "innocent", "tenant"]
GROUPS: tuple[Group, ...] = ("flood", "innocent", "tenant")  # of the outage itself

FULL_FLOOD = 20_000
RECEIVER = "quickbox.email"
REPLY_TO = f"case-00d3f000@{FLOODED}"
FLOOD_PARENT = f"00d8x0a.cs17.bnc.sandbox.{FLOODED}"  # the sender of the flood: one tenant that nobody has seen before
FLOOD_MAILS_A_CONNECTION = 4


@dataclass(frozen=True, slots=True)
class Mix:
    """How many of what. The defaults are the demo; `scaled` keeps their proportions for a smaller flood."""

    flood: int = FULL_FLOOD
    ordinary: int = 1_600
    provider: int = 250
    bounces: int = 250
    lists: int = 300
    tenants: int = 400
    fresh_tenants: int = 200

    @classmethod
    def scaled(cls, flood: int) -> Mix:
        """The mix around `flood` flood messages; a larger flood than the full one does not bring more innocents."""
        full = cls()

        def share(messages: int) -> int:
            return min(messages, -(-messages * flood // full.flood))

        return cls(
            flood,
            share(full.ordinary),
            share(full.provider),
            share(full.bounces),
            share(full.lists),
            share(full.tenants),
            share(full.fresh_tenants),
        )

    @property
    def total(self) -> int:
        """Messages of all groups."""
        return (
            self.flood + self.ordinary + self.provider + self.bounces + self.lists + self.tenants + self.fresh_tenants
        )


@dataclass(frozen=True, slots=True)
class Message:
    """One mail transaction and what its headers say."""

    group: Group
    client_ip: str
    helo: str
    mail_from: str
    rcpt_to: str
    header_from: str
    reply_to: str


def conversations(seed: int, mix: Mix) -> list[list[Message]]:
    """Every SMTP connection of the run in arrival order, each with the messages it carries; all from one client."""
    rng = random.Random(f"conversations {seed}")
    cast = Cast.of(seed)
    arrivals = list(_flood(rng, cast, mix.flood))
    arrivals += ([message] for message in _innocents(rng, cast, mix))
    arrivals += ([_message(rng, "tenant", party)] for party in _round(cast.tenants, mix.tenants))
    arrivals += (
        [_message(rng, "tenant", _fresh_host(rng, party))] for party in _round(cast.fresh_tenants, mix.fresh_tenants)
    )
    rng.shuffle(arrivals)  # interleaved: whoever is innocent arrives in the midst of the flood
    return arrivals


def quiet_hours(seed: int, hours: int = 4) -> Iterator[tuple[int, Message]]:
    """The hours before, as (seconds before the flood, message), oldest first; the last message is a minute old.

    A tenant writes every half hour, a tenant of fresh hosts every four minutes, everybody else every two hours:
    about 80 new names in ten minutes below the organisation that will be flooded.
    """
    rng = random.Random(f"quiet {seed}")
    cast = Cast.of(seed)
    others = [*cast.organisations, *cast.lists, *cast.provider]
    for minute in range(hours * 60, 0, -1):
        seconds = minute * 60
        for period, parties in ((30, cast.tenants), (120, others)):
            for party in parties[minute % period :: period]:
                yield seconds, _message(rng, "tenant" if parties is cast.tenants else "innocent", party)
        for party in cast.fresh_tenants[minute % 4 :: 4]:
            yield seconds, _message(rng, "tenant", _fresh_host(rng, party))


def last_minute(seed: int) -> list[list[Message]]:
    """What comes by SMTP before the flood, one message from each organisation: no server meets the flood cold."""
    rng = random.Random(f"last minute {seed}")
    return [[_message(rng, "quiet", party)] for party in Cast.of(seed).organisations]


def _flood(rng: random.Random, cast: Cast, messages: int) -> Iterator[list[Message]]:
    for start in range(0, messages, FLOOD_MAILS_A_CONNECTION):
        network = cast.flood_networks[start // FLOOD_MAILS_A_CONNECTION % len(cast.flood_networks)]
        client_ip = f"{network}{rng.randint(1, 254)}"
        batch = []
        for _ in range(min(FLOOD_MAILS_A_CONNECTION, messages - start)):
            host = ".".join([*(label(rng) for _ in range(rng.randint(3, 5))), FLOOD_PARENT])
            address = f"bounce-{rng.randint(1, 10**6)}@{host}"
            batch.append(Message("flood", client_ip, f"smtp.{FLOODED}", address, _recipient(rng), address, REPLY_TO))
        yield batch


def _innocents(rng: random.Random, cast: Cast, mix: Mix) -> Iterator[Message]:
    for party in _round(cast.organisations, mix.ordinary):
        yield _message(rng, "innocent", party)
    for party in _round(cast.provider, mix.provider):
        yield _message(rng, "innocent", party)
    for party in _round(cast.organisations, mix.bounces):
        daemon = f"mailer-daemon@{party.host}"
        yield Message("innocent", party.client_ip, party.host, "<>", _recipient(rng), daemon, daemon)
    for party in _round(cast.lists, mix.lists):
        rcpt_to = _recipient(rng)
        verp = f"{party.local}+{rcpt_to.replace('@', '=')}@{party.host}"  # one return path for each subscriber
        yield Message(
            "innocent", party.client_ip, party.host, verp, rcpt_to, f"list@{party.host}", f"list@{party.host}"
        )


def _round(parties: list[Party], messages: int) -> list[Party]:
    return [parties[index % len(parties)] for index in range(messages)]


def _fresh_host(rng: random.Random, party: Party) -> Party:
    return Party(party.local, f"{label(rng)}.{party.host}", party.client_ip)


def _message(rng: random.Random, group: Group, party: Party) -> Message:
    address = f"{party.local}@{party.host}"
    return Message(group, party.client_ip, party.host, address, _recipient(rng), address, address)


def _recipient(rng: random.Random) -> str:
    return f"box{rng.randint(1, 20_000)}@{RECEIVER}"
