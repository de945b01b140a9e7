"""The process of `throttle serve --postfix`: a thread in Rust answers Postfix's policy delegation (SMTPD_POLICY_README)
until SIGTERM, and the main thread takes signals, writes the log and gives systemd its signs of life, if the other one
still turns.

It knows no protocol: `throttle._core.PolicyServer` does. The answer is `action=DUNNO`, or the reply line of the limit
that refuses. Whatever goes wrong there, the connection is closed without an answer, and `default_action` in `main.cf`
says what becomes of the mail.
Invariant: the thread that answers does not take Python's lock, so nothing that Python does here delays an answer.
"""

from __future__ import annotations

import contextlib
import math
import resource
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

from throttle._core import PolicyServer
from throttle.serve import process, systemd
from throttle.serve.address import shown
from throttle.serve.metrics import counter, gauge
from throttle.serve.notices import NoticeReader

if TYPE_CHECKING:
    from throttle.serve.address import ListenAddress
    from throttle.serve.guards import Guards
    from throttle.serve.log import Log
    from throttle.serve.metrics import Families, Metrics

MOST_SMTP_CONNECTIONS = 30_000
"""The most SMTP connections that are kept for each policy: 20 seconds of a flood that brings 1,500 a second."""

OTHER_FILES = 64
"""The open files that policy clients leave to the rest: policies, the log, metrics, control and signs of life."""

MOST_FILES = 1 << 20
"""The most open files when the system sets no limit."""

REST_SECONDS = 0.02
"""The time from one look at the events to the next: clients that cause many take no processor from mail."""


def run(address: ListenAddress, guards: Guards, log: Log, metrics: Metrics) -> None:
    """Serves until SIGTERM or SIGINT. SIGHUP loads the policies again.

    Raises:
        AddressError: the address cannot be listened on.
        RuntimeError: the thread that answers has ended by itself.
    """
    most_connections = _allow_many_connections()
    stop, reloads = process.take_signals(guards, log)
    service = PolicyService(guards, log, most_connections)
    metrics.counts = service.counts
    listeners = address.listen()
    for listener in listeners:
        log.event("listening", f"for Postfix on {shown(listener)}", limited=False)
    service.start(listeners)
    systemd.notify("READY=1", "STATUS=Answering Postfix")
    process.take_sighup()
    metrics.is_ready = True
    try:
        while not stop.is_set():
            reloads.run(time.monotonic())
            service.tick(time.monotonic())
            next_at = time.monotonic() + process.tick_seconds()
            while not stop.is_set() and service.wait(next_at - time.monotonic()):
                reloads.run(time.monotonic())
    finally:
        systemd.notify("STOPPING=1")
        metrics.is_ready = False
        address.remove()
        service.end()
    reloads.run(math.inf)
    service.log_new(time.monotonic())
    log.event("ended", "all answers are sent", limited=False)


class PolicyService:
    """The thread that answers, and what the main thread does for it."""

    def __init__(self, guards: Guards, log: Log, most_connections: int) -> None:
        by_name = {source.name: guard for source, guard in guards}
        self._server = PolicyServer(by_name, MOST_SMTP_CONNECTIONS, most_connections)
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None
        self._log = log
        self._readers = [NoticeReader(guard, str(source)) for source, guard in guards]
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._turns = -1
        self._dropped = 0
        self._unknown = 0

    def start(self, listeners: list[socket.socket]) -> None:
        """Begins to answer. The sockets are closed at the end. Signals and events end `wait` from now on."""
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        descriptors = [listener.detach() for listener in listeners]
        self._thread = threading.Thread(target=self._answer, args=(descriptors,), name="policy")
        self._thread.start()

    def _answer(self, listeners: list[int]) -> None:
        try:
            self._server.run(listeners, self._wake.dup().detach(), process.tick_seconds() / 2)
        except BaseException as error:  # noqa: BLE001  a panic is none of `Exception`
            self._fault = error
            with contextlib.suppress(BlockingIOError):
                self._wake.send(b"\0")

    def wait(self, seconds: float) -> bool:
        """Waits for a signal, or for something to log, which is logged; at most so long. Tells whether it came.

        Raises:
            RuntimeError: the thread that answers has ended by itself.
        """
        self._woken.settimeout(max(0.001, seconds))
        try:
            self._woken.recv(4096)
        except TimeoutError:
            return False
        if self._fault is not None:
            raise RuntimeError("the thread that answers policy clients has ended") from self._fault
        self._log_events()
        time.sleep(REST_SECONDS)
        return True

    def tick(self, now: float) -> None:
        """Logs what has come up, and gives a sign of life if the thread has turned since the last tick."""
        self.log_new(now)
        turns = self._server.turns
        process.tick(self._log, is_alive=turns != self._turns)
        self._turns = turns

    def end(self) -> None:
        """Ends the thread, once the answers that are made are sent."""
        self._server.stop()
        if self._thread is not None:
            self._thread.join()
        signal.set_wakeup_fd(-1)
        self._wake.close()
        self._woken.close()

    def log_new(self, now: float) -> None:
        """Logs events, what was counted, and notices."""
        self._log_events()
        dropped, self._dropped = self._server.dropped - self._dropped, self._server.dropped
        if dropped:
            self._log.event("connections dropped", f"{dropped:,} SMTP connections, because the table was full")
        unknown, self._unknown = self._server.unknown_contexts - self._unknown, self._server.unknown_contexts
        if unknown:
            message = f"requests: {unknown:,}; the policy without a name answers them"
            self._log.event("unknown policy_context", message)
        for reader in self._readers:
            reader.log_new(self._log, now)

    def _log_events(self) -> None:
        for event, message, times in self._server.take_events():
            if times == 1:
                self._log.event(event, message)
            else:
                self._log.event(event, message, times=times)

    def counts(self) -> Families:
        """Returns what the service counts, for its metrics."""
        server = self._server
        return [
            counter("throttle_requests", "Requests of policy clients that were answered.", server.requests),
            counter("throttle_errors", "Connections closed without an answer: a fault, or no request.", server.errors),
            gauge("throttle_connections", "Open connections of policy clients.", server.connections),
            gauge("throttle_smtp_connections", "SMTP connections that are kept.", server.smtp_connections),
            counter(
                "throttle_smtp_connections_dropped",
                "SMTP connections that were forgotten because the table was full.",
                server.dropped,
            ),
        ]


def _allow_many_connections() -> int:
    """Raises the soft limit on open files to the hard one, since every smtpd keeps a connection.

    Returns how many connections there may be.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (MOST_FILES if soft == resource.RLIM_INFINITY else soft) - OTHER_FILES)
