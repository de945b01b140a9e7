"""Bounces for mail that nobody here wrote: the null sender.

Gain: everything from ten networks or more, 27 % from one (`pair-pace`). Innocents lose nothing,
their own bounces included, since a network burns the
null sender for itself alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import PAIR, flood, held, networks, run

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


@pytest.mark.parametrize(("count", "sender"), [(200, ""), (10, "<>"), (1, "")])
def test_a_network_burns_the_null_sender_for_itself(
    count: int, sender: str, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: sender, networks(count))
    seen = run(innocents, attack, rng)
    write_down(f"null sender, {count} networks", seen)
    assert seen.innocent["bounces"] > 50
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, PAIR, lambda n: n % count)) <= count
    assert round(seen.share, 2) == {200: 1.00, 10: 1.00, 1: 0.27}[count]
