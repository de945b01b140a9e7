"""Organisations invented inside networks that innocents share: the relays of a hoster with many customers.

Gain: 359 of each network. Innocents lose: customers of that hoster whose organisation these networks have not brought
before; known customers lose nothing, everybody
else neither. That is about one message in twenty of what all ten hosters send.

The price is one account. Half a message a second for each network, through all of its relays by turns, keeps
`net-org-fan-out` at its limit: up to a quarter of what that hoster's customers send waits, and most of what the small
firms behind the relay of their region send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import ATTACK_US, ATTACKER, FAN_OUT, SPAN_US, Shot, flood, held, run, settling
from throttle import Envelope

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures


def test_customers_who_are_new_wait_and_known_ones_do_not(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: f"a@bad{n}.com", lambda n: f"81.0.{n % 3}.{1 + n % 30}")
    seen = run(innocents, attack, rng)
    write_down("invented organisations from the relays of a hoster with innocent customers", seen)
    print(f"of customers of hosters lost {seen.lost_of('customers of hosters'):.1%}")
    most = held(attack, FAN_OUT, lambda n: n % 3)
    assert most - 150 <= seen.admitted <= most + 3
    assert {limit for _, limit in seen.lost} <= {"net-org-fan-out"}
    assert seen.losers == {"customers of hosters"}
    assert sum(seen.lost_known.values()) == 0
    assert seen.lost_of("customers of hosters") < 0.2


def test_the_class_of_the_sender_has_a_bucket_of_its_own_there_too(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: f"a@bad{n}.com", lambda n: f"40.107.{10 + n % 30}.{30 + n % 80}")
    seen = run(innocents, attack, rng)
    write_down("invented organisations from the networks of Microsoft's customers", seen)
    assert seen.lost == {}  # all that comes from there is proven


#: Whose relays: the kind of their customers, the networks, the last bytes of the relays in each.
RELAYS: dict[str, tuple[str, tuple[str, ...], range]] = {
    "a web hoster": ("customers of hosters", ("81.0.0", "81.0.1", "81.0.2"), range(1, 30)),
    "the relay of a region": ("small firms without spf", ("89.100.0", "89.100.1"), range(10, 13)),
}
AT_ONCE, EACH_US = 200, 2_000_000


@pytest.mark.parametrize("whose", RELAYS)
def test_one_account_keeps_the_networks_of_a_shared_relay_at_their_limit(
    whose: str, seed: str, rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """Of 100,000 ordinary messages an hour only those of this kind: others do not share what is charged."""
    kind, places, relays = RELAYS[whose]
    mail = [
        shot._replace(kind=kind if str(shot.envelope.client_ip).startswith(places) else f"other {kind}")
        for shot in settling(seed, 100_000, only=[kind])
    ]
    times = [n * 50_000 for n in range(AT_ONCE)] + [*range(AT_ONCE * 50_000 + EACH_US, SPAN_US, EACH_US)]
    attack = [
        Shot(
            ATTACK_US + at,
            ATTACKER,
            Envelope(
                client_ip=f"{place}.{relays[n % len(relays)]}",
                mail_from=f"a@invented{n}x{nth}.com",
                rcpt_to="mine@d1.box.com",
                spf="none",
            ),
        )
        for n, at in enumerate(times)
        for nth, place in enumerate(places)
    ]
    seen = run(mail, attack, rng)
    write_down(
        f"one account on a shared relay, {AT_ONCE} messages and 30 a minute by each of its networks: {whose}", seen
    )
    assert {limit for _, limit in seen.lost} == {"net-org-fan-out"}
    assert seen.losers == {kind}
    assert sum(seen.lost_known.values()) == 0
    assert seen.admitted <= len(places) * held(attack[:: len(places)], FAN_OUT)
    least, most = (0.08, 0.5) if whose == "a web hoster" else (0.2, 1.0)
    assert least <= seen.lost_of(kind) <= most, "listed in SECURITY.md"
