"""aiosmtpd with a guard in front of any handler.

    controller = Controller(handler, guard=Throttle(), hostname="0.0.0.0", port=25)
    controller.start()

The classes take the place of aiosmtpd's own. An SMTP connection is a session of the guard, and the guard is asked about
each step before the handler is. ``docs/aiosmtpd.md`` has the table of steps.

It keeps no state but the session of each connection, and it decides nothing itself.
Invariant: the handler sees nothing of a refused step, a fault delays mail and never bounces it, and a connection that
has ended holds nothing.

aiosmtpd has no public place between its parser and a handler, so two of its private methods are overridden:
``_handle_client``, which lasts as long as a connection, and ``_call_handler_hook``, which every parsed command passes.
aiosmtpd's own tests run against these classes (``tests/integrations/aiosmtpd/own_suite.py``).
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any
from warnings import warn

from aiosmtpd import controller, smtp
from aiosmtpd.smtp import MISSING, syntax

from throttle.integration import FAULT_REPLY, FaultLog, check_function, check_guard, declared_size
from throttle.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import AnyStr

    from aiosmtpd.proxy_protocol import ProxyData

    from throttle import Decision, Session, Throttle
    from throttle.types import Outcome, Text

__all__ = [
    "SMTP",
    "Controller",
    "UnixSocketController",
    "UnixSocketUnthreadedController",
    "UnthreadedController",
    "outcome_of_reply",
]

log_fault = FaultLog("throttle.aiosmtpd")

FAULT = " ".join(FAULT_REPLY)
"""The answer to a command that met a fault: the client keeps the message and tries again."""


def outcome_of_reply(step: str, reply: str) -> Outcome | None:
    """Returns what a reply of the server reports to the guard; the default of ``outcome``.

    ``550 5.1.1`` at RCPT is an unknown recipient (RFC 3463 §3.2), ``535`` at AUTH a wrong password (RFC 4954 §6).

    Args:
        step: ``"AUTH"``, ``"MAIL"``, ``"RCPT"`` or ``"DATA"``.
        reply: the server's reply line.
    """
    if step == "RCPT" and reply.startswith("550 5.1.1 "):
        return "unknown-recipient"
    if step == "AUTH" and reply.startswith("535"):
        return "auth-failure"
    return None


class SMTP(smtp.SMTP):
    """One guarded connection, in place of ``aiosmtpd.smtp.SMTP``.

    Args:
        handler: the handler, as aiosmtpd takes it.
        guard: the guard. Connections share it.
        on_decision: is called with every decision, for metrics.
        outcome: what a reply of the handler reports to the guard, such as ``"unknown-recipient"``.
        parameters: the parameters of ``aiosmtpd.smtp.SMTP``.

    Raises:
        TypeError: ``guard`` has no sessions, or ``on_decision`` or ``outcome`` cannot be called.
    """

    guard_session: Session | None = None
    """The guard's session of the connection. A handler can set what it knows (``client_name``, ``spf``) and report."""

    decision: Decision | None = None
    """The decision of the latest step. A handler that refuses what it admitted can call its ``refund``."""

    def __init__(
        self,
        handler: Any,
        *,
        guard: Throttle,
        on_decision: Callable[[Decision], None] | None = None,
        outcome: Callable[[str, str], Outcome | None] = outcome_of_reply,
        **parameters: Any,
    ) -> None:
        _check(guard, on_decision, outcome)
        self._guard = guard
        self._on_decision = on_decision
        self._outcome = outcome
        self._client_ip: str | None = None
        self._last_reply = ""
        super().__init__(handler, **parameters)
        if "DATA" not in self._handle_hooks:  # else aiosmtpd would take the message without a call of a hook
            self._handle_hooks["DATA"] = self._deliver_without_hook

    async def _handle_client(self) -> None:
        """Serves the connection and closes its session at the end, whatever ends it: aiosmtpd cancels this task."""
        try:
            if self._proxy_timeout is not None or await self._admits_connection(self._peer()):
                await super()._handle_client()
        finally:
            if self.guard_session is not None:
                self.guard_session.close()
            if self.transport is not None:
                self.transport.close()  # a client that left before the greeting would keep its socket until a time-out

    async def _admits_connection(self, client_ip: str | None) -> bool:
        """Asks about the connection, before the greeting, and answers a refused client."""
        self._client_ip = client_ip
        refusal = self._refusal("connect", lambda session: session.connect())
        if refusal is None or refusal is FAULT:  # there is no command to answer yet: the first one meets the fault
            return True
        await self.push(refusal)
        return False

    @syntax("HELO hostname")
    async def smtp_HELO(self, hostname: str) -> None:  # noqa: N802
        """Asks about the name, then does as aiosmtpd does."""
        if not hostname or await self._admits_name(hostname):
            await super().smtp_HELO(hostname)

    @syntax("EHLO hostname")
    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802
        """Asks about the name, then does as aiosmtpd does."""
        if not hostname or await self._admits_name(hostname):
            await super().smtp_EHLO(hostname)

    async def _admits_name(self, hostname: str) -> bool:
        refusal = self._refusal("HELO", lambda session: session.helo(hostname))
        # Without a name aiosmtpd answers 503 to MAIL, which bounces. So after a fault the name is taken.
        if refusal is None or refusal is FAULT:
            return True
        await self.push(await self._or_close(refusal))
        return False

    @syntax("AUTH <mechanism>")
    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802
        """Does as aiosmtpd does, and reports a wrong password."""
        await super().smtp_AUTH(arg)
        self._report("AUTH", self._last_reply)

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """Parses an address. Python's parser raises on some malformed ones; aiosmtpd answers 553 to ``None``."""
        try:
            return super()._getaddr(arg)
        except Exception:  # noqa: BLE001
            return None, None

    async def push(self, status: AnyStr) -> None:
        """Sends a reply, with an escape for each character that its encoding lacks: a reply may quote a client.

        The last reply of AUTH tells how it went, also where a handler has sent it.
        """
        self._last_reply = _text(status)
        if isinstance(status, str):
            await super().push(status.encode("utf-8" if self.enable_SMTPUTF8 else "ascii", "backslashreplace"))
        else:
            await super().push(status)

    async def handle_exception(self, error: Exception) -> str:
        """Returns the answer after an exception: the handler's own, or 451 in place of aiosmtpd's 500."""
        if isinstance(error, smtp.TLSSetupException):  # the client's fault; aiosmtpd closes without an answer
            if log_fault.lines.hit("TLS"):
                log_fault.logger.info("a TLS handshake failed: %s", printable(repr(error.__cause__)))
            return FAULT
        if hasattr(self.event_handler, "handle_exception"):
            try:
                return await super().handle_exception(error)
            except Exception as another:  # noqa: BLE001
                error = another
        log_fault("a handler", error)
        return FAULT

    async def _call_handler_hook(self, command: str, *args: Any) -> Any:
        """Asks the guard, and calls the handler's hook if the guard admits the command."""
        refusal = self._refusal_of_command(command, args)
        if refusal is not None:
            return await self._or_close(refusal)
        try:
            status = await super()._call_handler_hook(command, *args)
        except Exception:
            if command in ("MAIL", "DATA"):  # a client that does not send RSET would get 503 for its next MAIL
                self._set_post_data_state()
            raise
        if command == "PROXY":
            return status is not MISSING and status and await self._admits_connection(self._proxied_client(*args))
        if command == "MAIL" and status is not MISSING and not (self._has_sender() and _text(status).startswith("2")):
            self._release()
        if command in ("MAIL", "RCPT", "DATA") and status is not MISSING:
            self._report(command, _text(status), args[0] if command == "RCPT" else None)
        return status

    def _refusal_of_command(self, command: str, args: Sequence[Any]) -> str | None:
        if command == "MAIL":
            address, options = args
            return self._refusal(command, lambda session: self._mail(session, address, options))
        if command == "RCPT":
            return self._refusal(command, lambda session: session.rcpt(args[0]))
        if command == "DATA":
            assert self.envelope is not None
            content = self.envelope.original_content or b""
            return self._refusal(command, lambda session: session.data(headers=content, size=len(content)))
        return None

    def _mail(self, session: Session, address: str, options: Sequence[str]) -> Decision:
        assert self.session is not None
        session.auth_user = _authenticated_user(self.session)  # of this TLS layer: STARTTLS forgets an earlier one
        return session.mail(address, size=declared_size(options))

    def _refusal(self, step: str, ask: Callable[[Session], Decision]) -> str | None:
        """Returns the reply of a refused step, ``FAULT`` after a fault, and ``None`` for an admitted step."""
        try:
            if self.guard_session is None:
                self.guard_session = self._guard.session(client_ip=self._client_ip)
            self.decision = ask(self.guard_session)
            if self._on_decision is not None:
                self._on_decision(self.decision)
        except Exception as error:  # noqa: BLE001
            log_fault(step, error)
            if step == "MAIL":
                self._release()
            return FAULT
        return self.decision.reply

    async def _or_close(self, refusal: str) -> str:
        """Returns the reply for aiosmtpd to send. A 421 is sent here, and the connection ends (RFC 5321 §3.8).

        aiosmtpd leaves a connection open after a 421 of a hook.
        """
        if refusal.startswith("421"):
            await self.push(refusal)
            assert self._handler_coroutine is not None
            self._handler_coroutine.cancel()
            await asyncio.sleep(0)  # the cancellation comes here, before a command that was pipelined
        return refusal

    def _report(self, step: str, reply: str, recipient: str | None = None) -> None:
        try:
            outcome = self._outcome(step, reply)
            if outcome is not None and self.guard_session is not None:
                self.guard_session.report(outcome, recipient)
        except Exception as error:  # noqa: BLE001
            log_fault(f"the report of {step}", error)

    def _set_post_data_state(self) -> None:
        """Ends the transaction: at RSET, EHLO, HELO and STARTTLS, and after DATA, also when that was too long."""
        super()._set_post_data_state()  # type: ignore[no-untyped-call]
        self._release()

    def _release(self) -> None:
        if self.guard_session is not None:
            self.guard_session.reset()

    def _has_sender(self) -> bool:
        return self.envelope is not None and bool(self.envelope.mail_from)

    def _peer(self) -> str | None:
        """The client's address; a Unix socket has none."""
        peer: object = self.session and self.session.peer
        return str(peer[0]) if isinstance(peer, tuple) else None

    def _proxied_client(self, proxy: ProxyData) -> str | None:
        """The address that the proxy names; its own where it names none, as in a health check."""
        if proxy.src_addr is None:
            return self._peer()
        return None if isinstance(proxy.src_addr, bytes) else str(proxy.src_addr)  # bytes are the path of a Unix socket

    async def _deliver_without_hook(self, server: smtp.SMTP, session: smtp.Session, envelope: smtp.Envelope) -> Any:
        """What aiosmtpd does for a handler without ``handle_DATA``: its deprecated ``process_message``, or nothing."""
        if not hasattr(self.event_handler, "process_message"):
            return MISSING
        warn("Use handler.handle_DATA() instead of .process_message()", DeprecationWarning, stacklevel=2)
        status = self.event_handler.process_message(
            session.peer, envelope.mail_from, envelope.rcpt_tos, envelope.content
        )
        if inspect.isawaitable(status):
            status = await status
        return MISSING if status is None else status


