"""Names shown an hour or a day before, one host each, then fresh hosts below all of them at once.

Gain: nothing beyond the 0.9 % of an organisation without preparation, when each name was used once: it has no allowance
of its own before it comes back after an hour. Names that were kept warm, used twice and more than an hour apart, gain
6.4 %: 800 at once and 220 a minute below one organisation (`org-fresh`), however many there are.
Innocents lose nothing when the organisation is the attacker's own. When names that were kept warm are tenants of a
provider, and as well proven as it, its other tenants lose their fresh hosts while the flood lasts; hosts that have come
back lose nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import ATTACK_US, END_US, FAN_OUT, FRESH, flood, held, networks, run
from mail.kinds import MINUTE_US
from mail.mix import START_US

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


PREPARED = 250
DAY_US = 24 * 60 * MINUTE_US
BEFORE = {"an hour": START_US, "a day": ATTACK_US - DAY_US}


def prepared(organisation: str, at_us: int, spf: str | None, rounds: int = 1) -> list[Shot]:
    """A round takes twelve minutes, which is within the 200 at once and 20 a minute of an organisation; the next one
    begins 61 minutes after it.
    """
    return [
        shot
        for nth in range(rounds)
        for shot in flood(
            lambda n: f"a@first.p{n}.{organisation}",
            networks(200),
            count=PREPARED,
            start_us=at_us + nth * 61 * MINUTE_US,
            span_us=12 * MINUTE_US,
            spf=spf,
        )
    ]


@pytest.mark.parametrize("before", BEFORE)
def test_prepared_names_share_one_allowance_of_their_organisation(
    before: str, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: f"a@x{n}.p{n % PREPARED}.mass.com", networks(200))
    seen = run(innocents, prepared("mass.com", BEFORE[before], None) + attack, rng)
    write_down(f"fresh hosts under {PREPARED} names that were used once before: {before} before", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, FAN_OUT)) <= 1
    assert round(seen.share, 3) == 0.009
    assert seen.limits.keys() == {"org-fan-out"}


@pytest.mark.parametrize("before", BEFORE)
def test_names_that_were_kept_warm_share_one_allowance_for_fresh_hosts(
    before: str, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: f"a@x{n}.p{n % PREPARED}.mass.com", networks(200))
    seen = run(innocents, prepared("mass.com", BEFORE[before], None, rounds=2) + attack, rng)
    write_down(f"fresh hosts under {PREPARED} names that were used twice before: first used {before} before", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, FRESH)) <= 1
    assert round(seen.share, 3) == 0.064
    assert "org-fresh" in seen.limits
    assert seen.limits.keys() <= {"org-fan-out", "org-fresh"}


def test_names_that_were_not_prepared_gain_nothing_by_their_number(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: f"a@x{n}.p{n % PREPARED}.mass.com", networks(200))
    seen = run(innocents, prepared("mass.com", ATTACK_US - 30 * MINUTE_US, None) + attack, rng)
    write_down(f"fresh hosts under {PREPARED} names that were used once before: half an hour before", seen)
    assert seen.lost == {}
    assert seen.share < 0.01


def tenants(rng: random.Random) -> list[Shot]:
    """A provider's other tenants, proven: half of them send from a fresh host each time."""
    span_us = END_US - START_US

    def of(kind: str, host: Callable[[int], str]) -> list[Shot]:
        def client(n: int) -> str:
            return f"198.51.{n % 20}.9"

        count = 10 * span_us // MINUTE_US
        return flood(host, client, count=count, start_us=START_US, span_us=span_us, spf="pass", kind=kind, rng=rng)

    fresh = of("tenants, fresh hosts", lambda n: f"m@o{n}.k{n % 20}.other{n % 20}.cloudmail.com")
    known = of("tenants, known hosts", lambda n: f"m@t{n % 40}.cloudmail.com")
    return sorted(fresh + known, key=lambda shot: shot.at_us)


def test_tenants_of_a_provider_prepared_once_cost_its_other_tenants_nothing(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    mail = sorted(innocents + tenants(rng), key=lambda shot: shot.at_us)
    attack = flood(lambda n: f"a@x{n}.p{n % PREPARED}.cloudmail.com", networks(200), spf="pass")
    seen = run(mail, prepared("cloudmail.com", START_US, "pass") + attack, rng)
    write_down(f"fresh hosts under {PREPARED} tenants of a provider: each used once, an hour before", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, FAN_OUT)) <= 1


def test_prepared_tenants_of_a_provider_use_up_what_its_other_tenants_have_for_fresh_hosts(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    mail = sorted(innocents + tenants(rng), key=lambda shot: shot.at_us)
    attack = flood(lambda n: f"a@x{n}.p{n % PREPARED}.cloudmail.com", networks(200), spf="pass")
    before = prepared("cloudmail.com", START_US, "pass", rounds=2)
    seen = run(mail, before + attack, rng)
    write_down(f"fresh hosts under {PREPARED} tenants of a provider: each used twice, first an hour before", seen)
    most = held(attack, FRESH)
    assert most - 100 <= seen.admitted <= most + 1
    assert seen.losers == {"tenants, fresh hosts"}
    assert 0.5 < seen.lost_of("tenants, fresh hosts") < 1
