"""What people do: one quota on the sender's full host and one on the host less a label, in memory.

It knows no suffix list: two labels up is as far as it looks, which is what the incident's throttle did.
"""

from __future__ import annotations

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from throttle.demo.peers import QUOTA, host_of


class Naive:
    """Quotas by host and by parent host."""

    def __init__(self) -> None:
        self._quota = parse(QUOTA)
        self._storage = MemoryStorage()
        self._limiter = FixedWindowRateLimiter(self._storage)

    def name_of(self, mail_from: str) -> str:
        """The full host."""
        return host_of(mail_from)

    def admits(self, mail_from: str) -> bool:
        """Charge both quotas."""
        host = host_of(mail_from)
        parent = host.partition(".")[2]
        return self._limiter.hit(self._quota, "host", host) and self._limiter.hit(self._quota, "parent", parent)

    def forget_expired(self) -> None:
        """Every window of the quiet hours is over: what is left of them is nothing."""
        self._storage.reset()
