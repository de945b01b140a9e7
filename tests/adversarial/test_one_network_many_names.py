"""One network that claims many organisations, by turns: each of them below every limit of a pair.

Gain: 13.5 % (`net-claimed-pace`: 3,000 at once and 300 a minute for what a network claims). A newsletter that proves
itself, 5,000 in a minute from one network, loses nothing; nor do other networks.

6to4 and NAT64: an address that stands for an IPv4 address counts as that address. So the 256 networks that 6to4 makes
of one /24 are one, and clients behind NAT64 are as many as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attack import ATTACK_US, CLAIMED, FAN_OUT, flood, held, run
from mail.kinds import MINUTE_US

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


def test_a_network_is_held_by_all_that_it_claims(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    newsletter = flood(
        lambda n: "news@letter.com",
        lambda n: f"198.51.7.{1 + n % 9}",
        count=5_000,
        start_us=ATTACK_US,
        span_us=MINUTE_US,
        spf="pass",
        kind="newsletter",
    )
    attack = flood(lambda n: f"a@org{n % 150}.com", lambda n: f"100.64.0.{1 + n % 254}")
    seen = run(sorted([*innocents, *newsletter], key=lambda shot: shot.at_us), attack, rng)
    write_down("150 invented organisations by turns from one network", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, CLAIMED)) <= 1
    assert seen.share <= 0.15


def test_6to4_makes_no_networks(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: f"a@org{n}.com", lambda n: f"2002:6440:{n % 256:x}::1")
    seen = run(innocents, attack, rng)
    write_down("invented organisations from the 6to4 addresses of one /24", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, FAN_OUT)) <= 1
    assert seen.share <= 0.01


def test_teredo_makes_no_networks(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """One client, which chooses its server and its port: only the last 32 bits are its own (RFC 4380 §4)."""
    attack = flood(lambda n: f"a@org{n}.com", lambda n: f"2001:0:{0x4100 + n % 400:x}:{n:x}:0:1234:34ff:8ef8")
    seen = run(innocents, attack, rng)
    write_down("invented organisations from one Teredo client", seen)
    assert seen.lost == {}
    assert seen.share <= 0.01


def test_clients_behind_nat64_are_not_one_network(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """150 clients reach the server through its own NAT64, while one of them floods."""
    clients = flood(
        lambda n: f"a@firm{n % 150}.com",
        lambda n: f"64:ff9b::c633:{n % 150:02x}07",
        count=8 * 150,
        kind="clients behind NAT64",
        rng=rng,
    )
    attack = flood(lambda n: f"a@org{n}.com", lambda n: "64:ff9b::6440:1")
    seen = run(sorted([*innocents, *clients], key=lambda shot: shot.at_us), attack, rng)
    write_down("invented organisations from one client behind NAT64", seen)
    assert seen.lost == {}
    assert seen.share <= 0.01
