"""One transaction, as it stands at the server's door, with what the header of its message says."""

from __future__ import annotations

from typing import NamedTuple

from throttle import Envelope


class Message(NamedTuple):
    """``pool`` holds the addresses from which its sender would try again. ``dkim`` holds the domains of the signatures
    that verify, ``size`` counts octets.
    """

    at_us: int
    kind: str
    client_ip: str
    client_name: str | None
    helo: str
    mail_from: str
    rcpt_to: str | list[str]
    spf: str | None
    pool: tuple[str, ...]
    header_from: str
    reply_to: str | None
    list_id: str | None
    dkim: str | tuple[str, ...]
    size: int

    def envelope(self) -> Envelope:
        """What the server knows at the end of the message."""
        return Envelope(
            client_ip=self.client_ip,
            client_name=self.client_name,
            helo=self.helo,
            mail_from=self.mail_from,
            rcpt_to=self.rcpt_to,
            spf=self.spf,
            size=self.size,
            header_from=self.header_from,
            reply_to=self.reply_to,
            list_id=self.list_id,
            dkim=self.dkim,
        )
