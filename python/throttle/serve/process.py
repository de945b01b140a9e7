"""What a process of `throttle serve` does besides answering: watchdog signals for systemd, the log's counts, reloads.

It knows no protocol.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from typing import TYPE_CHECKING

from throttle.serve import systemd

if TYPE_CHECKING:
    from throttle.serve.guards import Guards
    from throttle.serve.log import Log

TICK_SECONDS = 2.0
"""How often, at least, a service does what is not done at each request."""

RELOAD_SECONDS = 1.0
"""The least time from one reload to the next."""


def tick_seconds() -> float:
    """Returns the time from one tick to the next: at most half of what systemd allows without a watchdog signal."""
    watchdog = systemd.watchdog_seconds()
    return min(TICK_SECONDS, watchdog / 2) if watchdog else TICK_SECONDS


def tick(log: Log, *, is_alive: bool = True) -> None:
    """Sends a watchdog signal, if the service answers, and writes what the log has left out."""
    if is_alive:
        systemd.notify("WATCHDOG=1")
    else:
        log.event(
            "no watchdog signal", "mail gets no answers; a watchdog of systemd restarts the service if this goes on"
        )
    log.flush(time.monotonic())


def take_signals(guards: Guards, log: Log) -> tuple[threading.Event, Reloads]:
    """Lets SIGTERM and SIGINT set the event, and SIGHUP ask for a reload."""
    stop, reloads = threading.Event(), Reloads(guards, log)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: reloads.ask())
    return stop, reloads


def ignore_signals() -> None:
    """Lets no signal end a process that is ending: Python would give back the system's handlers meanwhile."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def take_sighup() -> None:
    """Lets SIGHUP come, also one that has come since the start of the process, when `throttle.cli` blocked it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


class Reloads:
    """Loads the policies again when SIGHUP asks for it, at most once in `RELOAD_SECONDS`, however often it comes."""

    def __init__(self, guards: Guards, log: Log) -> None:
        self._guards = guards
        self._log = log
        self._is_asked = False
        self._next_at = -math.inf

    def ask(self) -> None:
        """Notes a SIGHUP."""
        self._is_asked = True

    def run(self, now: float) -> None:
        """Loads the policies, and tells systemd so, if it is asked and the last time is long enough ago.

        `now` is in seconds; `math.inf` at the end, before which what was asked is done.
        """
        if not self._is_asked or now < self._next_at:
            return
        self._is_asked = False
        systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        self._guards.reload(self._log)
        systemd.notify("READY=1")
        self._next_at = now + RELOAD_SECONDS
