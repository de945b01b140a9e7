"""What somebody does who has read about the incident: tldextract, and one quota for each organisational domain.

It knows no tenants and no networks: everybody under one organisational domain shares one quota.
"""

from __future__ import annotations

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from tldextract import TLDExtract

from throttle.demo.peers import QUOTA, host_of


class Careful:
    """A quota by organisational domain."""

    def __init__(self) -> None:
        self._quota = parse(QUOTA)
        self._storage = MemoryStorage()
        self._limiter = FixedWindowRateLimiter(self._storage)
        # the bundled snapshot: no network, no files; private section as in DMARC
        self._split = TLDExtract(cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True)
        self._split("warm.example.com")  # parses the list now rather than at the first message

    def name_of(self, mail_from: str) -> str:
        """The organisational domain; the host where there is none."""
        host = host_of(mail_from)
        parts = self._split(host)
        return f"{parts.domain}.{parts.suffix}" if parts.domain and parts.suffix else host

    def admits(self, mail_from: str) -> bool:
        """Charge the quota."""
        return self._limiter.hit(self._quota, self.name_of(mail_from))

    def forget_expired(self) -> None:
        """Every window of the quiet hours is over: what is left of them is nothing."""
        self._storage.reset()
