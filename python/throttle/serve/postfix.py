"""The process of `throttle serve --postfix`: a thread that runs Rust answers Postfix's policy delegation
(SMTPD_POLICY_README) until SIGTERM. The main thread takes signals, writes the log, and sends systemd watchdog signals
while the loop of the other one runs.

It knows no protocol: `throttle._core.PolicyServer` does. The answer is `action=DUNNO`, or the reply line of the limit
that refuses. Whatever goes wrong there, the connection is closed without an answer, and `default_action` in `main.cf`
says what becomes of the mail.
Invariant: the thread that answers does not take Python's lock, so it waits for no Python code.
"""

from __future__ import annotations

import contextlib
import math
import resource
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

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

OTHER_FILES = 160
"""The open files that policy clients leave to the rest: 32 that wait for a place, 64 clients of metrics, 8 of control,
policies, the log and watchdog signals.
"""

MOST_FILES = 1 << 20
"""The most open files when the system sets no limit."""

END_SECONDS = 4.0
"""How long the service waits at its end for the answering thread, which waits two seconds for clients to read."""

REST_SECONDS = 0.02
"""The pause between two reads of the events, so that clients with many events take no processor time from mail."""


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
    tick_at = 0.0
    try:
        while not stop.is_set():
            now = time.monotonic()
            service.log_new(now)
            reloads.run(now)
            if now >= tick_at:
                metrics.is_alive = service.is_alive()
                process.tick(log, is_alive=metrics.is_alive)
                tick_at = now + process.tick_seconds()
            service.wait(tick_at - now)
    finally:
        systemd.notify("STOPPING=1")
        metrics.is_ready = False
        address.remove()
        unread = service.end()
    reloads.run(math.inf)
    service.log_new(time.monotonic())
    log.event("ended", f"{unread:,} clients read no answers" if unread else "all answers are sent", limited=False)
    process.ignore_signals()


class PolicyService:
    """The thread that answers, and what the main thread does for it."""

    def __init__(self, guards: Guards, log: Log, most_connections: int) -> None:
        by_name = {source.name: guard for source, guard in guards}
        self._server = PolicyServer(by_name, MOST_SMTP_CONNECTIONS, most_connections)
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None
        self._unread = 0
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
        self._thread = threading.Thread(target=self._answer, args=(descriptors,), name="policy", daemon=True)
        self._thread.start()

    def _answer(self, listeners: list[int]) -> None:
        try:
            self._unread = self._server.run(listeners, self._wake.dup().detach(), process.tick_seconds() / 2)
        except BaseException as error:  # noqa: BLE001  a panic is none of `Exception`
            self._fault = error
            with contextlib.suppress(BlockingIOError):
                self._wake.send(b"\0")

    def wait(self, seconds: float) -> None:
        """Waits up to `seconds` for a signal, or for something to log.

        Raises:
            RuntimeError: the thread that answers has ended by itself.
        """
        self._woken.settimeout(max(0.001, seconds))
        try:
            self._woken.recv(4096)
        except TimeoutError:
            return
        if self._fault is not None:
            raise RuntimeError("the thread that answers policy clients has ended") from self._fault
        time.sleep(REST_SECONDS)

    def is_alive(self) -> bool:
        """Whether the loop of the thread that answers has run since the last call."""
        before, self._turns = self._turns, self._server.turns
        return self._turns != before

    def end(self) -> int:
        """Ends the thread, once the answers that are made are sent. Returns how many clients did not read theirs."""
        self._server.stop()
        if self._thread is not None:
            self._thread.join(END_SECONDS)
            if self._thread.is_alive():
                self._log.event("fault", "the thread that answers policy clients does not end", limited=False)
        signal.set_wakeup_fd(-1)
        self._wake.close()
        self._woken.close()
        return self._unread

    def log_new(self, now: float) -> None:
        """Logs events, what was counted, and notices."""
        for event, message, times in self._server.take_events():
            repeated: dict[str, Any] = {} if times == 1 else {"times": times}
            self._log.event(event, message, **repeated)
        dropped, self._dropped = self._server.dropped - self._dropped, self._server.dropped
        if dropped:
            self._log.event("connections dropped", f"{dropped:,} SMTP connections, because the table was full")
        unknown, self._unknown = self._server.unknown_contexts - self._unknown, self._server.unknown_contexts
        if unknown:
            message = f"requests: {unknown:,}; the policy without a name answers them"
            self._log.event("unknown policy_context", message)
        for reader in self._readers:
            reader.log_new(self._log, now)

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
