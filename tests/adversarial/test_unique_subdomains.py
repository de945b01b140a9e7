"""A fresh host for each message below one organisation, at whatever depth: the incident.

Gain: 0.9 %, 200 at once and 20 a minute, from however many networks, proven or not. Innocents lose nothing.
(tests/adversarial/test_fan_out.py lays each decision
beside an exact model, with tenants of the same organisation.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import FAN_OUT, flood, held, in_words, networks, run
from outage import SHAPES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


FRESH_NAMES = [shape for shape in SHAPES if not shape.startswith("a settled")]


@pytest.mark.parametrize(
    ("shape", "count", "spf"),
    [(shape, 200, None) for shape in FRESH_NAMES] + [(FRESH_NAMES[0], 10, None), (FRESH_NAMES[0], 1, "pass")],
)
def test_an_organisation_has_one_allowance_for_hosts(
    shape: str,
    count: int,
    spf: str | None,
    innocents: list[Shot],
    rng: random.Random,
    write_down: Callable[[str, Figures], None],
) -> None:
    attack = flood(lambda n: f"m@{SHAPES[shape](n)}", networks(count), spf=spf)
    seen = run(innocents, attack, rng)
    write_down(f"fresh hosts under one organisation: {shape}, {in_words(count)}{', proven' if spf else ''}", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, FAN_OUT)) <= 1
    assert seen.limits.keys() == {"org-fan-out"}
