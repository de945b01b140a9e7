"""Churn against the memory of known hosts: half an hour of organisations that nobody has seen,
each with a host so deep that it fills six places, from two hundred
networks, into a guard with little memory; then a flood below the organisation whose tenants should have been forgotten.

Gain: none beyond the flood's 0.9 %. Innocents lose nothing who came back after an hour: they are never put out for
newcomers. Tenants seen once only may have been
forgotten, and wait like new ones: here all of them do, at 8 MiB as at 16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import ATTACK_US, ATTACKER, FAN_OUT, flood, held, networks, run
from mail.kinds import MINUTE_US
from mail.mix import START_US

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


TENANTS = 180
CHURN_US = 30 * MINUTE_US
CHURNED = 120_000


@pytest.mark.parametrize("memory", ["16 MiB", "8 MiB"])
def test_who_came_back_after_an_hour_stays_known(
    memory: str, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    start = ATTACK_US - CHURN_US
    early = START_US - 60 * MINUTE_US

    def tenants(kind: str, rounds: int, at_us: int, span_us: int) -> list[Shot]:
        word = kind.partition(" ")[0]
        return flood(
            lambda n: f"m@{word}{n % TENANTS}.desk.com",
            lambda n: f"198.51.{n % 20}.9",
            count=TENANTS * rounds,
            start_us=at_us,
            span_us=span_us,
            kind=kind,
            rng=rng,
        )

    mail = [
        *tenants("regular tenants", 8, early, 100 * MINUTE_US),
        *tenants("seldom tenants", 1, early, 60 * MINUTE_US),
        *tenants("regular tenants", 8, ATTACK_US, 8 * MINUTE_US),
        *tenants("seldom tenants", 1, ATTACK_US, 8 * MINUTE_US),
        *innocents,
    ]
    mail.sort(key=lambda shot: shot.at_us)
    churn = flood(
        lambda n: f"a@a.b.c.d.e.f.inv{n}.com",
        networks(200),
        count=CHURNED,
        start_us=start,
        span_us=CHURN_US,
        kind=ATTACKER,
    )
    attack = flood(lambda n: f"m@x{n}.desk.com", networks(200))
    calm = run(mail, attack, rng, memory=memory)
    assert calm.lost == {}
    seen = run(mail, churn + attack, rng, memory=memory)
    write_down(f"known hosts churned for half an hour, {memory}", seen)
    assert seen.innocent["regular tenants"] > 7 * TENANTS
    assert seen.losers == {"seldom tenants"}
    assert seen.lost_of("seldom tenants") > 0.9
    assert abs(seen.admitted - held(attack, FAN_OUT)) <= 60
