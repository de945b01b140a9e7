"""Ordinary mail of seventy-six minutes, made once, and a guard that has seen it with a flood at its end."""

from __future__ import annotations

import heapq
from operator import itemgetter
from typing import TYPE_CHECKING

import pytest

from mail.mix import ordinary_mail
from surges import PER_HOUR
from throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from throttle import Envelope, Policy

SEED = b"sixteen octets!!"


@pytest.fixture(scope="session")
def ordinary() -> list[tuple[int, Envelope]]:
    return [(message.at_us, message.envelope()) for message in ordinary_mail("diagnosis", PER_HOUR, 75.5 / 60)]


@pytest.fixture(scope="session")
def flooded(ordinary: list[tuple[int, Envelope]]) -> Callable[..., Throttle]:
    """A guard that has seen ordinary mail and a flood."""

    def play(flood: Iterable[tuple[int, Envelope]], policy: str | Policy = "inbound") -> Throttle:
        guard = Throttle(policy, sample=True, seed=SEED)
        for at_us, envelope in heapq.merge(ordinary, flood, key=itemgetter(0)):
            guard.check(envelope, now=at_us / 1e6)
        return guard

    return play
