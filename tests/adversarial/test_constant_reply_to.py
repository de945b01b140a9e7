"""An organisation for each message, from two hundred networks, and one mailbox for the answers:
what is invented costs nothing, a mailbox that is read does.

Gain: 179 of 40,000 (`reply-to-fan-out`: 100 at once, 10 a minute), 0.45 %, whether the mailbox is spelled one way or in
many, stands alone or is one of several,
and whether the organisations are proven. Innocents lose nothing, those who take their answers at that very mailbox and
were known included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import ANSWERED, ATTACK_US, flood, held, networks, run
from mail.kinds import MINUTE_US
from throttle import Envelope

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot

MAILBOX = "claims@prize.com"

#: The nth message's header, however it is written.
SPELLINGS: dict[str, Callable[[int], str]] = {
    "as it is": lambda n: f"Reply-To: {MAILBOX}",
    "in many ways": lambda n: (
        f"Reply-To: Prize {n} <claims+{n}@PRIZE.com>",
        f'reply-to:\r\n "{n}" <claims@prize.com.>',
        f"Reply-To: =?utf-8?q?Prize_{n}?=\r\n\t<claims@prize.com> ({n})",
        f"Reply-To: ({n}) claims({n})@prize.com",
        f'Reply-To: team {n}: <"claims"@prize.com>;',
    )[n % 5],
    "beside others": lambda n: f"Reply-To: a{n}@b{n}.com, {MAILBOX}, c{n}@d{n}.com",
}


@pytest.mark.parametrize("spf", [None, "pass"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_invented_organisations_with_one_mailbox_for_answers_are_held(
    spelling: str,
    spf: str | None,
    innocents: list[Shot],
    rng: random.Random,
    write_down: Callable[[str, Figures], None],
) -> None:
    attack = [
        shot._replace(envelope=shot.envelope.with_headers(SPELLINGS[spelling](n).encode()))
        for n, shot in enumerate(flood(lambda n: f"a@prize{n}.com", networks(200), spf=spf))
    ]
    seen = run(innocents, attack, rng)
    write_down(f"invented organisations with one Reply-To: {spelling}{', proven' if spf else ''}", seen)
    most = held(attack, ANSWERED)
    assert most == 179
    assert abs(seen.admitted - most) <= 1
    assert seen.share <= 0.01
    assert seen.before_refusal == 100
    assert seen.limits.keys() == {"reply-to-fan-out"}
    assert seen.lost == {}


def test_whose_mailbox_is_forged_loses_nothing_but_what_nobody_knows(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """Sixty firms whose answers go to one mailbox, known from before, write on while the mailbox is in every message of
    a flood.
    """
    owner = flood(
        lambda n: f"bill@customer{n % 60}.com",
        lambda n: f"198.51.100.{1 + n % 60}",
        count=600,
        start_us=ATTACK_US - 30 * MINUTE_US,
        span_us=38 * MINUTE_US,
        kind="customers of a service",
        reply_to=lambda n: MAILBOX,
        rng=rng,
    )
    attack = flood(lambda n: f"a@prize{n}.com", networks(200), reply_to=lambda n: MAILBOX)
    seen = run(sorted([*innocents, *owner], key=lambda shot: shot.at_us), attack, rng)
    write_down("invented organisations with the Reply-To of a service", seen)
    assert seen.innocent["customers of a service"] > 100
    assert seen.lost == {}
    assert seen.share <= 0.01


def test_without_an_answer_to_be_had_it_is_organisations_invented_and_nothing_shared(
    innocents: list[Shot], rng: random.Random
) -> None:
    """What remains: who wants no answer, or has as many mailboxes as organisations, shares nothing."""
    count = 2_000
    attack = flood(lambda n: f"a@prize{n}.com", networks(200), count=count, reply_to=lambda n: f"claims@prize{n}.com")
    assert run(innocents, attack, rng).admitted == count
    assert Envelope.from_message(b"Reply-To: <>\n").reply_to == ()
