"""An aiosmtpd handler that asks `throttle` at MAIL and at RCPT, and hands what is admitted to the handler behind it.

It keeps no state: what it needs of a transaction is in aiosmtpd's session and envelope.
Invariant: the handler behind sees nothing of a refused message, and a fault in either delays mail, never bounces it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, Protocol

from throttle import Decision, Envelope, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiosmtpd.proxy_protocol import ProxyData
    from aiosmtpd.smtp import SMTP, Session
    from aiosmtpd.smtp import Envelope as Transaction

logger = logging.getLogger("throttle")

ASKED = ("mail", "rcpt")


class Behind(Protocol):
    """The handler that takes delivery."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Transaction) -> str: ...  # noqa: N802


def refuse_unasked(guard: Throttle) -> None:
    """A limit that this handler never asks would be silently dead. Those on what is open are: it holds nothing, so none of them is ever reached.

    Raises:
        ValueError: names of such limits, and their stages.
    """
    unasked = [
        f"{limit.name} ({limit.stage})"
        for limit in guard.policy.limits
        if limit.stage not in ASKED and "in_flight" not in limit.fields
    ]
    if unasked:
        raise ValueError(f"limits that run at another stage than {' and '.join(ASKED)}: {', '.join(unasked)}")


class Guarded:
    """`SMTP(Guarded(Throttle(), behind=Inbox()))`; `on_decision` is told every decision, for metrics.

    It knows the client, HELO, the sender and one recipient at a time; not SPF, not the authenticated user, not the size.
    """

    def __init__(
        self, guard: Throttle, behind: Behind, on_decision: Callable[[Decision], None] = lambda _: None
    ) -> None:
        refuse_unasked(guard)
        self._guard = guard
        self._behind = behind
        self._on_decision = on_decision

    async def handle_PROXY(self, server: SMTP, session: Session, envelope: Transaction, proxy: ProxyData) -> bool:  # noqa: N802
        return proxy.valid

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Transaction, address: str, options: list[str]
    ) -> str:
        reply = self._refusal("mail", session, mail_from=address)
        if reply is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return reply or "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Transaction, address: str, options: list[str]
    ) -> str:
        reply = self._refusal("rcpt", session, mail_from=envelope.mail_from, rcpt_to=[address])
        if reply is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return reply or "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Transaction) -> str:  # noqa: N802
        return await self._behind.handle_DATA(server, session, envelope)

    async def handle_exception(self, error: Exception) -> str:
        logger.error("fault in a handler", exc_info=error)
        return "451 4.3.0 local fault; try again later"  # without this method aiosmtpd answers 500: a bounce

    def _refusal(self, stage: Literal["mail", "rcpt"], session: Session, **known: Any) -> str | None:
        proxy = session.proxy_data
        client_ip = str(proxy.src_addr) if proxy else session.peer and session.peer[0]
        decision = self._guard.check(Envelope(client_ip=client_ip, helo=session.host_name, **known), stage=stage)
        self._on_decision(decision)
        return decision.reply
