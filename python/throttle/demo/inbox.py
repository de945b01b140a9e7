"""Where mail arrives: the handler that takes delivery, and the servers that measure their answers.

It knows no guard. What it counts was delivered, whatever a guard believes to have admitted.
Invariant: nothing here grows with the number of messages or names.
"""

from __future__ import annotations

import logging
import time
from array import array
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import MISSING, SMTP

import throttle.aiosmtpd
from throttle.demo.traffic import FLOOD_PARENT, GROUPS

if TYPE_CHECKING:
    from aiosmtpd.proxy_protocol import ProxyData
    from aiosmtpd.smtp import Envelope, Session

GROUP_HEADER = b"X-Demo-Group: "  # of the message, so no guard can see it at MAIL or RCPT

logger = logging.getLogger("throttle.demo")


class Inbox:
    """Takes every message and counts it by the group its first header line tells."""

    def __init__(self) -> None:
        self.delivered: dict[str, int] = dict.fromkeys(("quiet", *GROUPS), 0)

    async def handle_PROXY(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, proxy: ProxyData
    ) -> bool:
        return proxy.valid

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content or b""
        self.delivered[content.partition(b"\r\n")[0].removeprefix(GROUP_HEADER).decode("ascii")] += 1
        return "250 2.0.0 delivered"


class Stopwatch:
    """What the connections of a server measure: the time of each answer to MAIL, where every side decides, the first
    refusal, and faults.
    """

    def __init__(self, messages: int) -> None:
        self._nanoseconds = array("q", bytes(8 * messages))  # allocated before the flood: measuring may not grow
        self._count = 0
        self._flood_seen = 0
        self.first_refusal_after: int | None = None  # flood messages that had come when the first one was refused
        self.faults = 0

    def note_time(self, nanoseconds: int) -> None:
        if self._count < len(self._nanoseconds):
            self._nanoseconds[self._count] = nanoseconds
            self._count += 1

    def note_answer(self, command: str, sender: str, reply: Any) -> None:
        refused = reply is not MISSING and not reply.startswith("2")
        self.faults += refused and reply == throttle.aiosmtpd.FAULT
        if not sender.endswith(FLOOD_PARENT):
            return
        if refused and self.first_refusal_after is None:
            self.first_refusal_after = self._flood_seen
        self._flood_seen += command == "MAIL"

    def percentile_us(self, percent: int) -> float | None:
        """Microseconds that `percent` of the timed answers did not exceed."""
        taken = sorted(self._nanoseconds[: self._count])
        return taken[(len(taken) - 1) * percent // 100] / 1000 if taken else None


class TimedSMTP(SMTP):
    """A connection that tells its stopwatch."""

    stopwatch: Stopwatch

    async def _call_handler_hook(self, command: str, *args: Any) -> Any:
        start = time.perf_counter_ns()
        reply = await super()._call_handler_hook(command, *args)
        elapsed = time.perf_counter_ns() - start
        if command == "MAIL":
            self.stopwatch.note_time(elapsed)
        if command in ("MAIL", "RCPT", "DATA"):
            sender = args[0] if command == "MAIL" else self.envelope and self.envelope.mail_from
            self.stopwatch.note_answer(command, sender or "", reply)
        return reply

    async def handle_exception(self, error: Exception) -> str:
        self.stopwatch.faults += 1
        logger.error("fault in a handler", exc_info=error)
        return throttle.aiosmtpd.FAULT  # aiosmtpd's own answer is 500: a bounce


class TimedGuardedSMTP(TimedSMTP, throttle.aiosmtpd.SMTP):
    """A connection with a guard that tells its stopwatch."""
