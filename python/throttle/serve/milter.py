"""The process of `throttle serve --milter`: libmilter answers in threads of its own until SIGTERM, and the main thread
takes signals, logs notices and gives systemd its signs of life.

It knows no protocol: `throttle.milter` has it.
"""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

from throttle import milter
from throttle.serve import systemd
from throttle.serve.notices import NoticeReader
from throttle.serve.service import TICK_SECONDS

if TYPE_CHECKING:
    from throttle import Throttle
    from throttle.milter import OnFault
    from throttle.serve.guards import Guards
    from throttle.serve.log import Log
    from throttle.serve.metrics import Metrics


def check(address: str, guards: Guards) -> Throttle:
    """Returns the guard that a milter at this address asks, and listens nowhere.

    Raises:
        ValueError: the address is none, or there are several policies.
    """
    milter.parse_address(address)
    (_, guard), *others = guards
    if others:
        raise ValueError("found several policies; allowed: one, because a milter is not told a policy_context")
    return guard


def run(
    address: str,
    guards: Guards,
    log: Log,
    *,
    authserv_id: str | None = None,
    fields: int = 1,
    on_fault: OnFault = "accept",
    metrics: Metrics | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT. SIGHUP loads the policy again.

    Raises:
        ValueError: the address is none, there are several policies, or an argument is wrong.
        OSError: the address cannot be listened on, or libmilter has ended by itself.
    """
    guard = check(address, guards)
    stop, reload = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: reload.set())
    failed: list[Exception] = []

    def is_ready() -> None:
        log.event("listening", f"as a milter on {address}", limited=False)
        systemd.notify("READY=1", "STATUS=Answering as a milter")
        if metrics is not None:
            metrics.is_ready = True

    def serve() -> None:
        try:
            milter.run(
                guard,
                address,
                stop=stop,
                authserv_id=authserv_id,
                fields=fields,
                on_fault=on_fault,
                on_ready=is_ready,
            )
        except (OSError, ValueError) as error:
            failed.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=serve, name="milter")
    thread.start()
    reader, watchdog = NoticeReader(guard), systemd.watchdog_seconds()
    pause = min(TICK_SECONDS, watchdog / 2) if watchdog else TICK_SECONDS
    while not stop.wait(pause):
        if watchdog:
            systemd.notify("WATCHDOG=1")
        if reload.is_set():
            reload.clear()
            guards.reload(log)
        reader.log_new(log, time.monotonic())
        log.flush(time.monotonic())
    systemd.notify("STOPPING=1")
    if metrics is not None:
        metrics.is_ready = False
    thread.join()
    if failed:
        raise failed[0]
    log.event("ended", "the milter has ended", limited=False)
