"""All kinds together, in order of time.

Invariant: the shares are scaled so that an hour brings as many messages as asked for, on average.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from mail import bulk, companies, machines, providers, relays, services
from mail.kinds import HOUR_US, KINDS, Mail, Verdicts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mail.message import Message

START_US = 1_795_010_400_000_000 // HOUR_US * HOUR_US  # a full hour in November 2026
MODULES = (providers, bulk, services, companies, relays, machines)
ALL_VERDICTS = Verdicts()


def ordinary_mail(
    seed: str,
    per_hour: int,
    hours: float,
    *,
    ipv6: bool = False,
    verdicts: Verdicts = ALL_VERDICTS,
    only: Collection[str] = (),
) -> Iterator[Message]:
    """So many hours from :data:`START_US` on.

    With ``ipv6`` the server has an AAAA record, and who can comes by IPv6. Other ``verdicts`` leave all else of the
    mail as it is. ``only`` are the names of kinds whose messages are wanted, all if empty.
    """
    whole = sum(kind.share for kind in KINDS)
    span_us = (START_US, START_US + int(hours * HOUR_US))
    return heapq.merge(
        *(
            kind.messages(
                Mail(kind, seed, per_hour * kind.share / whole, per_hour, span_us, ipv6=ipv6, verdicts=verdicts)
            )
            for kind in KINDS
            if not only or kind.name in only
        )
    )
