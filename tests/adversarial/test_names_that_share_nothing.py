"""Senders without an organisation: address literals, names under a TLD that does not exist, single labels;
from two hundred networks.

Gain: 0.9 % of each, since all of a sort share one bucket; 2.7 % for all three at once. Innocents lose:
printers and internal machines that were never seen;
known ones lose nothing, others neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import FAN_OUT, FLOOD, flood, held, networks, run

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


SHAPES: dict[str, Callable[[int], str]] = {
    "address literals": lambda n: f"a@[198.18.{n // 250}.{n % 250}]",
    "IPv6 literals": lambda n: f"a@[IPv6:2001:db8::{n:x}]",
    "names under TLDs that are none": lambda n: f"a@x{n}.tld{n}",
    "names under one TLD that is none": lambda n: f"a@x{n}.invalid",
    "single labels": lambda n: f"a@x{n}",
}
WHO_WRITES_SO = {"internal names", "address literals"}


@pytest.mark.parametrize("shape", SHAPES)
def test_all_of_a_sort_share_one_bucket(
    shape: str, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(SHAPES[shape], networks(200))
    seen = run(innocents, attack, rng)
    write_down(f"names without an organisation: {shape}", seen)
    most = held(attack, FAN_OUT)
    assert most == 359
    assert most - 60 <= seen.admitted <= most + 1
    assert seen.losers <= WHO_WRITES_SO
    assert sum(seen.lost_known.values()) == 0
    assert sum(seen.lost.values()) < 60


def test_three_sorts_have_three_buckets(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    sorts = [SHAPES[shape] for shape in ("address literals", "names under TLDs that are none", "single labels")]
    attack = flood(lambda n: sorts[n % 3](n), networks(200))
    seen = run(innocents, attack, rng)
    write_down("names without an organisation: literals, unlisted TLDs and single labels by turns", seen)
    most = held(attack, FAN_OUT, lambda n: n % 3)
    assert round(most / FLOOD, 3) == 0.027
    assert most - 100 <= seen.admitted <= most + 3
    assert seen.losers <= WHO_WRITES_SO
