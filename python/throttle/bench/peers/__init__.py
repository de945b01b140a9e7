"""The peers, each as one call of its own: no function of ours stands between. All in memory, at their fastest
documented use.

It knows no traffic. Invariant: background work of a peer is part of its own cost, and ``settle`` keeps it out of
everybody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import throttle


@dataclass(frozen=True)
class Peer:
    """A way to limit keys."""

    name: str
    #: One key, one charge; the answer is the peer's own.
    hit: Callable[[str], Any]
    #: What the answer means.
    admitted: Callable[[Any], bool] = bool
    #: Keeps one number a key, as ours does: GCRA or token bucket.
    alike: bool = False
    settle: Callable[[], None] = lambda: None


#: From what a key may do in a minute.
Maker = Callable[[int], Peer]

#: Distributions, and the module here that knows them.
DISTRIBUTIONS = {"limits": "limits", "pyrate-limiter": "pyrate", "throttled-py": "throttled"}


def ours(per_minute: int, memory: str = "2 MiB") -> Peer:
    """Two mebibytes have slots for 229,000 keys at once."""
    return Peer("throttle, GCRA", throttle.RateLimiter(f"{per_minute}/minute", memory=memory).hit)


def our_window(per_minute: int, memory: str = "16 MiB") -> Peer:
    """A key keeps its slot for a minute and more: sixteen mebibytes have 786,000 of them."""
    limiter = throttle.RateLimiter(f"{per_minute}/minute", memory=memory, algorithm="sliding-window")
    return Peer("throttle, sliding window", limiter.hit)


def installed() -> tuple[list[Maker], list[str]]:
    """What makes the peers that are installed, and the distributions that are not."""
    makers: list[Maker] = []
    missing = []
    for distribution, module in DISTRIBUTIONS.items():
        try:
            makers += import_module(f"{__name__}.{module}").MAKERS
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("throttle."):
                raise
            missing.append(distribution)
    return makers, missing
