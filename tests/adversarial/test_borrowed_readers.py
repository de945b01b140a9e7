"""Names that are borrowed or invented, and one thing that all messages share: a reader of the answers in Reply-To or in
From, or a verified signature.

Gain: 4.5 % under a hundred names that are known with one Reply-To (`reply-to-pace`: 1,000 at once and 100 a minute for
what is claimed); 0.45 % with invented names and one reader in From (`reply-to-fan-out`); 0.9 % with invented names and
one verified `d=` (`dkim-fan-out`). The price of the quotas for those that sign for thousands: under one such `d=`
13.5 % (onmicrosoft.com) or 6.7 % (amazonses.com).
Innocents lose nothing: nor does a newsletter whose Reply-To and names are borrowed, since its own mail is proven.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import ANSWERED, ATTACK_US, FAN_OUT, SPAN_US, flood, held, networks, run
from mail.kinds import MINUTE_US

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot

READER = (100, 60, 1_000)
KNOWN = 100
CUSTOMERS = 936

#: Who signs, and what a domain may bring of organisations.
SIGNERS: dict[str, tuple[int, int, int]] = {
    "signer.com": FAN_OUT,
    "amazonses.com": (1_500, 600, 1_500),
    "customer.onmicrosoft.com": (3_000, 600, 3_000),
}


@pytest.mark.parametrize("reader", ["claims@prize.com", "claims@gmail.com"])
def test_one_reader_of_known_organisations_is_held(
    reader: str, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: f"a@org{n % KNOWN}.com", networks(200), reply_to=lambda n: reader)
    seen = run(innocents, attack, rng)
    write_down(f"one Reply-To, {KNOWN} known organisations by turns: {reader}", seen)
    assert seen.lost == {}
    assert seen.limits.keys() == {"reply-to-pace"}
    assert abs(seen.admitted - held(attack, READER)) <= 1
    assert seen.share <= 0.05


def newsletter(start_us: int, span_us: int, rng: random.Random) -> list[Shot]:
    """A proven message of each customer, with the one Reply-To."""
    return flood(
        lambda n: f"news@customer{n}.com",
        lambda n: f"198.51.7.{1 + n % 9}",
        count=CUSTOMERS,
        start_us=start_us,
        span_us=span_us,
        spf="pass",
        kind="newsletter",
        reply_to=lambda n: "answers@letters.com",
        rng=rng,
    )


def test_a_newsletter_whose_names_and_reader_are_borrowed_loses_nothing(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """Its customers became known before, as fast as `reply-to-fan-out` lets new ones through."""
    known = newsletter(ATTACK_US - 110 * MINUTE_US, 100 * MINUTE_US, rng)
    mail = sorted([*innocents, *known, *newsletter(ATTACK_US, SPAN_US, rng)], key=lambda shot: shot.at_us)
    attack = flood(lambda n: f"a@customer{n % KNOWN}.com", networks(200), reply_to=lambda n: "answers@letters.com")
    seen = run(mail, attack, rng)
    write_down(f"the names and the Reply-To of a newsletter for {CUSTOMERS} organisations", seen)
    assert seen.innocent["newsletter"] >= CUSTOMERS - 1
    assert seen.lost == {}
    assert seen.limits.keys() == {"reply-to-pace"}
    assert abs(seen.admitted - held(attack, READER)) <= 1
    assert seen.share <= 0.05


@pytest.mark.parametrize("signer", SIGNERS)
def test_one_verified_signature_brings_so_many_organisations(
    signer: str, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = [
        shot._replace(envelope=shot.envelope.replace(dkim=(signer,)))
        for shot in flood(lambda n: f"a@made{n}.com", networks(400))
    ]
    seen = run(innocents, attack, rng)
    write_down(f"invented organisations with one verified signature: d={signer}", seen)
    assert seen.lost == {}
    assert seen.limits.keys() == {"dkim-fan-out"}
    assert abs(seen.admitted - held(attack, SIGNERS[signer])) <= 1
    assert round(seen.share, 3) == {"signer.com": 0.009, "amazonses.com": 0.067}.get(signer, 0.135)


@pytest.mark.parametrize(
    ("header_from", "signer"),
    [("claims@gmail.com", None), ("claims@prize.com", None), *((f"claims@{signer}", signer) for signer in SIGNERS)],
)
def test_answers_go_to_from_where_there_is_no_reply_to(
    header_from: str,
    signer: str | None,
    innocents: list[Shot],
    rng: random.Random,
    write_down: Callable[[str, Figures], None],
) -> None:
    """Also where the From is of the domain that signed, whatever quota that has in `dkim-fan-out`."""
    attack = [
        shot._replace(envelope=shot.envelope.with_headers(f"From: Prize {n} <{header_from}>".encode()))
        for n, shot in enumerate(flood(lambda n: f"a@made{n}.com", networks(200)))
    ]
    if signer:
        attack = [shot._replace(envelope=shot.envelope.replace(dkim=signer)) for shot in attack]
    seen = run(innocents, attack, rng)
    signed = f", signed by d={signer}" if signer else ""
    write_down(f"invented organisations with one From and no Reply-To: {header_from}{signed}", seen)
    assert seen.lost == {}
    assert seen.limits.keys() == {"reply-to-fan-out"}
    assert abs(seen.admitted - held(attack, ANSWERED)) <= 1
    assert seen.share <= 0.01
