"""Postfix's policy delegation: one answer for each request (SMTPD_POLICY_README).

The answer is `action=DUNNO`, or the reply line of the limit that refuses.
Invariants: an answer is one legal line. Whatever goes wrong here, the connection is closed without an answer, and
`default_action` in `main.cf` says what becomes of the mail. A connection holds at most one unfinished request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from throttle.printable import printable
from throttle.serve.notices import NoticeReader
from throttle.serve.policy_request import PolicyRequest, RequestReader, RequestTooLongError
from throttle.serve.sessions import CONNECT_STATES, SessionTable

if TYPE_CHECKING:
    from throttle import Decision
    from throttle.serve.guards import Guards
    from throttle.serve.log import Log

DUNNO = b"action=DUNNO\n\n"

UNFINISHED_SECONDS = 10.0
"""How long a request may take to come in. Postfix sends it with one write."""

IDLE_SECONDS = 1200.0
"""How long a connection may wait for its next request: longer than Postfix keeps one (`max_ttl`, 1000 s)."""


class RequestError(Exception):
    """A request that cannot be answered: its text is the name of the event, and what is logged with it."""


class PolicyService:
    """Answers requests; it is what all connections have in common."""

    def __init__(self, guards: Guards, log: Log) -> None:
        self.log = log
        self.connections: set[PolicyConnection] = set()
        self.no_connections = asyncio.Event()
        self.no_connections.set()
        self.now = 0.0
        self._stress = False
        self._tables = {source.name.encode(): SessionTable(guard) for source, guard in guards}
        self._readers = {source.name.encode(): NoticeReader(guard) for source, guard in guards}
        self._dropped = 0

    def answer(self, request: PolicyRequest | None) -> bytes:
        """Returns the answer to one request.

        Raises:
            RequestError: it is of another protocol, or its `policy_context` is the name of no policy.
        """
        if request is None:
            raise RequestError("no policy request")
        context = request.policy_context if request.policy_context in self._tables else b""
        table = self._tables.get(context)
        if table is None:
            name = request.policy_context.decode("utf-8", "backslashreplace")
            raise RequestError("unknown policy", f"policy_context={name}: the connection is closed")
        decision = step(table, request)
        if decision is None or decision:
            return DUNNO
        self._readers[context].count(decision)
        return action(decision)

    def sweep(self, now: float) -> None:
        """Ends idle sessions, and connections that are idle or whose request never ends; logs notices."""
        self.now = now
        for table in self._tables.values():
            table.sweep(now)
        dropped = sum(table.dropped for table in self._tables.values())
        if dropped > self._dropped:
            self.log.event("sessions dropped", f"{dropped - self._dropped:,} sessions, because the table was full")
            self._dropped = dropped
        for connection in list(self.connections):
            connection.sweep(now)
        for reader in self._readers.values():
            reader.log_new(self.log, now)

    def saw_stress(self, stress: bool) -> None:
        """Logs that Postfix begins or ceases to be under stress. It changes no limit: idle clients cause it."""
        if stress != self._stress:
            self._stress = stress
            self.log.event("stress", "Postfix has all its smtpd busy" if stress else "Postfix has idle smtpd again")


class PolicyConnection(asyncio.Protocol):
    """One connection of a policy client."""

    def __init__(self, service: PolicyService) -> None:
        self._service = service
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None
        self._heard_at = service.now
        self._unfinished_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._service.connections.add(self)
        self._service.no_connections.clear()

    def data_received(self, data: bytes) -> None:
        """Answers all requests that are complete, with one write."""
        service, transport = self._service, self._transport
        if transport is None:
            return
        if self._heard_at != service.now:  # not at each request
            self._heard_at = service.now
            if b"\nstress=" in data:
                service.saw_stress(b"\nstress=yes" in data)
        answers: list[bytes] = []
        try:
            for request in self._reader.feed(data):
                answers.append(service.answer(request))  # noqa: PERF401  those before a fault are sent
        except RequestTooLongError:
            self._give_up("request too long")
        except RequestError as error:
            self._give_up(*error.args)
        except Exception as error:  # noqa: BLE001  a fault of ours delays mail, or lets it pass, and never bounces it
            service.log.fault("fault", error)
            transport.close()
        if answers:
            transport.write(answers[0] if len(answers) == 1 else b"".join(answers))
        if self._reader.unfinished:
            if self._unfinished_since is None or answers:
                self._unfinished_since = service.now
        else:
            self._unfinished_since = None

    def pause_writing(self) -> None:
        """Reads nothing more from a client that does not read its answers."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Reads again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Forgets the connection."""
        self._service.connections.discard(self)
        if not self._service.connections:
            self._service.no_connections.set()
        self._transport = None

    def sweep(self, now: float) -> None:
        """Closes the connection when its request never ends, or none comes."""
        if self._unfinished_since is not None and now - self._unfinished_since > UNFINISHED_SECONDS:
            self._give_up("request never ends")
        elif now - self._heard_at > IDLE_SECONDS:
            self.close()

    def close(self) -> None:
        """Closes the connection, once what is answered is sent."""
        if self._transport is not None:
            self._transport.close()

    def _give_up(self, event: str, message: str = "the connection is closed without an answer") -> None:
        self._service.log.event(event, message)
        self.close()


def step(table: SessionTable, request: PolicyRequest) -> Decision | None:
    """Takes the step that a request asks about; `None` admits. An unknown state is admitted."""
    state = request.protocol_state
    if state == b"RCPT":
        return table.of(request).rcpt(request)
    if state == b"END-OF-MESSAGE":
        return table.of(request).data(request)
    if state in (b"MAIL", b"DATA", b"BDAT"):
        return table.of(request).mail(request)
    if state in (b"EHLO", b"HELO"):
        return table.of(request).helo(request)
    if state in CONNECT_STATES:
        return table.of(request).connect()
    return None


def action(decision: Decision) -> bytes:
    """Returns the answer that refuses: code, enhanced code and text, in one line of ASCII."""
    reply = decision.reply or ""
    if not (reply.isascii() and reply.isprintable()):
        reply = printable(reply).encode("ascii", "backslashreplace").decode("ascii")
    return b"action=%b\n\n" % reply.encode("ascii")
