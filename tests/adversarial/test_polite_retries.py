"""A flood of fresh hosts below one organisation in which everyone who is refused comes again exactly when told.

Gain: the same 200 at once and 20 a minute as without patience: refusals cost nothing and give nothing.
Innocents lose nothing.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from attack import ATTACK_US, ATTACKER, END_US, Figures, networks
from throttle import Envelope, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Shot

PATIENT = 600


def test_patience_gains_the_rate_and_no_more(
    innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    check, seen, client = Throttle(seed=rng.randbytes(16)).check, Figures(), networks(200)
    queue = [(shot.at_us, number, shot.kind, shot.envelope) for number, shot in enumerate(innocents)]
    for n in range(PATIENT):
        envelope = Envelope(client_ip=client(n), mail_from=f"a@x{n}.mass.com", rcpt_to=f"u{n}@box.com")
        queue.append((ATTACK_US + n, len(queue), ATTACKER, envelope))
    heapq.heapify(queue)
    while queue and queue[0][0] < END_US:
        at, number, kind, envelope = heapq.heappop(queue)
        decision = check(envelope, now=at / 1e6)
        if kind != ATTACKER:
            if at >= ATTACK_US:
                seen.innocent[kind] += 1
                if decision.limit is not None:
                    seen.lost[kind, decision.limit] += 1
            continue
        seen.sent += 1
        if decision.allowed:
            seen.admitted += 1
        else:
            assert decision.limit == "org-fan-out"
            seen.limits[decision.limit] += 1
            seen.before_refusal = seen.sent - 1 if seen.before_refusal is None else seen.before_refusal
            heapq.heappush(queue, (at + max(1, round(decision.retry_after * 1e6)), number, kind, envelope))
    write_down(f"{PATIENT:,} fresh hosts that retry when they are told to", seen)
    assert seen.lost == {}
    assert seen.sent > 10 * PATIENT
    assert abs(seen.admitted - (200 + 20 * 8 - 1)) <= 1
