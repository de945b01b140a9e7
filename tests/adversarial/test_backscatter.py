"""Bounces for mail that nobody here wrote: the null sender.

Gain: in the first two hours after a cold start everything from ten networks or more, 13.5 % from one
(`net-claimed-pace`). Innocents lose nothing, their own bounces included, since a network burns the null sender for
itself alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import CLAIMED, flood, held, in_words, networks, run

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
    write_down(f"the null sender: {in_words(count)}", seen)
    assert seen.innocent["bounces"] > 50
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, CLAIMED, lambda n: n % count)) <= count
    assert round(seen.share, 3) == {200: 1.0, 10: 1.0, 1: 0.135}[count]
