"""Messages that name eight readers in Reply-To, so that one network holds hundreds of them at their limit.

Gain: what one network may claim. Whoever is named so loses nothing of the mail that comes from his own provider, nor of
what proven senders write for him. Lists and ticket systems without SPF that write for him wait as long as he is held.

`MANY` is one such reader for the whole world: of all messages whose From has a name and no address, as `root (Cron
Daemon)`. One address holds it, and then whatever else is unproven and written so waits.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from attack import ATTACK_US, Shot
from attack_table import Outcome
from mail.kinds import MINUTE_US
from throttle import Envelope, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

READERS = 240
TOGETHER = 8
SPAN_US = 40 * MINUTE_US


def reader(number: int) -> str:
    return f"person{number}@gmail.com"


class Network:
    """One /24 that keeps all groups of readers at their limit: it tries at the moment it is told."""

    def __init__(self, guard: Throttle) -> None:
        self.guard, self.sent, self.admitted = guard, 0, 0
        self.due = [(ATTACK_US + nth * 100_000, nth, 0) for nth in range(READERS // TOGETHER)]
        self.full: set[int] = set()

    def attempt(self) -> None:
        at, group, number = heapq.heappop(self.due)
        named = [reader(TOGETHER * group + nth) for nth in range(TOGETHER)]
        envelope = Envelope(
            client_ip=f"203.0.113.{1 + self.sent % 4}",
            mail_from=f"a@invented-{number}.com",
            rcpt_to=f"u{self.sent % 4_999}@d{group}.box.com",
            reply_to=named,
            header_from="a@some.name",
        )
        decision = self.guard.check(envelope, now=at / 1e6)
        self.sent += 1
        self.admitted += decision.allowed
        if decision.allowed:
            wait = 5.9 if group in self.full else 0.5
        else:
            self.full.add(group)
            wait = decision.retry_after
        heapq.heappush(self.due, (at + int((wait + 0.02) * 1e6), group, number + decision.allowed))


def of_reader(number: int, kind: str) -> Envelope:
    """A message from the reader's own provider, or of a firm that writes for the reader, with or without SPF."""
    if kind == "the reader":
        return Envelope(
            client_ip="209.85.220.41",
            mail_from=reader(number),
            rcpt_to="in@box.com",
            spf="pass",
            dkim="gmail.com",
            header_from=reader(number),
        )
    return Envelope(
        client_ip=f"198.51.{number}.9",
        mail_from=f"news@firm{number}.com",
        rcpt_to="in@box.com",
        spf="pass" if kind == "a proven firm" else "none",
        header_from=f"news@firm{number}.com",
        reply_to=reader(number),
    )


def test_a_reader_loses_nothing_of_his_own_and_of_proven_mail(
    rng: random.Random, write_outcome: Callable[[Outcome], None]
) -> None:
    network = Network(Throttle(seed=rng.randbytes(16)))
    kinds = ("the reader", "a proven firm", "a firm without SPF")
    mail = [
        Shot(ATTACK_US + int(rng.uniform(5 * MINUTE_US, SPAN_US)), kind, of_reader(number, kind))
        for number in range(READERS)
        for kind in kinds
        for _ in range(3)
    ]
    lost = dict.fromkeys(kinds, 0)
    for at, kind, envelope in sorted(mail, key=lambda shot: shot.at_us):
        while network.due[0][0] <= at:
            network.attempt()
        # Nobody learns from this question, so that each asks as if for the first time.
        lost[kind] += not network.guard.peek(envelope, now=at / 1e6)
    each = 3 * READERS
    name = f"{READERS} readers, {TOGETHER} in each Reply-To, named by one network for {SPAN_US // MINUTE_US} minutes"
    told = (
        "their own mail",
        "proven senders that name them in Reply-To",
        "senders without SPF that name them in Reply-To",
    )
    losses = {who: (lost[kind], each) for who, kind in zip(told, kinds, strict=True)}
    write_outcome(Outcome(name, network.admitted, network.sent, lost=losses))
    assert lost["the reader"] == lost["a proven firm"] == 0
    assert lost["a firm without SPF"] > each / 2, "listed in SECURITY.md"


MANY_US = 8 * MINUTE_US
FIRMS = 40


def written_so(start_us: int, count: int, kind: str, spf: str, rng: random.Random) -> list[Shot]:
    """Messages of forty firms' servers whose From has no address."""
    return [
        Shot(
            start_us + rng.randrange(MANY_US),
            kind,
            Envelope(
                client_ip=f"85.{n % FIRMS}.{n % 7}.9",
                mail_from=f"root@srv.{'proven' if spf == 'pass' else 'firm'}{n % FIRMS}.de",
                rcpt_to=f"u{n}@box.com",
                spf=spf,
                header_from="root (Cron Daemon)",
            ),
        )
        for n in range(count)
    ]


#: At once and a minute, whether each message has a name of its own, whether the firms are known; the least and the most
#: that is lost of what they do not prove.
HELD = {
    "100 messages and 20 a minute in fresh names; firms that are new": (100, 20, True, False, 0.95, 1.0),
    "100 messages and 20 a minute in fresh names; firms that are known": (100, 20, True, True, 0.0, 0.0),
    "1,000 messages and 200 a minute in one name; firms that are known": (1_000, 200, False, True, 0.6, 1.0),
}


@pytest.mark.parametrize("case", HELD)
def test_what_no_reader_can_be_read_of_shares_one_that_one_address_can_hold(
    case: str, rng: random.Random, write_outcome: Callable[[Outcome], None]
) -> None:
    at_once, a_minute, fresh, known, least, most = HELD[case]
    # Each later one comes when the limit has room again, as its replies tell the attacker.
    step_us = MINUTE_US // a_minute
    times = [n * step_us // at_once for n in range(at_once)] + [n * step_us for n in range(1, a_minute * 8)]
    attack = [
        Shot(
            ATTACK_US + at,
            "attacker",
            Envelope(
                client_ip="100.64.1.5",
                mail_from=f"a@invented{n * fresh}.com",
                rcpt_to=f"u{n}@box.com",
                spf="none",
                header_from="friend",
            ),
        )
        for n, at in enumerate(times)
    ]
    mail = [
        *written_so(ATTACK_US + 3_000_000, 400, "senders without SPF whose From has no address", "none", rng),
        *written_so(ATTACK_US + 3_000_000, 400, "proven senders whose From has no address", "pass", rng),
        *(written_so(ATTACK_US - 120 * MINUTE_US, 400, "before", "none", rng) if known else []),
    ]
    check = Throttle(seed=rng.randbytes(16)).check
    sent, lost = Counter[str](), Counter[str]()
    for at, kind, envelope in sorted([*attack, *mail], key=lambda shot: shot.at_us):
        sent[kind] += 1
        lost[kind] += not check(envelope, now=at / 1e6)
    losses = {kind: (lost[kind], sent[kind]) for kind in sent if kind not in ("attacker", "before")}
    name = f"From without an address, written by one address for eight minutes: {case}"
    admitted = sent["attacker"] - lost["attacker"]
    write_outcome(Outcome(name, admitted, sent["attacker"], lost=losses))
    # What the reader may have: a tenth of what it has at once in each minute, and the first of these.
    assert admitted <= at_once + 8 * at_once // 10 + 1
    assert lost["before"] == lost["proven senders whose From has no address"] == 0
    assert least <= lost["senders without SPF whose From has no address"] / 400 <= most, "listed in SECURITY.md"
