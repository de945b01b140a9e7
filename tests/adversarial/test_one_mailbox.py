"""Everything for one mailbox.

Gain: 600 at once and 60 a minute from each network (`rcpt-pace`): everything from two hundred, 27 % from ten,
2.7 % from one. Innocents lose nothing, those who write to that
mailbox included: a network burns it for itself alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import FLOOD, MAILBOX, NETWORKS, SPAN_US, flood, held, in_words, networks, run

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


def box(n: int) -> str:
    return "victim@box.com"


@pytest.mark.parametrize("count", NETWORKS)
def test_a_network_burns_the_mailbox_for_itself(
    count: int, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    friends = flood(
        lambda n: f"friend{n}@friends{n}.com",
        lambda n: f"198.51.{n % 50}.9",
        count=800,
        rcpt_to=box,
        kind="friends",
        rng=rng,
    )
    attack = flood(lambda n: f"a{n % 50}@mass{n % 50}.com", networks(count), rcpt_to=box)
    assert len(attack) == FLOOD
    mail = sorted(innocents + friends, key=lambda shot: shot.at_us)
    seen = run(mail, attack, rng)
    write_down(f"one mailbox as recipient: {in_words(count)}", seen)
    assert seen.innocent["friends"] >= 795
    assert attack[-1].at_us - attack[0].at_us < SPAN_US
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, MAILBOX, lambda n: n % count)) <= count
    assert round(seen.share, 3) == {200: 1.0, 10: 0.27, 1: 0.027}[count]
