"""The floods that cost least. Each passes whole, and needs no preparation: innocents lose nothing.

* Known names that eight networks claim by turns: `net-claimed-pace` lets a network have 5,400 messages in eight
  minutes.
* The null sender from 23 addresses, with one Reply-To in all messages: `client-claimed-pace` lets an address have
  1,800.
* Four proven names from two networks. They cost nothing below a public suffix, where a tenant publishes SPF: five
  addresses in two /24, or six /64 in two /48, are enough.
* Five rented hosts that are named by their reverse names alone, without a domain or an SPF record.

`client-pace` lets an address have 9,000, `owner-pace` a name 10,800, `net-pace` a network 27,000. With one network,
address or name less the rest is refused. One address alone gets 22.5 % of the flood. This remains, and SECURITY.md
states it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import (
    ATTACK_US,
    CLAIMED,
    CLIENT,
    CLIENT_CLAIMED,
    FLOOD,
    NETWORK,
    OWNER,
    flood,
    held,
    in_words,
    networks,
    run,
)
from mail.kinds import MINUTE_US

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot

NAMES = 100


@pytest.mark.parametrize("count", [8, 7])
def test_known_names_claimed_by_turns_pass_from_eight_networks(
    count: int, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    own_mail = flood(
        lambda n: f"a@firm{n % NAMES}.com",
        lambda n: f"198.51.{n % NAMES}.9",
        count=2 * NAMES,
        start_us=ATTACK_US - 60 * MINUTE_US,
        span_us=50 * MINUTE_US,
        kind="owners of the names",
    )
    mail = sorted([*innocents, *own_mail], key=lambda shot: shot.at_us)
    # The names change more slowly than the networks, so each network claims all of them.
    attack = flood(lambda n: f"a@firm{n // count % NAMES}.com", networks(count))
    seen = run(mail, attack, rng)
    write_down(f"{NAMES} known names claimed by turns: {in_words(count)}", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, CLAIMED, lambda n: n % count)) <= count
    assert (seen.admitted == FLOOD) == (count == 8)


@pytest.mark.parametrize(("domains", "count"), [(4, 2), (3, 2), (4, 1)])
def test_four_proven_domains_pass_from_two_networks_with_one_reply_to(
    domains: int,
    count: int,
    innocents: list[Shot],
    rng: random.Random,
    write_down: Callable[[str, Figures], None],
) -> None:
    # The domains change more slowly than the networks, so each network sends for all of them.
    attack = flood(
        lambda n: f"a@own{n // count % domains}.com",
        networks(count),
        spf="pass",
        reply_to=lambda n: "claims@prize.com",
    )
    seen = run(innocents, attack, rng)
    write_down(f"proven domains with one Reply-To: {domains} from {in_words(count)}", seen)
    of_domains = held(attack, OWNER, lambda n: n // count % domains)
    assert seen.lost == {}
    assert abs(seen.admitted - min(of_domains, held(attack, NETWORK, lambda n: n % count))) <= domains
    assert (seen.admitted == FLOOD) == ((domains, count) == (4, 2))


@pytest.fixture
def recent(innocents: list[Shot]) -> list[Shot]:
    """Ordinary mail from five minutes before the attack on: what these floods charge is shared with nobody."""
    return [shot for shot in innocents if shot.at_us >= ATTACK_US - 5 * MINUTE_US]


@pytest.mark.parametrize("count", [23, 22])
def test_the_null_sender_passes_from_23_addresses_with_one_reply_to(
    count: int, recent: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(
        lambda n: "<>",
        lambda n: f"100.64.{n % count}.9",
        spf="none",
        reply_to=lambda n: "claims@prize.com",
    )
    seen = run(recent, attack, rng)
    write_down(f"the null sender with one Reply-To: {count} addresses", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, CLIENT_CLAIMED, lambda n: n % count)) <= count
    assert (seen.admitted == FLOOD) == (count == 23)


#: Addresses by turns, free names by turns; whether all of the flood passes, and else what is held at what.
FREE: dict[str, tuple[list[str], int, tuple[int, int, int] | None]] = {
    "5 addresses in two /24": ([f"100.64.{n % 2}.{5 + n // 2}" for n in range(5)], 4, None),
    "6 /64 in two /48": ([f"2001:470:{0xAA00 + n % 2:x}:{n // 2}::1" for n in range(6)], 4, None),
    "1 address": (["100.64.1.5"], 1, CLIENT),
}


@pytest.mark.parametrize("place", FREE)
def test_names_that_cost_nothing_pass_as_proven(
    place: str, recent: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """Tenants of a platform with SPF, whose owner pays nothing for a name."""
    addresses, names, limit = FREE[place]
    attack = flood(
        lambda n: f"a@camp{n // len(addresses) % names}.duckdns.org",
        lambda n: addresses[n % len(addresses)],
        spf="pass",
        reply_to=lambda n: "claims@prize.com",
    )
    seen = run(recent, attack, rng)
    write_down(f"{names} free name{'s' * (names > 1)} with SPF: {place}", seen)
    assert seen.lost == {}
    assert seen.admitted == FLOOD if limit is None else abs(seen.admitted - held(attack, limit)) <= 1


@pytest.mark.parametrize("count", [5, 4])
def test_five_rented_hosts_pass_that_only_their_reverse_names_prove(
    count: int, recent: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = [
        shot._replace(envelope=shot.envelope.replace(client_name=f"vps{n % count}.hosted{n % count}.net"))
        for n, shot in enumerate(
            flood(lambda n: f"a@hosted{n % count}.net", lambda n: f"100.64.{n % count}.5", spf="none")
        )
    ]
    seen = run(recent, attack, rng)
    write_down(f"rented hosts named by their reverse names alone: {count}", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, CLIENT, lambda n: n % count)) <= count
    assert (seen.admitted == FLOOD) == (count == 5)
