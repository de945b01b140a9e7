"""Names that a platform gives away: tenants below a public suffix, from two hundred networks.

Gain: 0.9 %, 200 at once and 20 a minute below each suffix, whether the list has it (`workers.dev`) or its keeper only;
less where innocents claim new names, too.
Innocents lose: names below that suffix which nobody has seen, of the same class; known ones lose nothing,
other names neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import ATTACK_US, FAN_OUT, flood, held, networks, run
from mail.kinds import MINUTE_US

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
    write_down(f"fresh tenants of a platform: {suffix}{', proven' if spf else ''}", seen)
    most = held(attack, FAN_OUT)
    assert most == 359
    assert most - 60 <= seen.admitted <= most + 1
    assert seen.limits.keys() == {"org-fan-out"}
    assert seen.losers <= {SUFFIXES[suffix]}
    assert sum(seen.lost_known.values()) == 0
    assert sum(seen.lost.values()) < 60


@pytest.mark.parametrize("spf", [None, "pass"])
def test_a_tenant_that_was_there_before_flows(
    spf: str | None, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """With the host that it had, and with fresh ones below its name, which had settled."""
    tenant = flood(
        lambda n: f"shop@{'shop' if n % 2 else f'm{n}.shop'}.workers.dev",
        lambda n: f"198.51.100.{1 + n % 9}",
        count=340,
        start_us=ATTACK_US - 75 * MINUTE_US,
        span_us=83 * MINUTE_US,
        spf=spf,
        kind="tenant",
        rng=rng,
    )
    attack = flood(lambda n: f"a@evil{n}.workers.dev", networks(200), spf=spf)
    seen = run(sorted([*innocents, *tenant], key=lambda shot: shot.at_us), attack, rng)
    write_down(f"fresh tenants of workers.dev, where one tenant is known{': proven' if spf else ': claimed'}", seen)
    assert seen.innocent["tenant"] > 25
    assert seen.lost_of("tenant") == 0
    assert seen.limits.keys() == {"org-fan-out"}
    assert seen.share < 0.01
