"""A large provider's name forged from many networks, while the provider's own mail flows.

Gain: what any claimed name gains: in the first two hours after a cold start everything from ten networks or more, and
13.5 % from one (`net-claimed-pace`); with a fresh host below the name for each message 0.9 %. After three hours a
thousand networks gain 4.5 %: test_proven_owners.py plays it.
The provider loses nothing, since its proven mail shares no counter with the forger's; other innocents neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import CLAIMED, FAN_OUT, NETWORKS, flood, held, in_words, networks, run

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


@pytest.mark.parametrize("count", [1_000, *NETWORKS])
def test_proven_mail_of_the_provider_flows(
    count: int, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: f"user{n}@gmail.com", networks(count), spf="fail")
    seen = run(innocents, attack, rng)
    write_down(f"gmail.com claimed, while its own mail is proven: {in_words(count)}", seen)
    assert seen.innocent["gmail"] > 300
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, CLAIMED, lambda n: n % count)) <= count


def test_with_nothing_proven_on_either_side_mail_from_the_providers_own_networks_flows(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """No SPF, no names of clients: then the network is all that tells the provider from who forges it."""
    unproven = [shot._replace(envelope=shot.envelope.replace(spf=None, client_name=None)) for shot in innocents]
    attack = flood(lambda n: f"user{n}@gmail.com", networks(1_000))
    seen = run(unproven, attack, rng)
    write_down("gmail.com claimed, while its own mail is not proven: 1,000 networks", seen)
    assert seen.innocent["gmail"] > 300
    assert seen.lost_of("gmail") == 0
    assert seen.lost == {}
    assert seen.admitted == len(attack)


@pytest.mark.parametrize("name", ["gmail.com", "mcsv.net", "zendesk.com"])
def test_fresh_hosts_below_its_name_are_held_and_its_own_fresh_hosts_flow(
    name: str, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: f"a@x{n}.{name}", networks(200), spf="fail")
    seen = run(innocents, attack, rng)
    write_down(f"fresh hosts claimed below the name of a provider: {name}", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, FAN_OUT)) <= 1


def test_from_the_providers_own_networks_a_forger_burns_nothing_of_its_proven_names(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: f"user{n}@gmail.com", lambda n: f"209.85.{(128, 208, 221)[n % 3]}.{41 + n % 14}")
    seen = run(innocents, attack, rng)
    write_down("gmail.com claimed, while its own mail is proven: three of its own networks", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, CLAIMED, lambda n: n % 3)) <= 3
