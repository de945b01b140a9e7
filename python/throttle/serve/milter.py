"""The process of `throttle serve --milter`: libmilter answers in threads of its own until SIGTERM, and the main thread
takes signals, logs notices and sends systemd watchdog signals, if the milter answers it.

It knows no protocol: `throttle.milter` has it.
"""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any

from throttle import milter
from throttle.serve import process, systemd
from throttle.serve.address import ListenAddress
from throttle.serve.metrics import counter, gauge
from throttle.serve.notices import NoticeReader

if TYPE_CHECKING:
    from throttle import Throttle
    from throttle.serve.guards import Guards
    from throttle.serve.log import Log
    from throttle.serve.metrics import Metrics

SWITCH_SECONDS = 0.0005
"""How long a thread that answers metrics or control may keep Python's lock while mail waits for it.

The default of 5 ms is what a scrape would add to the slowest answers.
"""


def check(address: str, guards: Guards, **options: Any) -> Throttle:
    """Returns the guard that a milter at this address asks, and listens nowhere.

    `options` are those of `throttle.milter.ThrottleMilter`.

    Raises:
        ValueError: the address cannot be opened, there are several policies, or an option is wrong.
    """
    ListenAddress.parse(address, fixed=True).check()
    (source, guard), *others = guards
    if others:
        raise ValueError("found several policies; allowed: one, because a milter is not told a policy_context")
    if source.name:
        raise ValueError(
            f"found policy {source}; allowed: without NAME=, because a milter is not told a policy_context"
        )
    milter.ThrottleMilter(guard, **options)
    return guard


def run(address: str, guards: Guards, log: Log, metrics: Metrics, **options: Any) -> None:
    """Serves until SIGTERM or SIGINT. SIGHUP loads the policy again. The arguments are those of `check`.

    Raises:
        ValueError: the address is none, there are several policies, or an option is wrong.
        OSError: the address cannot be listened on, or libmilter has ended by itself.
    """
    guard = check(address, guards, **options)
    sys.setswitchinterval(SWITCH_SECONDS)
    stop, reloads = process.take_signals(guards, log)
    process.take_sighup()  # before libmilter begins: it would take a pending one as its own end
    reader = NoticeReader(guard, str(next(iter(guards))[0]))
    counts = milter.Counts()
    metrics.counts = lambda: [
        counter("throttle_requests", "Steps of the milter that were answered.", counts.steps),
        counter("throttle_errors", "Steps of the milter that failed on our side.", counts.faults),
        gauge("throttle_connections", "Open SMTP connections.", counts.connections),
    ]

    def is_ready() -> None:
        log.event("listening", f"as a milter on {address}", limited=False)
        systemd.notify("READY=1", "STATUS=Answering as a milter")
        metrics.is_ready = True

    def tick() -> None:
        reloads.run(time.monotonic())
        reader.log_new(log, time.monotonic())
        watchdog = systemd.watchdog_seconds()  # without one nobody asks, and the question costs a thread of libmilter
        metrics.is_alive = watchdog is None or milter.answers(address, watchdog / 4)
        process.tick(log, is_alive=metrics.is_alive)

    try:
        milter.run(
            guard,
            address,
            stop=stop,
            on_error=lambda step, error: log.fault(f"fault at {step}", error),
            counts=counts,
            on_ready=is_ready,
            on_tick=tick,
            tick_seconds=process.tick_seconds(),
            **options,
        )
        reloads.run(math.inf)
        reader.log_new(log, time.monotonic())
    finally:
        systemd.notify("STOPPING=1")
        metrics.is_ready = False
    log.event("ended", "the milter has ended", limited=False)
    process.ignore_signals()
