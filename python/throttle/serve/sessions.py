"""The SMTP connections that a policy service is asked about, each with its session of the guard.

Postfix tells neither when a connection ends nor that a client has sent RSET, so a session holds nothing in flight. It
is known by the client's address and port, whatever policy connection the question comes by.

The table has a fixed size. When it is full, the session that has been idle longest is dropped, and counted. When
Postfix asks again about a connection whose session was dropped, the connection and its message are charged again.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from throttle import Decision, Session, Throttle
    from throttle.serve.policy_request import PolicyRequest

MOST_SESSIONS = 30_000
"""Connections of the last 20 seconds of a flood that brings 1,500 a second; 1.3 KB each."""

IDLE_SECONDS = 600.0
"""How long a session without a question is kept: twice Postfix's `smtpd_timeout`, after which it hangs up."""

CONNECT_STATES = (b"CONNECT", b"XCLIENT")
"""Where a connection begins. XCLIENT is when a proxy has said whose connection it is."""

_serial = itertools.count(1)


class SmtpSession:
    """One SMTP connection: the session of the guard, and which steps it has taken.

    A step is taken once. A question that repeats a step gets the answer of the step.
    """

    __slots__ = ("_guarded", "_helo_name", "_instance", "_nameless_sender", "_transaction", "asked_at")

    def __init__(self, guarded: Session) -> None:
        self.asked_at = 0.0
        self._guarded = guarded
        self._helo_name = b""
        self._instance = b""
        self._transaction = b""
        self._nameless_sender: bytes | None = None

    @property
    def greeted(self) -> bool:
        """Whether the client has got beyond its connection."""
        return bool(self._helo_name or self._transaction)

    def connect(self) -> Decision:
        """Takes the step of the connection."""
        return self._guarded.connect()

    def helo(self, request: PolicyRequest) -> Decision | None:
        """Takes the step of a HELO name, if it is new; `None` admits."""
        name = request.helo_name
        if name and name != self._helo_name:
            decision = self._guarded.helo(name)
            if not decision:
                return decision
            self._helo_name = name
            self._instance = self._transaction = b""
            self._nameless_sender = None
        return None

    def mail(self, request: PolicyRequest) -> Decision | None:
        """Takes the steps up to MAIL, once for each transaction; `None` admits.

        Postfix names a transaction, by `instance`, from its first RCPT on. A question at MAIL comes before that, so the
        name is one of ours, and the next instance of the same sender stands for it.
        """
        instance = request.instance
        if instance and instance == self._instance:
            return None
        refusal = self.helo(request)
        if refusal is not None:
            return refusal
        sender = request.sender
        if self._nameless_sender == sender:
            if instance:
                self._instance = instance
                self._nameless_sender = None
            return None
        transaction = instance or b"mail-%d" % next(_serial)
        self._instance = self._transaction = b""
        decision = self._guarded.mail(
            sender, size=_size(request), auth_user=request.sasl_username or None, transaction=transaction
        )
        if not decision:
            return decision
        self._instance, self._transaction = instance, transaction
        self._nameless_sender = None if instance else sender
        return None

    def rcpt(self, request: PolicyRequest) -> Decision | None:
        """Takes the steps up to RCPT; `None` admits."""
        refusal = self.mail(request)
        if refusal is not None:
            return refusal
        return self._guarded.rcpt(request.recipient, transaction=self._transaction)

    def data(self, request: PolicyRequest) -> Decision | None:
        """Takes the steps up to the end of the message, with its actual size; `None` admits."""
        refusal = self.mail(request)
        if refusal is not None:
            return refusal
        return self._guarded.data(size=_size(request), transaction=self._transaction)

    def close(self) -> None:
        """Ends the session of the guard."""
        self._guarded.close()


class SessionTable:
    """The sessions of one guard. `now` is the time that sessions are stamped with; `sweep` sets it."""

    def __init__(self, guard: Throttle, most: int = MOST_SESSIONS) -> None:
        self.now = 0.0
        self.dropped = 0
        self._guard = guard
        self._most = most
        self._sessions: OrderedDict[tuple[bytes, bytes], SmtpSession] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def of(self, request: PolicyRequest) -> SmtpSession:
        """Returns the session of the connection that a request is about; a new one if there is none."""
        # Without a port, connections of one client cannot be told apart, and each transaction is a connection.
        port = request.client_port
        key = (request.client_address, port if port.isdigit() else request.instance)
        session = self._sessions.get(key)
        if session is not None and request.protocol_state in CONNECT_STATES and session.greeted:
            self._sessions.pop(key).close()  # the client's port has come round
            session = None
        if session is None:
            session = self._begun(key, request)
        else:
            self._sessions.move_to_end(key)
        session.asked_at = self.now
        return session

    def sweep(self, now: float) -> None:
        """Ends the sessions that have been idle for `IDLE_SECONDS`."""
        self.now = now
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if now - oldest.asked_at <= IDLE_SECONDS:
                break
            self._sessions.popitem(last=False)[1].close()

    def _begun(self, key: tuple[bytes, bytes], request: PolicyRequest) -> SmtpSession:
        guarded = self._guard.session(client_ip=request.client_address, client_name=request.client_name, hold=False)
        if len(self._sessions) >= self._most:
            self._sessions.popitem(last=False)[1].close()
            self.dropped += 1
        session = self._sessions[key] = SmtpSession(guarded)
        return session


def _size(request: PolicyRequest) -> int | None:
    """The declared size, or at the end of the message the actual one; Postfix sends 0 when it knows none."""
    size = request.size
    return int(size) or None if size.isdigit() else None
