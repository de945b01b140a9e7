"""An organisation for each message, registered for little or merely claimed; nothing else is shared.

Gain: 359 of each network (`net-org-fan-out`: 200 at once, 20 a minute): 0.9 % from one, 9 % from ten,
all from two hundred. That remains, and only the shares of
capacity bound it. Proven or not makes no difference. Innocents lose nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import FAN_OUT, NETWORKS, flood, held, in_words, networks, run

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


@pytest.mark.parametrize("spf", [None, "pass"])
@pytest.mark.parametrize("count", NETWORKS)
def test_a_network_brings_no_more_than_its_share_of_organisations(
    count: int, spf: str | None, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: f"a@cheap{n}.com", networks(count), spf=spf)
    seen = run(innocents, attack, rng)
    write_down(f"invented organisations that share nothing: {in_words(count)}{', proven' if spf else ''}", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, FAN_OUT, lambda n: n % count)) <= count
    assert round(seen.share, 3) == {200: 1.0, 10: 0.09, 1: 0.009}[count]
    assert seen.limits.keys() <= {"net-org-fan-out"}
