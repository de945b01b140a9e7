"""Sixteen threads at one guard, at one moment, for one key.

Gain: exactly what one thread gains: 200 fresh hosts below one organisation, 3,000 messages from one network
(`net-claimed-pace`) or 1,000 from one client (`client-claimed-pace`). A thread of innocents
who are known loses nothing meanwhile.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from attack import ATTACK_US, Figures, networks
from throttle import Envelope, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Shot

THREADS = 16
EACH = 2_500
SHAPES: dict[str, tuple[Callable[[int], Envelope], int]] = {
    "fresh hosts": (
        lambda n: Envelope(client_ip=networks(200)(n), mail_from=f"a@x{n}.mass.com", rcpt_to="a@box.com"),
        200,
    ),
    "one name": (
        lambda n: Envelope(client_ip=networks(1)(n), mail_from=f"a{n}@mass.com", rcpt_to=f"u{n}@box.com"),
        3_000,
    ),
    "one client": (
        lambda n: Envelope(client_ip="100.64.0.1", mail_from=f"a{n}@mass.com", rcpt_to=f"u{n}@box.com"),
        1_000,
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_threads_admit_exactly_the_limit_together(
    shape: str, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    guard, seen = Throttle(seed=rng.randbytes(16)), Figures()
    make, expected = SHAPES[shape]
    known = [shot for shot in innocents if shot.at_us < ATTACK_US and isinstance(shot.envelope.mail_from, str)]
    for shot in known:
        assert guard.check(shot.envelope, now=shot.at_us / 1e6)
    now, together = ATTACK_US / 1e6, Barrier(THREADS + 1)

    def attack(thread: int) -> int:
        envelopes = [make(n) for n in range(thread * EACH, (thread + 1) * EACH)]
        together.wait(60)
        return sum(guard.check(envelope, now=now).allowed for envelope in envelopes)

    def mail() -> None:
        together.wait(60)
        for shot in known[-2_000:]:
            decision = guard.check(shot.envelope, now=now)
            seen.innocent[shot.kind] += 1
            if decision.limit is not None:
                seen.lost[shot.kind, decision.limit] += 1

    with ThreadPoolExecutor(THREADS + 1) as pool:
        done = pool.submit(mail)
        seen.admitted = sum(pool.map(attack, range(THREADS)))
        done.result()
    seen.sent, seen.before_refusal = THREADS * EACH, seen.admitted
    write_down(f"sixteen threads at one moment: {shape}", seen)
    assert seen.admitted == expected
    assert seen.lost == {}
