"""All at once at the edges of ten minutes: 200 fresh hosts in the last second before each,
200 in the first second after.

Gain: 200, and then what drains, 20 a minute: at most 400 in any ten minutes, 200 at any moment;
edges mean nothing to a bucket. Innocents lose nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attack import ATTACK_US, FAN_OUT, Shot, held, networks, run, settling
from mail.kinds import MINUTE_US
from throttle import Envelope

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures


EDGES = 6
SECOND_US = 1_000_000


def most_in(times: list[int], span_us: int) -> int:
    """The most in any window of that length."""
    most, first = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - span_us:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_edges_mean_nothing(seed: str, rng: random.Random, write_down: Callable[[str, Figures], None]) -> None:
    client = networks(200)
    attack = []
    for edge in range(EDGES):
        begin = ATTACK_US + (10 * edge + 5) * MINUTE_US - SECOND_US
        for n in range(400):
            at = begin + n * 2 * SECOND_US // 400
            envelope = Envelope(client_ip=client(n), mail_from=f"a@e{edge}x{n}.mass.com", rcpt_to=f"u{n}@box.com")
            attack.append(Shot(at, "attacker", envelope))
    quiet_mail = settling(seed, 10_000, 75 + 10 * EDGES)
    seen = run(quiet_mail, attack, rng)
    write_down("bursts at the edges of ten minutes", seen)
    assert seen.lost == {}
    assert seen.admitted == held(attack, FAN_OUT) == 200 * EDGES
    assert most_in(seen.admitted_at, 2 * SECOND_US) == 200
    assert most_in(seen.admitted_at, 10 * MINUTE_US + 2 * SECOND_US) <= 400
