"""The process of `throttle serve --postfix`: it listens, answers until SIGTERM, and loads its policies again at SIGHUP.

It knows no protocol: `postfix` has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import resource
import signal
from typing import TYPE_CHECKING

from throttle.serve import process, systemd
from throttle.serve.address import shown
from throttle.serve.postfix import PolicyConnection, PolicyService

if TYPE_CHECKING:
    from throttle.serve.address import ListenAddress
    from throttle.serve.guards import Guards
    from throttle.serve.log import Log
    from throttle.serve.metrics import Metrics

END_SECONDS = 2.0
"""How long the end waits for answers to be sent."""


def run(address: ListenAddress, guards: Guards, log: Log, metrics: Metrics) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        AddressError: the address cannot be listened on.
    """
    _allow_many_connections()
    process.let_mail_go_first()
    gc.freeze()  # what is there now stays until the end, and need not be searched for garbage
    asyncio.run(_serve(address, guards, log, metrics))


async def _serve(address: ListenAddress, guards: Guards, log: Log, metrics: Metrics) -> None:
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    reloads = process.Reloads(guards, log)

    def reload() -> None:
        reloads.ask()
        reloads.run(loop.time())

    loop.add_signal_handler(signal.SIGHUP, reload)
    loop.set_exception_handler(lambda _, context: log.event("fault", str(context.get("exception", context["message"]))))
    service = PolicyService(guards, log)
    service.sweep(loop.time())
    metrics.counts = service.counts
    sockets = address.listen()
    servers = [await loop.create_server(lambda: PolicyConnection(service), sock=listener) for listener in sockets]
    for listener in sockets:
        log.event("listening", f"for Postfix on {shown(listener)}", limited=False)
    systemd.notify("READY=1", "STATUS=Answering Postfix")
    process.take_sighup()
    metrics.is_ready = True
    ticks = asyncio.create_task(_tick(service, reloads, log))
    try:
        ended = asyncio.create_task(end.wait())
        await asyncio.wait((ended, ticks), return_when=asyncio.FIRST_COMPLETED)
        if ticks.done():
            ticks.result()  # a fault of the ticks ends the process, and systemd starts another
    finally:
        systemd.notify("STOPPING=1")
        metrics.is_ready = False
        for server in servers:
            server.close()
        address.remove()
        await _end_connections(service)
        ticks.cancel()
        reloads.run(math.inf)
        service.sweep(loop.time())
        log.event("ended", "all answers are sent", limited=False)


async def _tick(service: PolicyService, reloads: process.Reloads, log: Log) -> None:
    """Does what is to be done every few seconds."""
    loop = asyncio.get_running_loop()
    while True:
        reloads.run(loop.time())
        service.sweep(loop.time())
        process.tick(log)
        await asyncio.sleep(process.tick_seconds())


async def _end_connections(service: PolicyService) -> None:
    """Closes all connections. Requests are answered as they come, so only answers that a client does not read wait."""
    for connection in list(service.connections):
        connection.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            await service.no_connections.wait()


def _allow_many_connections() -> None:
    """Raises the soft limit on open files to the hard one: every smtpd keeps a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
