"""Postfix's policy delegation: one answer for each request (SMTPD_POLICY_README).

The answer is `action=DUNNO`, or the reply line of the limit that refuses.
Invariants: an answer is one legal line. Whatever goes wrong here, the connection is closed without an answer, and
`default_action` in `main.cf` says what becomes of the mail. A connection holds at most one unfinished request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from throttle._core import PolicyDelegation
from throttle.errors import ThrottleError
from throttle.serve.metrics import counter, gauge
from throttle.serve.notices import NoticeReader

if TYPE_CHECKING:
    from throttle.serve.guards import Guards
    from throttle.serve.log import Log
    from throttle.serve.metrics import Families

MOST_SMTP_CONNECTIONS = 30_000
"""The most SMTP connections that are kept for each policy: 20 seconds of a flood that brings 1,500 a second."""

SMTP_IDLE_SECONDS = 600
"""How long an SMTP connection without a question is kept: twice Postfix's `smtpd_timeout`, after which it hangs up."""

MOST_REQUEST_BYTES = 1 << 14
"""The longest unfinished request. Those of Postfix have about a thousand bytes."""

READ_BYTES = 1 << 16
"""The most that is read at once."""

UNFINISHED_SECONDS = 10.0
"""How long a request may take to come in. Postfix sends it with one write."""

IDLE_SECONDS = 1200.0
"""How long a connection may wait for its next request: longer than Postfix keeps one (`max_ttl`, 1000 s)."""


class PolicyService:
    """Holds what all policy connections share."""

    def __init__(self, guards: Guards, log: Log) -> None:
        self.log = log
        self.connections: set[PolicyConnection] = set()
        self.no_connections = asyncio.Event()
        self.no_connections.set()
        self.now = 0
        self.buffer = memoryview(bytearray(READ_BYTES))
        self._stress = False
        self.was_asked = False
        self.delegation = PolicyDelegation({source.name: guard for source, guard in guards}, MOST_SMTP_CONNECTIONS)
        self._readers = [NoticeReader(guard, str(source)) for source, guard in guards]
        self._dropped = 0
        self._unknown = 0
        self.requests = 0
        self.errors = 0

    def sweep(self, now: float) -> None:
        """Forgets idle SMTP connections, closes connections that are idle or whose request never ends, logs notices."""
        self.now = int(now)
        self.delegation.end_idle(max(0, self.now - SMTP_IDLE_SECONDS))
        dropped = self.delegation.dropped - self._dropped
        if dropped:
            self.log.event("connections dropped", f"{dropped:,} SMTP connections, because the table was full")
            self._dropped += dropped
        unknown = self.delegation.unknown_contexts - self._unknown
        if unknown:
            self.log.event("unknown policy_context", f"requests: {unknown:,}; the policy without a name answers them")
            self._unknown += unknown
        for connection in list(self.connections):
            connection.sweep(now)
        for reader in self._readers:
            reader.log_new(self.log, now)

    def counts(self) -> Families:
        """Returns what the service counts, for its metrics."""
        delegation = self.delegation
        return [
            counter("throttle_requests", "Requests of policy clients that were answered.", self.requests),
            counter("throttle_errors", "Connections closed without an answer: a fault, or no request.", self.errors),
            gauge("throttle_connections", "Open connections of policy clients.", len(self.connections)),
            gauge("throttle_smtp_connections", "SMTP connections that are kept.", delegation.smtp_connections),
            counter(
                "throttle_smtp_connections_dropped",
                "SMTP connections that were forgotten because the table was full.",
                delegation.dropped,
            ),
        ]

    def log_request(self, data: bytes) -> None:
        """Logs the first request, and that Postfix begins or ceases to be under stress.

        Stress changes no limit: idle clients cause it.
        """
        if not self.was_asked:
            self.was_asked = True
            self.log.event("first request", "a policy client is connected and asks", limited=False)
        stress = b"\nstress=yes" in data
        if stress != self._stress and b"\nstress=" in data:
            self._stress = stress
            self.log.event("stress", "Postfix has all its smtpd busy" if stress else "Postfix has idle smtpd again")


class PolicyConnection(asyncio.BufferedProtocol):
    """One connection of a policy client.

    All connections read into one buffer: what comes is used up before the next read. asyncio would make a new buffer of
    256 KB for each read.
    """

    def __init__(self, service: PolicyService) -> None:
        self._service = service
        self._unfinished = b""
        self._is_paused = False
        self._transport: asyncio.Transport | None = None
        self._heard_at = service.now - 1
        self._unfinished_since: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._service.connections.add(self)
        self._service.no_connections.clear()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Returns where to read to."""
        return self._service.buffer

    def buffer_updated(self, size: int) -> None:
        """Answers the requests that are complete."""
        service, transport = self._service, self._transport
        assert transport is not None
        data = bytes(service.buffer[:size])
        if self._heard_at != service.now or not service.was_asked:  # once a tick, since it costs a search
            self._heard_at = service.now
            service.log_request(data)
        if self._unfinished or b"\r" in data:  # a test by hand, with telnet or swaks, may send CRs
            data = self._unfinished + data.replace(b"\r", b"")
        try:
            answers, answered = service.delegation.answer(data, service.now)
        except ThrottleError as error:
            self._give_up("bad request", f"{error}; the connection is closed without an answer")
            return
        except Exception as error:  # noqa: BLE001  a fault of ours delays mail, or lets it pass, and never bounces it
            service.errors += 1
            service.log.fault("fault", error)
            transport.close()
            return
        if answers:
            service.requests += answers.count(b"\n\n")
            transport.write(answers)
            self._unfinished_since = None
        if answered == len(data):
            self._unfinished = b""
            return
        self._unfinished = data[answered:]
        if self._unfinished_since is None:
            self._unfinished_since = service.now
        if len(self._unfinished) > MOST_REQUEST_BYTES:
            self._give_up("bad request", "too long; the connection is closed without an answer")

    def pause_writing(self) -> None:
        """Reads nothing more from a client that does not read its answers."""
        self._is_paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Reads again."""
        self._is_paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Forgets the connection."""
        self._service.connections.discard(self)
        if not self._service.connections:
            self._service.no_connections.set()
        self._transport = None

    def sweep(self, now: float) -> None:
        """Closes the connection when its request never ends, none comes, or its answers are not read."""
        if self._transport is not None and self._transport.is_closing():
            self._transport.abort()  # the client has not read its answers since the last look
        elif self._unfinished_since is not None and now - self._unfinished_since > UNFINISHED_SECONDS:
            self._give_up("bad request", "it never ends; the connection is closed without an answer")
        elif now - self._heard_at > (UNFINISHED_SECONDS if self._is_paused else IDLE_SECONDS):
            self.abort()

    def close(self) -> None:
        """Closes the connection, once what is answered is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes the connection, whatever is still to be sent."""
        if self._transport is not None:
            self._transport.abort()

    def _give_up(self, event: str, message: str) -> None:
        self._service.errors += 1
        self._service.log.event(event, message)
        self.close()
