"""Addresses without end inside one IPv6 block, each used once.

Gain: inside a /56 or a /48 what one network gains: 0.9 % with an organisation for each message (0.4 % inside a /64),
13.5 % with one name. Who holds a /44 has sixteen networks,
a provider with a /32 as many as there are messages; that remains. Innocents lose nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import CLAIMED, FAN_OUT, flood, held, run

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


#: What one client may bring to its network.
ONE_CLIENT = (100, 600, 100)
ONE_CLIENT_CLAIMED = (100, 60, 1_000)
#: Bits of the block, and how many /48 it has.
ONE_SITE = (64, 56, 48)
WIDER = {44: 16, 32: 65_536}


def inside(bits: int) -> Callable[[int], str]:
    """The nth address: another host each time, and another network of 64 bits and site of 48 bits as far as the block
    has any.
    """

    def address(n: int) -> str:
        spread = n * 40_503  # odd, so that it visits all
        net = spread % (1 << max(0, 64 - bits)) & 0xFFFF
        site = spread % (1 << max(0, 48 - bits))
        return f"2a0e:b107:{site:x}:{net:x}::{n + 1:x}"

    return address


@pytest.mark.parametrize("bits", ONE_SITE)
def test_a_site_is_one_network(
    bits: int, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    invented = flood(lambda n: f"a@six{n}.com", inside(bits))
    assert len({shot.envelope.client_ip for shot in invented}) == len(invented)
    seen = run(innocents, invented, rng)
    write_down(f"invented organisations from one IPv6 block: /{bits}", seen)
    assert seen.lost == {}
    # A /64 is one client.
    limit, numbers = ("client-org-fan-out", ONE_CLIENT) if bits == 64 else ("net-org-fan-out", FAN_OUT)
    assert seen.limits.keys() == {limit}
    assert abs(seen.admitted - held(invented, numbers)) <= 1
    named = flood(lambda n: f"a{n}@six.com", inside(bits))
    seen = run(innocents, named, rng)
    write_down(f"one claimed name from one IPv6 block: /{bits}", seen)
    assert seen.lost == {}
    assert seen.limits.keys() == {"client-claimed-pace" if bits == 64 else "net-claimed-pace"}
    assert abs(seen.admitted - held(named, ONE_CLIENT_CLAIMED if bits == 64 else CLAIMED)) <= 1


@pytest.mark.parametrize("bits", WIDER)
def test_a_wider_block_is_as_many_networks_as_it_has_sites(
    bits: int, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: f"a@six{n}.com", inside(bits))
    seen = run(innocents, attack, rng)
    write_down(f"invented organisations from one IPv6 block: /{bits}", seen)
    expected = held(attack, FAN_OUT, lambda n: n * 40_503 % WIDER[bits])
    assert seen.lost == {}
    assert abs(seen.admitted - expected) <= min(WIDER[bits], 16)
    assert round(seen.share, 2) == {44: 0.14, 32: 1.0}[bits]
