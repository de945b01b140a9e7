"""aiosmtpd with `throttle` in front: an SMTP connection is a session of the guard, and what is admitted goes to the
handler behind.

It keeps no state of its own but which session is whose.
Invariant: the handler behind sees nothing of a refused message, a fault in either delays mail and never bounces it,
and a connection that is gone holds nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from aiosmtpd.smtp import SMTP

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiosmtpd.proxy_protocol import ProxyData
    from aiosmtpd.smtp import Envelope, Session

    from throttle import Decision, Throttle
    from throttle import Session as Talk

logger = logging.getLogger("throttle")


class Behind(Protocol):
    """The handler that takes delivery."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str: ...  # noqa: N802


class GuardedSMTP(SMTP):
    """`GuardedSMTP(handler, …)` in place of `SMTP(handler, …)`: aiosmtpd tells its handler neither when a client
    comes nor when it is gone.
    """

    guarded: Guarded | None = None
    """Whom to tell; by default the handler."""

    _turned_away = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is asked about before it is greeted; behind a proxy, once the proxy has said who it is."""
        guarded = self._guarded()
        if guarded and self.transport is None and self._proxy_timeout is None:
            reply = guarded.connected(self, transport)
            if reply is not None and isinstance(transport, asyncio.Transport):
                self._turned_away = True
                transport.write(f"{reply}\r\n".encode())
                transport.close()
                return
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Whatever ended it: QUIT, a time-out, or the client in the middle of a message."""
        guarded = self._guarded()
        if guarded:
            guarded.lost(self)
        if not self._turned_away:
            super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """What comes from a client that was turned away is not read."""
        if not self._turned_away:
            super().data_received(data)

    def eof_received(self) -> bool | None:
        """Likewise."""
        return None if self._turned_away else super().eof_received()

    def _guarded(self) -> Guarded | None:
        handler = self.guarded or self.event_handler
        return handler if isinstance(handler, Guarded) else None


class Guarded:
    """`GuardedSMTP(Guarded(Throttle(), behind=Inbox()))`; `on_decision` is told every decision, for metrics.

    A recipient that `has_mailbox` does not know is refused for good, and reported to the guard.

    Under a plain `SMTP` a client is asked about at its first command, and a connection is let go of when its protocol
    object is collected.
    """

    def __init__(
        self,
        guard: Throttle,
        behind: Behind,
        on_decision: Callable[[Decision], None] = lambda _: None,
        has_mailbox: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._guard = guard
        self._behind = behind
        self._on_decision = on_decision
        self._has_mailbox = has_mailbox
        self._talks: WeakKeyDictionary[SMTP, Talk] = WeakKeyDictionary()

    def connected(self, server: SMTP, transport: asyncio.BaseTransport) -> str | None:
        """What to answer and close with; `None`: go on."""
        try:
            peer = transport.get_extra_info("peername")
            return self._refusal(self._talk(server, peer and str(peer[0])).connect())
        except Exception:
            # There is no command to answer yet: the first one will meet the fault, too.
            logger.exception("fault at connect")
            return None

    def lost(self, server: SMTP) -> None:
        """Lets go of all that the connection holds."""
        talk = self._talks.pop(server, None)
        if talk is not None:
            talk.close()

    async def handle_PROXY(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, proxy: ProxyData
    ) -> bool:
        if not proxy.valid:
            return False
        reply = self._refusal(self._talk(server, str(proxy.src_addr)).connect())
        if reply is not None:
            await server.push(reply)
        return reply is None

    async def handle_HELO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str) -> str:  # noqa: N802
        reply = self._greeted(server, session, hostname)
        return reply or f"250 {server.hostname}"

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        reply = self._greeted(server, session, hostname)
        return [reply] if reply else responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = self._refusal(self._talk_of(server, session).mail(address, size=declared(options)))
        if reply is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return reply or "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        talk = self._talk_of(server, session)
        reply = self._refusal(talk.rcpt(address))
        if reply is None and not self._has_mailbox(address):
            talk.report("unknown-recipient", address)
            return "550 5.1.1 no such mailbox"
        if reply is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return reply or "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        size = len(envelope.original_content or b"")
        reply = self._refusal(self._talk_of(server, session).data(headers=envelope.original_content, size=size))
        return reply or await self._behind.handle_DATA(server, session, envelope)

    async def handle_RSET(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        talk = self._talks.get(server)
        if talk is not None:
            talk.reset()
        return "250 2.0.0 OK"

    async def handle_exception(self, error: Exception) -> str:
        logger.error("fault in a handler", exc_info=error)
        return "451 4.3.0 local fault; try again later"  # without this method aiosmtpd answers 500: a bounce

    def _greeted(self, server: SMTP, session: Session, hostname: str) -> str | None:
        try:
            reply = self._refusal(self._talk_of(server, session).helo(hostname))
        except Exception:
            # Without a name aiosmtpd answers 503 to MAIL, which is for good: MAIL itself is to meet the fault.
            logger.exception("fault at HELO")
            reply = None
        if reply is None:
            session.host_name = hostname
        elif server.transport is not None:
            asyncio.get_running_loop().call_soon(server.transport.close)  # 421 closes, once it is written
        return reply

    def _refusal(self, decision: Decision) -> str | None:
        self._on_decision(decision)
        return decision.reply

    def _talk_of(self, server: SMTP, session: Session) -> Talk:
        return self._talk(server, session.peer and str(session.peer[0]))

    def _talk(self, server: SMTP, client_ip: str | None) -> Talk:
        """The guard's session of a connection: one, also when STARTTLS makes a new one of aiosmtpd's."""
        talk = self._talks.get(server)
        if talk is None:
            talk = self._talks[server] = self._guard.session(client_ip=client_ip)
        return talk


def declared(options: list[Any]) -> int | None:
    """The octets that MAIL declares (RFC 1870 §6)."""
    sizes = [option.partition("=")[2] for option in options if option.upper().startswith("SIZE=")]
    return int(sizes[0]) if sizes and sizes[0].isdecimal() else None
