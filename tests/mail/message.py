"""One transaction, as it stands at the server's door."""

from __future__ import annotations

from typing import NamedTuple

from throttle import Envelope


class Message(NamedTuple):
    """``pool`` holds the addresses from which its sender would try again."""

    at_us: int
    kind: str
    client_ip: str
    client_name: str | None
    helo: str
    mail_from: str
    rcpt_to: str | list[str]
    spf: str | None
    pool: tuple[str, ...]
    reply_to: str | None = None

    def envelope(self) -> Envelope:
        """What the server knows when it has read the header, but for the size."""
        return Envelope(
            client_ip=self.client_ip,
            client_name=self.client_name,
            helo=self.helo,
            mail_from=self.mail_from,
            rcpt_to=self.rcpt_to,
            spf=self.spf,
            reply_to=self.reply_to,
        )
