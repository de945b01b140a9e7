"""Threads that share a guard: exactly the limit is admitted, whoever asks."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from typing import TYPE_CHECKING

from given_guards import REAL, guard, limit
from throttle import Envelope, ManualClock, RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 8

EACH = 4000


def hammer(ask: Callable[[int], bool]) -> int:
    """How many were admitted of what all threads asked, beginning together."""
    start = threading.Barrier(THREADS)
    admitted = [0] * THREADS

    def run(number: int) -> None:
        start.wait()
        admitted[number] = sum(ask(number) for _ in range(EACH))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(admitted)


def test_a_guard_admits_exactly_its_limit() -> None:
    pace = guard(limit("pace", "sender.org", "5000/day"), limit("net", "client.ip", "4000/day"))
    envelopes = [Envelope(client_ip=f"192.0.2.{number % 2}", mail_from="a@b.com") for number in range(THREADS)]
    assert hammer(lambda number: pace.check(envelopes[number]).allowed) == 5000


def test_a_guard_admits_exactly_its_limit_of_new_names() -> None:
    pace = guard(limit("fan", "sender.registered", "700/day", distinct="sender.host"))
    fresh = itertools.count()
    assert hammer(lambda number: pace.check(Envelope(mail_from=f"a@h{next(fresh)}.b.com")).allowed) == 700


def test_a_limiter_admits_exactly_its_limit_a_key() -> None:
    pace = RateLimiter("3000/day", clock=ManualClock(REAL))
    told: Counter[int] = Counter()

    def ask(number: int) -> bool:
        allowed = pace.hit(f"key {number % 2}").allowed
        told[number] += 1  # each thread has a counter of its own
        return allowed

    assert hammer(ask) == 2 * 3000
    assert told == Counter(dict.fromkeys(range(THREADS), EACH))
