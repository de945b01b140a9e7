"""The two floods that cost least: known names that eight networks claim by turns, and four proven domains of the
attacker's own from two networks.

Gain: all of it. A network gets 5,400 messages for what it claims in eight minutes (`net-claimed-pace`), a domain 10,800
for what it proves (`owner-pace`), a network 27,000 in all (`net-pace`); with one network or one domain less, the rest
is refused. Innocents lose nothing. This remains, and SECURITY.md states it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import ATTACK_US, CLAIMED, FLOOD, NETWORK, OWNER, flood, held, in_words, networks, run
from mail.kinds import MINUTE_US

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot

NAMES = 100


@pytest.mark.parametrize("count", [8, 7])
def test_known_names_claimed_by_turns_pass_from_eight_networks(
    count: int, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    own_mail = flood(
        lambda n: f"a@firm{n % NAMES}.com",
        lambda n: f"198.51.{n % NAMES}.9",
        count=2 * NAMES,
        start_us=ATTACK_US - 60 * MINUTE_US,
        span_us=50 * MINUTE_US,
        kind="owners of the names",
    )
    mail = sorted([*innocents, *own_mail], key=lambda shot: shot.at_us)
    # The names change more slowly than the networks, so each network claims all of them.
    attack = flood(lambda n: f"a@firm{n // count % NAMES}.com", networks(count))
    seen = run(mail, attack, rng)
    write_down(f"{NAMES} known names claimed by turns: {in_words(count)}", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, CLAIMED, lambda n: n % count)) <= count
    assert (seen.admitted == FLOOD) == (count == 8)


@pytest.mark.parametrize(("domains", "count"), [(4, 2), (3, 2), (4, 1)])
def test_four_proven_domains_pass_from_two_networks_with_one_reply_to(
    domains: int,
    count: int,
    innocents: list[Shot],
    rng: random.Random,
    write_down: Callable[[str, Figures], None],
) -> None:
    # The domains change more slowly than the networks, so each network sends for all of them.
    attack = flood(
        lambda n: f"a@own{n // count % domains}.com",
        networks(count),
        spf="pass",
        reply_to=lambda n: "claims@prize.com",
    )
    seen = run(innocents, attack, rng)
    write_down(f"proven domains with one Reply-To: {domains} from {in_words(count)}", seen)
    of_domains = held(attack, OWNER, lambda n: n // count % domains)
    assert seen.lost == {}
    assert abs(seen.admitted - min(of_domains, held(attack, NETWORK, lambda n: n % count))) <= domains
    assert (seen.admitted == FLOOD) == ((domains, count) == (4, 2))
