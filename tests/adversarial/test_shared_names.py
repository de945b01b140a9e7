"""Names that many share, held at their limit by somebody who pays nothing for the part in them: a claimed name where it
is new, the name of a hoster that confirms its customers' hosts, and the name of a provider with free tenants.

Who loses is only who is new: a network from which the claimed name has not come back after an hour, a machine that has
never sent, a tenant whose hosts are fresh. Whoever is known loses nothing, and what SPF proves is not held by what is
merely claimed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import ATTACK_US, ATTACKER, FRESH, Shot, held, run, settling
from mail.bulk import SALESFORCE
from mail.kinds import MINUTE_US
from mail.mix import START_US
from throttle import Envelope

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures

#: After the two hours in which `org-net-fan-out` only learns.
WARM_US = START_US + 140 * MINUTE_US
SPAN_US = 8 * MINUTE_US


def times(start_us: int, at_once: int, at_once_us: int, a_minute: int, span_us: int) -> list[int]:
    """So many at once, within a few seconds, and then at a rate until the span is over."""
    first = [start_us + n * at_once_us // at_once for n in range(at_once)]
    return [*first, *range(start_us + at_once_us, start_us + span_us, MINUTE_US // a_minute)]


@pytest.mark.parametrize("own_spf", ["none", "pass"])
def test_one_address_closes_a_claimed_name_to_networks_where_it_is_new(
    own_spf: str, rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """Each message of a network that is new to the name counts, so one network is enough, and MAIL is."""

    def sends(kind: str, client: Callable[[int], str], start_us: int, span_us: int = SPAN_US) -> list[Shot]:
        return [
            Shot(
                start_us + int((n + rng.random()) * span_us / 60),
                kind,
                Envelope(client_ip=client(n), helo="m", mail_from="boss@victim.com", spf=own_spf),
            )
            for n in range(60)
        ]

    own = "the name, from its own networks"
    mail = [
        Shot(START_US, "first of all", Envelope(client_ip="198.51.100.9", mail_from="a@other.com", spf="none")),
        *sends(own, lambda n: f"81.8.{n % 20}.9", START_US, MINUTE_US),
        *sends(own, lambda n: f"81.8.{n % 20}.9", START_US + 70 * MINUTE_US, MINUTE_US),
        *sends(own, lambda n: f"81.8.{n % 20}.9", WARM_US + MINUTE_US // 2),
        *sends("the name, from one new network", lambda n: "81.9.9.9", WARM_US + MINUTE_US // 2),
        *sends("the name, from 60 new networks", lambda n: f"81.10.{n}.9", WARM_US + MINUTE_US // 2),
    ]
    claimed = Envelope(client_ip="100.64.1.5", helo="m", mail_from="x@victim.com", spf="softfail")
    attack = [Shot(at, ATTACKER, claimed) for at in times(WARM_US, 1_000, 20_000_000, 300, SPAN_US)]
    seen = run(sorted(mail, key=lambda shot: shot.at_us), attack, rng, since_us=WARM_US)
    told = "proven" if own_spf == "pass" else "claimed"
    write_down(f"one name claimed by one address, 1,000 MAILs and then 300 a minute: its own mail is {told}", seen)
    assert seen.admitted <= 1_000 + 8 * 100 + 100
    if own_spf == "pass":
        assert seen.lost == {}
        return
    assert {limit for _, limit in seen.lost} == {"org-net-fan-out"}
    assert seen.losers == {"the name, from one new network", "the name, from 60 new networks"}
    assert all(seen.lost_of(kind) > 0.8 for kind in seen.losers), "listed in SECURITY.md"


def machines(start_us: int, rng: random.Random, kind: str) -> list[Shot]:
    """Three hundred rented machines whose only proof is the reverse name that the hoster gives, a message each."""
    return [
        Shot(
            start_us + rng.randrange(18 * MINUTE_US),
            kind,
            Envelope(
                client_ip=f"84.7.{n // 250}.{n % 250}",
                client_name=f"vps{n}.hoster.net",
                helo="m",
                mail_from=f"www@vps{n}.hoster.net",
                rcpt_to=f"u{n}@box.com",
                spf="none",
            ),
        )
        for n in range(300)
    ]


@pytest.mark.parametrize("known", [False, True])
def test_one_rented_host_closes_the_name_of_its_hoster_to_machines_that_never_sent(
    known: bool, rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """It is named as they are, and invents hosts."""
    kind = f"machines of the hoster that are {'known' if known else 'new'}"
    early = [shot for hours in (2, 1) if known for shot in machines(ATTACK_US - hours * 70 * MINUTE_US, rng, "before")]
    mail = [*early, *machines(ATTACK_US + 2 * MINUTE_US, rng, kind)]
    attack = [
        Shot(
            at,
            ATTACKER,
            Envelope(
                client_ip="84.7.9.9",
                client_name="vps2259.hoster.net",
                helo="m",
                mail_from=f"x@z{n}.hoster.net",
                spf="none",
            ),
        )
        for n, at in enumerate(times(ATTACK_US, 200, 1_000_000, 60, 20 * MINUTE_US))
    ]
    seen = run(sorted(mail, key=lambda shot: shot.at_us), attack, rng)
    write_down(
        "invented hosts of a hoster by one of its machines, 200 MAILs and then 1 a second for 20 minutes: "
        f"the others are {'known' if known else 'new'}",
        seen,
    )
    assert seen.limits.keys() == {"org-fan-out"}
    assert seen.admitted <= 200 + 20 * 20 + 1
    assert seen.innocent[kind] >= 290
    if known:
        assert seen.lost == {}
    else:
        assert seen.lost_of(kind) > 0.9, "listed in SECURITY.md"


@pytest.mark.parametrize("tenants", [1, 12])
def test_free_tenants_of_a_provider_close_its_instances_to_fresh_hosts(
    tenants: int, seed: str, rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """A trial tenant in each of the twelve instances over which the provider's tenants are spread: an instance is a
    part of the name that has settled, and its tenants that have not are charged to it. Eleven instances together also
    use up `org-fresh`, which is the provider's.

    Of 100,000 ordinary messages an hour only those of these tenants, from five hours before.
    """
    kind, start_us = "salesforce tenants", START_US + 300 * MINUTE_US
    places = tuple(f".um{number}.bnc.salesforce.com" for number in range(tenants))
    attack = [
        Shot(
            at,
            ATTACKER,
            Envelope(
                client_ip=SALESFORCE[n % len(SALESFORCE)],
                helo="m",
                mail_from=f"x@f{n:06d}.t9zz{n % tenants}mawy.8d-zz{n % tenants}trx3eag{places[n % tenants]}",
                rcpt_to=f"u{n % 5_000}@box.com",
                spf="pass",
            ),
        )
        for n, at in enumerate(times(start_us, 200 * tenants, 20_000_000, 60 * tenants, 20 * MINUTE_US))
    ]
    mail = [
        shot._replace(
            kind=f"{kind} of {'these' if str(shot.envelope.mail_from).endswith(places) else 'other'} instances"
        )
        for shot in settling(seed, 100_000, 321, only=[kind])
    ]
    seen = run(mail, attack, rng, since_us=start_us)
    write_down(
        "free tenants of Salesforce, proven, 200 messages and then 1 a second each for 20 minutes: "
        f"{tenants} tenant{'s' * (tenants > 1)}",
        seen,
    )
    assert seen.admitted <= tenants * (200 + 20 * 20 + 1)
    if tenants == 1:
        assert seen.limits.keys() == {"org-fan-out"}
        assert seen.losers <= {f"{kind} of these instances"}
    else:
        assert seen.limits.keys() <= {"org-fan-out", "org-fresh"}
        assert seen.admitted <= held(attack, FRESH) + 1
        assert seen.lost_of(f"{kind} of these instances") > 0.5, "listed in SECURITY.md"
