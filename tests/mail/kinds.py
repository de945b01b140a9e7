"""How a kind of sender is written down: a generator of its messages in order of time, beside its share of all mail
and the sizes of its messages.

It knows no particular kind.
Invariant: a kind draws from random numbers of its own, so that a change in one leaves the others' mail as it was.
Which verdicts the server has changes no draw.
"""

from __future__ import annotations

import heapq
import random
from math import inf, log
from typing import TYPE_CHECKING, NamedTuple

from mail.message import Message
from mail.sizes import ENTRIES, ENTRY_BITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mail.sizes import Sizes

HOUR_US = 3_600_000_000
MINUTE_US = 60_000_000
#: Mailboxes of the server for each message of an hour: someone gets two in an hour of the day.
MAILBOXES_A_MESSAGE = 0.5
#: Letters of persons that go to more than one mailbox of the server.
TO_SEVERAL = 0.12


class Verdicts(NamedTuple):
    """Which results of its own checks the server hands to the guard."""

    spf: bool = True
    dkim: bool = True


class Kind(NamedTuple):
    """``share`` of all messages, in thousandths; the kinds' shares need not sum up to a thousand."""

    name: str
    share: float
    sizes: Sizes
    messages: Callable[[Mail], Iterator[Message]]

    @property
    def stands_for(self) -> str:
        """The real senders of this kind: the first line of its description."""
        return (self.messages.__doc__ or "").partition("\n")[0]


#: All kinds, in the order of their definition.
KINDS: list[Kind] = []


def kind(
    share: float, sizes: Sizes
) -> Callable[[Callable[[Mail], Iterator[Message]]], Callable[[Mail], Iterator[Message]]]:
    """Writes a generator down as a kind. The first line of its documentation says which senders it stands for."""

    def written(messages: Callable[[Mail], Iterator[Message]]) -> Callable[[Mail], Iterator[Message]]:
        KINDS.append(Kind(messages.__name__.replace("_", " "), share, sizes, messages))
        return messages

    return written


class Mail:
    """What one kind writes with: its volume, its times, its random numbers, and the server's mailboxes."""

    def __init__(
        self,
        kind: Kind,
        seed: str,
        an_hour: float,
        server_an_hour: int,
        span_us: tuple[int, int],
        *,
        ipv6: bool,
        verdicts: Verdicts,
    ) -> None:
        """``an_hour`` of the kind, of ``server_an_hour`` in all; ``ipv6`` says whether the server's MX has an AAAA
        record.
        """
        self.kind = kind.name
        self.sizes = kind.sizes
        self.rng = random.Random(f"{seed} {kind.name}")
        self.first_mailing = self.rng.randrange(ENTRIES)
        self.an_hour = an_hour
        self.server_an_hour = server_an_hour
        self.start_us, self.end_us = span_us
        self.ipv6 = ipv6
        self.has_spf, self.has_dkim = verdicts
        self.mailboxes = max(100, int(server_an_hour * MAILBOXES_A_MESSAGE))
        self.busiest = ranks(self.mailboxes, 0.7)

    def steadily(self) -> Iterator[int]:
        """Moments of a Poisson process."""
        wait, rate = self.rng.expovariate, self.an_hour / HOUR_US
        at = self.start_us + wait(rate)
        while at < self.end_us:
            yield int(at)
            at += wait(rate)

    def at_once(
        self, least: int, most: int, minutes: tuple[float, float], *, fastest_per_minute: float = inf
    ) -> Iterator[tuple[int, int]]:
        """Yields the time of each message and the number of the mailing that it belongs to.

        A mailing has ``least`` to ``most`` messages; small ones are the rule (Pareto, exponent 1).
        It takes ``minutes``, drawn from that range, or longer where ``fastest_per_minute`` says that its sender cannot
        send that fast. Half of all mailings begin at a full or a half hour, as schedulers do.
        """
        rng, most = self.rng, max(most, least + 1)
        mean = least * log(most / least) / (1 - least / most)
        wait = HOUR_US * mean / self.an_hour
        due: list[tuple[int, int]] = []
        begins, number = self.start_us + rng.expovariate(1 / wait), 0
        # one that began before the start is none of this run's: a half hour is the farthest that a beginning is moved
        while due or begins < self.end_us:
            while begins < self.end_us and (not due or begins - 30 * MINUTE_US <= due[0][0]):
                begin = int(begins)
                if rng.random() < 0.5:
                    begin = max(self.start_us, begin - begin % (30 * MINUTE_US)) + rng.randrange(2 * MINUTE_US)
                size = int(least / (1 - rng.random() * (1 - least / most)))
                lasts = max(rng.uniform(*minutes), size / fastest_per_minute) * MINUTE_US
                for _ in range(size):
                    heapq.heappush(due, (begin + int(rng.random() * lasts), number))
                number += 1
                begins += rng.expovariate(1 / wait)
            if due:
                at, of = heapq.heappop(due)
                if at < self.end_us:
                    yield at, of

    def mailbox(self) -> str:
        """One of the server's, the busy ones more often."""
        box = self.busiest(self.rng)
        return f"u{box}@d{box % 97}.box.com"

    def mailboxes_of_a_letter(self) -> str | list[str]:
        """One, or two to six of the same house: colleagues, a family."""
        if self.rng.random() >= TO_SEVERAL:
            return self.mailbox()
        return self.some_mailboxes(2, 6)

    def some_mailboxes(self, least: int, most: int) -> list[str]:
        """Small numbers are the rule, as in :meth:`at_once`."""
        count = int(least / (1 - self.rng.random() * (1 - least / (most + 1))))
        return [self.mailbox() for _ in range(count)]

    def message(
        self,
        at: int,
        pool: tuple[str, ...],
        mail_from: str,
        *,
        zone: str | None = None,
        helo: str | None = None,
        spf: str | None = "pass",
        rcpt_to: str | list[str] | None = None,
        header_from: str | None = None,
        reply_to: str | None = None,
        list_id: str | None = None,
        dkim: str | tuple[str, ...] = (),
        mailing: int | None = None,
    ) -> Message:
        """``zone`` is the domain under which the clients' reverse names lie; without one there is no reverse name.

        ``spf=None`` is a domain that publishes no SPF record.
        From is the return path if no other address is given. All copies of a ``mailing`` have nearly one size.
        """
        draw = self.rng.random
        client = pool[int(draw() * len(pool))] if len(pool) > 1 else pool[0]
        name = None if zone is None else f"{client.replace('.', '-').replace(':', '-')}.{zone}"
        if mailing is None:
            size = self.sizes[self.rng.getrandbits(ENTRY_BITS)]
        else:  # an odd step visits each entry once
            size = self.sizes[(self.first_mailing + mailing * 1_597) % ENTRIES] + at % 500
        return Message(
            at,
            self.kind,
            client,
            name,
            helo or name or f"[{client}]",
            mail_from,
            rcpt_to or self.mailbox(),
            (spf or "none") if self.has_spf else None,
            pool,
            header_from or mail_from,
            reply_to,
            list_id,
            dkim if self.has_dkim else (),
            size,
        )


def ranks(count: int, exponent: float) -> Callable[[random.Random], int]:
    """Draws of 0 … ``count`` - 1 after Zipf's law with ``exponent`` (not 1), by the inverse of the continuous law."""
    power = 1 - exponent
    span = (count + 1) ** power - 1
    inverse = 1 / power
    return lambda rng: int((span * rng.random() + 1) ** inverse) - 1
