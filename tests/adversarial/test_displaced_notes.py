"""One host keeps the limits on all new senders full, and another sends names without end, to displace the notes by
which deferred senders are admitted when they come back.

A refusal of `all-org-fan-out-spf` makes a note of the organisation, unless another limit refuses the message, too. The
other host may bring a hundred new organisations in ten minutes, so nearly all that it sends is refused by
`client-org-fan-out` as well.
Gain: nothing beside the hundred. Innocents lose nothing: all that are deferred are admitted at the first retry. When
each refusal made a note, 142 of 176 deferred senders were refused at their first retry too, and 79 at their second; in
two hours 730 of 777, 661 and so on, for up to 75 minutes.
What remains: a host with sixteen networks of its own, which sends such names from all of them, is refused by no other
limit. Its notes still displace those of others; the second test tells how many.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from attack_table import Outcome
from mail.kinds import MINUTE_US, Verdicts
from mail.mix import START_US, ordinary_mail
from throttle import Envelope, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from mail.message import Message

VOLUME = 10_000
#: Long enough for the limits to have learned.
BEFORE_MIN = 140
ATTACK_MIN = 30
ATTACK_US = START_US + BEFORE_MIN * MINUTE_US
RETRY_US = 5 * MINUTE_US
#: Networks of the host that fills the limit: at its own limits these bring 3,200 new organisations in ten minutes.
NETWORKS = 16
FILL_AT_ONCE = 3_000
FILL_A_MINUTE = 330
NAMES_A_SECOND = 600
#: Nobody else sends from here.
ELSEWHERE = "100.64.9.9"


def fills(number: int) -> str:
    """An address in one of the networks of the host that fills the limit."""
    return f"2a0e:97c0:{number % NETWORKS:x}:{number // NETWORKS % 40:x}::1"


def flood(washes: Callable[[int], str]) -> Iterator[tuple[int, Message | Envelope]]:
    """The host that fills the limit, and from the second minute on the other."""

    def named(ip: str, org: str) -> Envelope:
        return Envelope(client_ip=ip, mail_from=f"a@{org}", spf="none")

    times = [n * 10_000 for n in range(FILL_AT_ONCE)]
    last_us = times[-1]
    times += range(last_us, ATTACK_MIN * MINUTE_US, MINUTE_US // FILL_A_MINUTE)
    filling: Iterator[tuple[int, Message | Envelope]] = (
        (ATTACK_US + at, named(fills(n), f"f{n}.com")) for n, at in enumerate(times)
    )
    count = (ATTACK_MIN - 1) * 60 * NAMES_A_SECOND
    begun_us = ATTACK_US + MINUTE_US
    washing: Iterator[tuple[int, Message | Envelope]] = (
        (begun_us + n * 1_000_000 // NAMES_A_SECOND, named(washes(n), f"w{n}.net")) for n in range(count)
    )
    return heapq.merge(filling, washing, key=itemgetter(0))


@dataclass
class Played:
    """What came of it."""

    sent: int = 0
    admitted: int = 0
    by: Counter[str | None] = field(default_factory=Counter)
    innocent: int = 0
    #: How many innocents were refused at each try, from the first on.
    refused_at: Counter[int] = field(default_factory=Counter)
    #: Limits that refused innocents.
    refused_by: set[str | None] = field(default_factory=set)
    longest_min: float = 0


def play(seed: str, washes: Callable[[int], str], rng: random.Random) -> Played:
    guard, played = Throttle(seed=rng.randbytes(16)), Played()
    waiting: list[tuple[int, int, int, int, Message]] = []

    def attempt(message: Message, at_us: int, tries: int, first_us: int) -> None:
        decision = guard.check(message.envelope(), now=at_us / 1e6)
        if decision:
            played.longest_min = max(played.longest_min, (at_us - first_us) / MINUTE_US)
            return
        played.refused_at[tries] += 1
        played.refused_by.add(decision.limit)
        heapq.heappush(waiting, (at_us + (RETRY_US << tries - 1), len(waiting), tries + 1, first_us, message))

    mail = ordinary_mail(seed, VOLUME, (BEFORE_MIN + ATTACK_MIN) / 60, verdicts=Verdicts(spf=True))
    ordinary: Iterator[tuple[int, Message | Envelope]] = ((message.at_us, message) for message in mail)
    for at_us, shot in heapq.merge(ordinary, flood(washes), key=itemgetter(0)):
        while waiting and waiting[0][0] <= at_us:
            retried_us, _, tries, first_us, message = heapq.heappop(waiting)
            attempt(message, retried_us, tries, first_us)
        if isinstance(shot, Envelope):
            decision = guard.check(shot, now=at_us / 1e6)
            played.sent += 1
            played.admitted += bool(decision)
            played.by[decision.limit] += 1
        elif at_us < ATTACK_US:
            guard.check(shot.envelope(), now=at_us / 1e6)
        else:
            played.innocent += 1
            attempt(shot, at_us, 1, at_us)
    return played


def test_names_that_another_limit_refuses_displace_no_note(
    seed: str, rng: random.Random, write_outcome: Callable[[Outcome], None]
) -> None:
    played = play(seed, lambda _: ELSEWHERE, rng)
    print(f"{NAMES_A_SECOND} names a second from one host: {played}")
    lost = {"senders at their first retry": (played.refused_at[2], played.refused_at[1])}
    name = "limits on all new senders kept full, and 600 names a second: from one client"
    write_outcome(Outcome(name, played.admitted, played.sent, lost=lost))
    assert played.by["client-org-fan-out"] > 0.9 * 60 * NAMES_A_SECOND * (ATTACK_MIN - 1)
    assert played.refused_at[1] > 100, "the limit is full, so the notes matter"
    assert played.refused_at[2] == 0
    assert played.longest_min < 6


def test_names_from_all_networks_of_the_host_still_displace_notes_and_how_many_is_told(
    seed: str, rng: random.Random, write_outcome: Callable[[Outcome], None]
) -> None:
    played = play(seed, lambda n: fills(7 * n), rng)
    print(f"{NAMES_A_SECOND} names a second from all networks of the host: {played}")
    lost = {"senders at their first retry": (played.refused_at[2], played.refused_at[1])}
    name = "limits on all new senders kept full, and 600 names a second: from sixteen networks"
    write_outcome(Outcome(name, played.admitted, played.sent, lost=lost))
    assert played.refused_at[1] < 0.1 * played.innocent, "nearly all senders are known or proven"
    assert played.refused_by <= {"all-org-fan-out", "all-org-fan-out-spf"}
