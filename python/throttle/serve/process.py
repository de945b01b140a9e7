"""What a process of `throttle serve` does besides answering: signs of life for systemd, the log's counts, reloads.

It knows no protocol.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from throttle.serve import systemd

if TYPE_CHECKING:
    from throttle.serve.guards import Guards
    from throttle.serve.log import Log

TICK_SECONDS = 2.0
"""How often, at least, a service does what is not done at each request."""


def tick_seconds() -> float:
    """Returns the time from one tick to the next: at most half of what systemd allows without a sign of life."""
    watchdog = systemd.watchdog_seconds()
    return min(TICK_SECONDS, watchdog / 2) if watchdog else TICK_SECONDS


def tick(log: Log) -> None:
    """Gives a sign of life, and writes what the log has left out."""
    systemd.notify("WATCHDOG=1")
    log.flush(time.monotonic())


def reload(guards: Guards, log: Log) -> None:
    """Loads the policies again, and tells systemd so."""
    systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
    guards.reload(log)
    systemd.notify("READY=1")
