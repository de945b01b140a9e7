"""Fresh local parts, sub-addresses and return paths for each recipient (VERP), all at one host.

Gain: everything from ten networks or more in the first two hours after a cold start, since nothing but one claimed
name and capacity is shared (what it gains later stands in test_proven_owners.py); 13.5 % from one network
(`net-claimed-pace`: 3,000 at once and 300 a minute), and 27 % from however many when the name is proven (`owner-pace`:
6,000 at once and 600 a minute). Innocents lose nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import CLAIMED, FLOOD, OWNER, flood, held, in_words, networks, run

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


SHAPES: dict[str, Callable[[int], str]] = {
    "fresh local parts": lambda n: f"user{n}@mass.com",
    "sub-addresses": lambda n: f"user+tag{n}@mass.com",
    "a return path for each recipient": lambda n: f"list-bounces+u{n}=box.com@mass.com",
}


@pytest.mark.parametrize(
    ("shape", "count"), [(shape, 1) for shape in SHAPES] + [("fresh local parts", 10), ("sub-addresses", 200)]
)
def test_a_claimed_name_is_held_for_each_network(
    shape: str, count: int, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(SHAPES[shape], networks(count))
    seen = run(innocents, attack, rng)
    write_down(f"one claimed name, fresh local parts: {shape}, {in_words(count)}", seen)
    assert seen.lost == {}
    assert seen.sent == FLOOD
    assert abs(seen.admitted - held(attack, CLAIMED, lambda n: n % count)) <= count
    assert round(seen.share, 3) == {200: 1.0, 10: 1.0, 1: 0.135}[count]
    assert seen.limits.keys() <= {"net-claimed-pace"}


def test_a_proven_name_is_held_wherever_it_sends_from(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(SHAPES["fresh local parts"], networks(200), spf="pass")
    seen = run(innocents, attack, rng)
    write_down("one proven name, fresh local parts: 200 networks", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, OWNER)) <= 1
    assert seen.limits.keys() == {"owner-pace"}
