"""The name of one tenant forged: fresh hosts below it, at a provider whose tenants write a fresh host for each message.

Gain: 0.9 %, the tenant's own 200 at once and 20 a minute. Who loses: that tenant, as long as its mail is merely
claimed, all of its fresh hosts while the flood
lasts; its known hosts lose nothing, the other tenants nothing, and the tenant nothing when its mail is proven.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import END_US, FAN_OUT, flood, held, networks, run
from mail.kinds import MINUTE_US
from mail.mix import START_US

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


PROVIDER = "cloudmail.com"
OTHERS = 20


def tenants(spf: str | None, rng: random.Random) -> list[Shot]:
    """Five fresh hosts a minute of the victim and five messages of a known one, ten fresh hosts a minute of twenty
    other tenants.
    """
    span_us = END_US + 2 * MINUTE_US - START_US
    minutes = span_us // MINUTE_US

    def sending(kind: str, per_minute: int, mail_from: Callable[[int], str]) -> list[Shot]:
        return flood(
            mail_from,
            lambda n: f"198.51.100.{1 + n % 20}",
            count=per_minute * minutes,
            start_us=START_US,
            span_us=span_us,
            spf=spf,
            rng=rng,
            kind=kind,
        )

    victim = sending("the victim, fresh hosts", 5, lambda n: f"m@v{n}.k7.victim.bnc.{PROVIDER}")
    known = sending("the victim, a known host", 5, lambda n: f"m@known.k7.victim.bnc.{PROVIDER}")
    others = sending(
        "other tenants, fresh hosts", 10, lambda n: f"m@o{n}.k{n % OTHERS}.other{n % OTHERS}.bnc.{PROVIDER}"
    )
    return sorted(victim + known + others, key=lambda shot: shot.at_us)


@pytest.mark.parametrize("spf", [None, "pass"])
def test_only_a_tenant_that_proves_nothing_loses_and_only_fresh_hosts(
    spf: str | None, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    mail = sorted(innocents + tenants(spf, rng), key=lambda shot: shot.at_us)
    attack = flood(lambda n: f"m@x{n}.k7.victim.bnc.{PROVIDER}", networks(200))
    seen = run(mail, attack, rng)
    write_down(
        f"fresh hosts claimed below the name of a tenant: its own mail is {'proven' if spf else 'claimed'}", seen
    )
    most = held(attack, FAN_OUT)
    if spf:
        assert seen.lost == {}
        assert abs(seen.admitted - most) <= 1
    else:
        assert most - 40 <= seen.admitted <= most
        assert seen.losers == {"the victim, fresh hosts"}
        assert seen.lost_of("the victim, fresh hosts") > 0.9
    assert seen.innocent["other tenants, fresh hosts"] >= 70
