"""Organisations invented inside networks that innocents share: the relays of a hoster with many customers.

Gain: 359 of each network. Innocents lose: customers of that hoster whose organisation these networks have not brought
before; known customers lose nothing, everybody
else neither. That is about one message in twenty of what all ten hosters send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attack import FAN_OUT, flood, held, run

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


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
