"""Hosts that were made known over hours, each used once in the flood, and names prepared under each trust at once.

Gain: 13.5 % (`org-fresh`: 3,000 at once and 300 a minute for hosts that are new or that return). Whoever keeps each
host warm, with a second message an hour after its first, has them free: that takes twice as long and is listed in
docs/algorithms.md. Names that were used once have no allowance of their own: 0.9 % as claimed and as unlisted, 1.8 % as
proven. Those that were used twice have one, 13.5 % under each trust, and a host that was admitted as claimed is free as
proven: 50.4 % in all. Preparation for five hours does not make the memory
forget a provider's proven tenants.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest

from attack import ATTACK_US, FRESH, SPAN_US, flood, held, networks, run
from mail.kinds import MINUTE_US

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot

HOUR_US = 60 * MINUTE_US
HOSTS = 40_000


def made_known(start_us: int, hours: float, spf: str | None, count: int = HOSTS) -> list[Shot]:
    """As fast as the limit lets them, below prepared names that have settled."""
    return flood(
        lambda n: f"a@x{n}.p{n % 200}.mass.com",
        networks(200),
        count=count,
        start_us=start_us,
        span_us=int(hours * HOUR_US),
        spf=spf,
    )


@pytest.mark.parametrize("spf", [None, "pass"])
@pytest.mark.parametrize("hours", [6, 36])
def test_hosts_that_were_used_once_are_charged_when_they_return(
    hours: int, spf: str | None, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    names = flood(
        lambda n: f"a@first.p{n}.mass.com",
        networks(200),
        count=200,
        start_us=ATTACK_US - (hours + 3) * HOUR_US,
        span_us=30 * MINUTE_US,
        spf=spf,
    )
    before = made_known(ATTACK_US - (hours + 1) * HOUR_US, hours, spf)
    attack = flood(lambda n: f"a@x{n}.p{n % 200}.mass.com", networks(200), spf=spf)
    seen = run(innocents, names + before + attack, rng)
    write_down(
        f"{HOSTS:,} hosts of one domain, made known before and used once: in {hours} hours{', proven' if spf else ''}",
        seen,
    )
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, FRESH)) <= 5
    assert seen.share <= 0.275


def named(name: Callable[[int, str], str], host: str, n: int) -> str:
    """The sender of the nth message."""
    return name(n, host.format(n))


@pytest.mark.parametrize("uses", [1, 2])
def test_names_prepared_under_each_trust_have_an_allowance_each(
    uses: int, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    sorts: dict[str, tuple[Callable[[int, str], str], str | None]] = {
        "claimed": (lambda n, host: f"a@{host}.p{n % 250}.mass.com", None),
        "proven": (lambda n, host: f"a@{host}.p{n % 250}.mass.com", "pass"),
        "unlisted": (lambda n, host: f"a@{host}.p{n % 250}.mass.invalid", None),
    }
    before: list[Shot] = []
    attack: list[Shot] = []
    sort_at: dict[int, str] = {}
    for number, (sort, (name, spf)) in enumerate(sorts.items()):
        first, fresh = partial(named, name, "first"), partial(named, name, "x{}")
        for use in range(uses):
            start_us = ATTACK_US - (75 - 61 * use) * MINUTE_US
            before += flood(first, networks(200), count=250, start_us=start_us, span_us=12 * MINUTE_US, spf=spf)
        # a microsecond apart, so that the moment tells which sort was admitted
        of_sort = flood(fresh, networks(200), count=13_333, start_us=ATTACK_US + number, spf=spf, span_us=SPAN_US)
        sort_at |= {shot.at_us: sort for shot in of_sort}
        attack += of_sort
    before.sort(key=lambda shot: shot.at_us)
    attack.sort(key=lambda shot: shot.at_us)
    seen = run(innocents, before + attack, rng)
    prepared = ("prepared an hour before", "used twice before, an hour apart")[uses - 1]
    write_down(f"fresh hosts under 250 names each that are claimed, proven and unlisted, {prepared}", seen)
    # Internal names are unlisted: they share that allowance with the flood.
    assert seen.losers <= {"internal names"}
    assert len(sort_at) == len(attack)
    admitted = Counter(sort_at[at_us] for at_us in seen.admitted_at)
    if uses == 1:
        assert max(admitted.values()) <= 0.066 * 13_333
        return
    allowance = held(attack[::3], FRESH)
    assert abs(admitted["claimed"] - allowance) <= 5, "listed in SECURITY.md"
    # What was admitted as claimed is known, and free, when the same host comes as proven a moment later.
    assert allowance < admitted["proven"] <= 2 * allowance
    assert admitted["unlisted"] <= allowance


@pytest.mark.parametrize("spf", ["pass", None])
def test_five_hours_of_preparation_make_no_provider_forget_its_proven_tenants(
    spf: str | None, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """43,000 deep hosts, four rounds of them; 300 tenants that come once an hour."""
    tenants_from_us = ATTACK_US - 7 * HOUR_US
    span_us = ATTACK_US + SPAN_US - tenants_from_us
    tenants = flood(
        lambda n: f"m@t{n % 300}.desk.com",
        lambda n: f"198.51.{n % 20}.9",
        count=300 * span_us // HOUR_US,
        start_us=tenants_from_us,
        span_us=span_us,
        spf=spf,
        kind="returning tenants",
        rng=rng,
    )
    churn = flood(
        lambda n: f"a@a.b.c.d.e.f.inv{n % 43_000}.com",
        networks(4_000),
        count=4 * 43_000,
        start_us=ATTACK_US - 5 * HOUR_US,
        span_us=5 * HOUR_US,
    )
    attack = flood(lambda n: f"m@x{n}.desk.com", networks(200), spf=spf)
    mail = sorted([*innocents, *tenants], key=lambda shot: shot.at_us)
    seen = run(mail, churn + attack, rng)
    write_down(f"five hours of deep hosts, then a provider's name: tenants {'proven' if spf else 'claimed'}", seen)
    lost = seen.lost_of("returning tenants")
    print(f"returning tenants lost: {lost:.1%} of {seen.innocent['returning tenants']}")
    if spf:
        assert lost <= 0.01
        assert seen.losers == set()
