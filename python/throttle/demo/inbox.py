"""Where mail arrives: the handler behind the guard, and the stopwatch in front of it.

It knows no guard. What it counts was delivered, whatever a guard believes to have admitted.
Invariant: nothing here grows with the number of messages or names.
"""

from __future__ import annotations

import logging
import time
from array import array
from typing import TYPE_CHECKING, Any

from throttle.demo.traffic import FLOOD_PARENT, GROUPS

if TYPE_CHECKING:
    from aiosmtpd.proxy_protocol import ProxyData
    from aiosmtpd.smtp import SMTP, Envelope, Session

GROUP_HEADER = b"X-Demo-Group: "  # of the message, so no guard can see it at MAIL or RCPT

logger = logging.getLogger("throttle.demo")


class Inbox:
    """Takes every message and counts it by the group its first header line tells."""

    def __init__(self) -> None:
        self.delivered: dict[str, int] = dict.fromkeys(("quiet", *GROUPS), 0)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content or b""
        self.delivered[content.partition(b"\r\n")[0].removeprefix(GROUP_HEADER).decode("ascii")] += 1
        return "250 2.0.0 delivered"


class Stopwatch:
    """Handler around a side's handler that times its answer to MAIL, where every side decides, and notes the first
    refusal.
    """

    def __init__(self, timed: Any, messages: int) -> None:
        self._timed = timed
        self._nanoseconds = array("q", bytes(8 * messages))  # allocated before the flood: measuring may not grow
        self._count = 0
        self._flood_seen = 0
        self.first_refusal_after: int | None = None  # flood messages that had come when the first one was refused
        self.faults = 0
        if hasattr(timed, "handle_RCPT"):
            self.handle_RCPT = self._rcpt
        for hook in ("handle_HELO", "handle_EHLO", "handle_RSET"):  # aiosmtpd looks which of them there are
            if hasattr(timed, hook):
                setattr(self, hook, getattr(timed, hook))

    async def handle_PROXY(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, proxy: ProxyData
    ) -> bool:
        return bool(await self._timed.handle_PROXY(server, session, envelope, proxy))

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        start = time.perf_counter_ns()
        reply: str = await self._timed.handle_MAIL(server, session, envelope, address, options)
        elapsed = time.perf_counter_ns() - start
        if self._count < len(self._nanoseconds):
            self._nanoseconds[self._count] = elapsed
            self._count += 1
        if address.endswith(FLOOD_PARENT):
            self._judge(reply)
            self._flood_seen += 1
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        reply: str = await self._timed.handle_DATA(server, session, envelope)
        return reply

    async def handle_exception(self, error: Exception) -> str:
        self.faults += 1
        logger.error("fault in a handler", exc_info=error)
        return "451 4.3.0 local fault; try again later"  # aiosmtpd's own answer is 500: a bounce

    def percentile_us(self, percent: int) -> float | None:
        """Microseconds that `percent` of the timed answers did not exceed."""
        taken = sorted(self._nanoseconds[: self._count])
        return taken[(len(taken) - 1) * percent // 100] / 1000 if taken else None

    async def _rcpt(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        reply: str = await self._timed.handle_RCPT(server, session, envelope, address, options)
        if (envelope.mail_from or reply).endswith(FLOOD_PARENT):
            self._judge(reply)
        return reply

    def _judge(self, reply: str) -> None:
        if self.first_refusal_after is None and not reply.startswith("2"):
            self.first_refusal_after = self._flood_seen
