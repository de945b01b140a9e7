"""Names that a platform gives away: tenants below a public suffix, from two hundred networks.

Gain: 0.9 %, 200 at once and 20 a minute below each suffix, whether the list has it (`workers.dev`) or its keeper only; less where innocents claim new names, too.
Innocents lose: names below that suffix which nobody has seen, of the same class; known ones lose nothing, other names neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import FAN_OUT, flood, held, networks, run

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


#: A suffix, and the innocents who have names below it.
SUFFIXES = {
    "workers.dev": "tenants of platforms",
    "github.io": "tenants of platforms",
    "duckdns.org": "servers with a dynamic name",
    "onmicrosoft.com": "tenants without a domain",
}


@pytest.mark.parametrize("spf", [None, "pass"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_names_below_a_suffix_share_one_bucket(
    suffix: str, spf: str | None, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(lambda n: f"a@evil{n}.{suffix}", networks(200), spf=spf)
    seen = run(innocents, attack, rng)
    write_down(f"tenants of {suffix}{', proven' if spf else ''}", seen)
    most = held(attack, FAN_OUT)
    assert most == 359
    assert most - 60 <= seen.admitted <= most + 1
    assert seen.limits.keys() == {"org-fan-out"}
    assert seen.losers <= {SUFFIXES[suffix]}
    assert sum(seen.lost_known.values()) == 0
    assert sum(seen.lost.values()) < 60
