"""One reader of the answers who is written in another way in each message: in broken fields, in the spellings that
mail providers take for one mailbox, under the names of an own domain, or in From alone.

Gain: 179 of 40,000 in each shape, 0.45 %, as under one constant Reply-To (`reply-to-fan-out`, per
`reply_to.mailbox`). A limit per `reply_to.address` holds broken fields and the spellings of providers only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import ANSWERED, flood, held, networks, run
from spellings import spelled, spellings
from throttle import Policy

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot

WAYS = list(spellings())

#: `inbound` with its limits on answers per address, not per reader.
ADDRESSES = Policy.parse("""extends = "inbound"
without = ["reply-to-fan-out", "reply-to-pace"]

[[limit]]
name = "answers-fan-out"
per = "reply_to.address"
distinct = "sender.org"
rate = "100/10 minutes"
refuse = "new"
remember = "1 day"
""")


def letters(n: int) -> str:
    """A name of letters for each number."""
    return "".join(chr(ord("a") + n // 26**place % 26) for place in range(4))


def dotted(n: int) -> str:
    """`prizeclaimsdesk` with dots between its letters: 2¹⁴ ways."""
    return "".join(
        letter + ("." if n >> place & 1 and place < 14 else "") for place, letter in enumerate("prizeclaimsdesk")
    )


#: The header of the nth message, all of them of one reader.
SHAPES: dict[str, Callable[[int], bytes]] = {
    "Gmail's dots": lambda n: f"Reply-To: <{dotted(n)}@{('gmail', 'googlemail')[n % 2]}.com>".encode(),
    "Yahoo's disposable addresses": lambda n: f"Reply-To: desk-{n}@yahoo.com".encode(),
    "Fastmail's subdomains": lambda n: f"Reply-To: {letters(n)}@desk.fastmail.com".encode(),
    "Proton's dots": lambda n: f"Reply-To: {dotted(n)}@{('proton.me', 'pm.me')[n % 2]}".encode(),
    "any name at an own domain": lambda n: f"Reply-To: {letters(n)}@{letters(n * 7)}.prize.com".encode(),
    "From without Reply-To": lambda n: f"From: Prize {n} <claims+{n}@gmail.com>".encode(),
    "From at an own domain, empty Reply-To": lambda n: f"From: {letters(n)}@prize.com\nReply-To: <>".encode(),
    "nine addresses": lambda n: f"Reply-To: {', '.join(f'a{n}@b{n}-{k}.com' for k in range(9))}".encode(),
}


def of(header: Callable[[int], bytes], count: int) -> list[Shot]:
    sent = flood(lambda n: f"a@prize{n}.com", networks(200), count=count)
    return [shot._replace(envelope=shot.envelope.with_headers(header(n))) for n, shot in enumerate(sent)]


def test_a_reply_to_that_is_spelled_in_hundreds_of_ways_is_held_as_a_constant_one_is(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = of(lambda n: b"Reply-To: " + spelled(WAYS[n % len(WAYS)], f"{letters(n)}{n}"), 40_000)
    seen = run(innocents, attack, rng)
    write_down("invented organisations with one Reply-To: a new spelling each", seen)
    assert abs(seen.admitted - held(attack, ANSWERED)) <= 1
    assert seen.share <= 0.01
    assert seen.before_refusal == 100
    assert seen.limits.keys() == {"reply-to-fan-out"}
    assert seen.lost == {}


@pytest.mark.parametrize("shape", SHAPES)
def test_one_reader_is_held_under_all_his_names(
    shape: str, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = of(SHAPES[shape], 40_000)
    seen = run(innocents, attack, rng)
    write_down(f"invented organisations with one reader of answers: {shape}", seen)
    assert abs(seen.admitted - held(attack, ANSWERED)) <= 1
    assert seen.share <= 0.01
    assert seen.limits.keys() == {"reply-to-fan-out"}
    assert seen.lost == {}


@pytest.mark.parametrize("shape", ["Gmail's dots", "any name at an own domain", "From without Reply-To"])
def test_a_limit_per_address_alone_does_not_hold_them_all(
    shape: str, innocents: list[Shot], rng: random.Random
) -> None:
    """Why there is `reply_to.mailbox`: of these, such a limit holds what is one address."""
    seen = run(innocents[:1_000], of(SHAPES[shape], 2_000), rng, policy=ADDRESSES)
    assert (seen.admitted == 2_000) == (shape != "Gmail's dots")
