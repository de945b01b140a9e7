"""The aiosmtpd handler of the two sides that do without `throttle`: ask the guard at MAIL, count by name, deliver.

It knows neither how a guard decides nor what it takes as a sender's name.
Invariant: both sides get the same handler, so they differ in their guard only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, Counter

if TYPE_CHECKING:
    from aiosmtpd.proxy_protocol import ProxyData
    from aiosmtpd.smtp import SMTP, Session
    from aiosmtpd.smtp import Envelope as Transaction

    from throttle.demo.inbox import Inbox

# What an operator would choose with a look at his logs: the busiest organisation of the quiet hours sends nine a
# minute,
# and without the flood not one message of the replay would be refused for it.
# It is also the pace that `inbound` grants one organisation from one network, so nobody is given a better number.
# A fixed window is the strategy of `limits` that costs least time and memory.
QUOTA = "600/minute"


class PeerGuard(Protocol):
    """A guard that knows senders by a name."""

    def name_of(self, mail_from: str) -> str:
        """What the quota is kept by, and the counter labelled with."""

    def admits(self, mail_from: str) -> bool:
        """Charge the quotas; False refuses."""

    def forget_expired(self) -> None:
        """Drop what is older than the quota's window."""


class Counted:
    """Handler around a guard, with the counter by name that makes a dashboard."""

    def __init__(self, guard: PeerGuard, label: str, inbox: Inbox) -> None:
        self.registry = CollectorRegistry()
        self._guard = guard
        self._inbox = inbox
        self._messages = Counter("inbound_messages", "Messages at MAIL FROM", [label], registry=self.registry)

    async def handle_PROXY(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Transaction, proxy: ProxyData
    ) -> bool:
        return proxy.valid

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Transaction, address: str, options: list[str]
    ) -> str:
        if not self.seen(address):
            return "451 4.7.1 sending too fast; try again later"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Transaction) -> str:  # noqa: N802
        return await self._inbox.handle_DATA(server, session, envelope)

    def seen(self, mail_from: str) -> bool:
        """Count a message by its sender's name and ask the guard."""
        self._messages.labels(self._guard.name_of(mail_from)).inc()
        return self._guard.admits(mail_from)


def host_of(mail_from: str) -> str:
    """The host of a return path; empty for the null sender."""
    return mail_from.strip("<>").rpartition("@")[2].rstrip(".").lower()