class _Guarded(controller.BaseController):
    """Makes guarded connections in place of aiosmtpd's."""

    def __init__(self, handler: Any, *args: Any, guard: Throttle, **parameters: Any) -> None:
        _check(guard, parameters.get("on_decision"), parameters.get("outcome", outcome_of_reply))
        super().__init__(handler, *args, **parameters)
        self.guard = guard

    def factory(self) -> SMTP:
        """Returns the protocol of a new connection."""
        return SMTP(self.handler, guard=self.guard, **self.SMTP_kwargs)


class Controller(_Guarded, controller.Controller):
    """Runs a guarded server in a thread; the parameters are those of aiosmtpd's class and of :class:`SMTP`.

    With ``port=0``, which aiosmtpd's own class does not take, the system chooses the port, and ``port`` says which.
    """

    def _trigger_server(self) -> None:
        if not self.port:
            self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()  # type: ignore[no-untyped-call]


class UnixSocketController(_Guarded, controller.UnixSocketController):
    """Runs a guarded server on a Unix socket, in a thread. Its clients have no address."""


class UnthreadedController(_Guarded, controller.UnthreadedController):
    """Runs a guarded server in the caller's event loop."""


class UnixSocketUnthreadedController(_Guarded, controller.UnixSocketUnthreadedController):
    """Runs a guarded server on a Unix socket, in the caller's event loop."""


def _check(guard: object, on_decision: object, outcome: object) -> None:
    """Raises `TypeError` for a wrong argument, before there is a client."""
    check_guard(guard)
    check_function("outcome", outcome)
    if on_decision is not None:
        check_function("on_decision", on_decision, "a function, or None")


def _authenticated_user(session: smtp.Session) -> Text | None:
    """The user of AUTH: the login of aiosmtpd's own mechanisms, or the text that a handler returned."""
    data = session.auth_data if session.authenticated else session._login_data  # noqa: SLF001 - the public one logs
    user = getattr(data, "login", data)
    return user if isinstance(user, (str, bytes)) else None


def _text(status: object) -> str:
    return status.decode("utf-8", "replace") if isinstance(status, bytes) else str(status)
