"""Fresh hosts so slowly that no limit is met, for hours.

Gain: everything, which is 20 a minute (28,800 a day) below one organisation; that is what the limit allows,
and no more. Innocents lose nothing while it drips, not even
fresh hosts of the same organisation as long as those fit in its burst. Once the burst is spent as well,
fresh hosts of that organisation and class find what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import ATTACK_US, FAN_OUT, Shot, flood, held, networks, run, settling
from mail.kinds import MINUTE_US

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


HOURS = 3


@pytest.fixture(scope="module")
def quiet_mail(seed: str) -> list[Shot]:
    return settling(seed, 10_000, 75 + 60 * HOURS)


def test_twenty_a_minute_pass_and_hurt_nobody(
    quiet_mail: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(
        lambda n: f"a@x{n}.zendesk.com",
        networks(200),
        count=20 * 60 * HOURS,
        span_us=60 * HOURS * MINUTE_US,
        spf="pass",
    )
    seen = run(quiet_mail, attack, rng)
    write_down(f"slow drip of fresh hosts below a provider's name for {HOURS} hours: 20 a minute", seen)
    assert seen.innocent["help desks"] > 100
    assert seen.lost == {}
    assert seen.admitted == seen.sent


def test_a_drip_at_twice_the_rate_gets_the_rate_and_leaves_fresh_hosts_of_that_name_little(
    quiet_mail: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(
        lambda n: f"a@x{n}.zendesk.com",
        networks(200),
        count=40 * 60 * HOURS,
        span_us=60 * HOURS * MINUTE_US,
        spf="pass",
    )
    seen = run(quiet_mail, attack, rng)
    write_down(f"slow drip of fresh hosts below a provider's name for {HOURS} hours: 40 a minute", seen)
    most = held(attack, FAN_OUT)
    assert abs(most - (200 + 20 * 60 * HOURS)) <= 1
    assert most - 60 <= seen.admitted <= most
    assert seen.losers <= {"help desks"}
    assert sum(seen.lost_known.values()) == 0
    assert all(shot.at_us >= ATTACK_US for shot in attack)
