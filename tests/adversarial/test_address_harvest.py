"""An address harvester: 10,000 guesses at mailboxes in eight minutes, from one network under one organisation.

Gain: 300 answers at once and 30 a minute, however many recipients its messages have. Nobody else loses anything: other
organisations of its network flow, and so does its organisation from elsewhere.
Ordinary mail of which one message in fifty goes to nobody never meets the limit.

Somebody else can make a sender look like one. A sign-up form that is given addresses that do not exist here, sixty a
minute, sends to them, and then more than half of its owner's mail waits, also what is proven: the pair counts whatever
its senders prove. With thirty a minute nothing waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import END_US, SPAN_US
from attack_table import Outcome
from exact_buckets import ExactBuckets
from mail.mix import START_US
from throttle import Envelope, Limit, Policy, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Shot
    from throttle import Session

GUESSES = 10_000
HARVEST = (30, 60, 300)  # amount, seconds, burst


def harvested(guard: Throttle, of_each: int) -> tuple[int, int, int, int]:
    """The guesses that are answered, the messages that are not refused at MAIL, the neighbours' messages that are
    refused, and how many of these there are.
    """
    answers = messages = lost = sent = 0
    session: Session | None = None
    for number in range(GUESSES):
        now = (START_US + number * SPAN_US // GUESSES) / 1e6
        if number % of_each == 0:
            session = guard.session(client_ip="81.0.0.7")
            admitted = bool(session.mail("a@harvest.com", now=now))
            messages += admitted
        assert session is not None
        if session.rcpt(f"guess{number}@box.com", now=now):
            session.report("unknown-recipient", f"guess{number}@box.com", now=now)
            answers += 1
        if number % 50 == 0:
            others = [
                Envelope(client_ip="81.0.0.8", mail_from="a@neighbour.com", rcpt_to="known@box.com"),
                Envelope(client_ip="81.0.0.7", mail_from="a@neighbour.com", rcpt_to="known@box.com"),
                Envelope(client_ip="81.0.1.7", mail_from="a@harvest.com", rcpt_to="known@box.com"),
                Envelope(client_ip="81.0.0.7", mail_from="a@harvest.com", rcpt_to="known@box.com", spf="pass"),
            ]
            lost += sum(not guard.check(envelope, now=now) for envelope in others)
            sent += len(others)
    return answers, messages, lost, sent


def expected(of_each: int) -> tuple[int, int]:
    """The same of a bucket that is exact, asked at MAIL and at each RCPT."""
    bucket = ExactBuckets(*HARVEST)
    answers = messages = 0
    in_transaction = False
    for number in range(GUESSES):
        now = START_US + number * SPAN_US // GUESSES
        fits = bucket.excess("pair", now) <= 0
        if number % of_each == 0:
            in_transaction = fits
            messages += fits
        if in_transaction and fits:
            bucket.charge("pair", now)
            answers += 1
    return answers, messages


@pytest.mark.parametrize("of_each", [1, 10, 100])
def test_a_harvester_is_deferred_whatever_its_messages_and_its_neighbours_are_not(
    of_each: int, write_outcome: Callable[[Outcome], None]
) -> None:
    answers, messages, lost, sent = harvested(Throttle(seed=b"16 secret bytes."), of_each)
    most, admitted = expected(of_each)
    name = (
        f"guesses at mailboxes that the server reports as unknown: {of_each} recipient{'s' * (of_each > 1)} a message"
    )
    write_outcome(Outcome(name, answers, GUESSES, "guesses", {"messages of neighbours": (lost, sent)}))
    assert abs(answers - most) <= 3
    assert abs(messages - admitted) <= 3
    assert 300 <= answers <= 300 + 8 * 30 + 1
    assert lost == 0


def test_what_is_deferred_is_never_blocked() -> None:
    guard = Throttle(seed=b"16 secret bytes.")
    envelope, now = Envelope(client_ip="81.0.0.7", mail_from="a@harvest.com"), START_US / 1e6
    for _ in range(5_000):
        guard.report(envelope, "unknown-recipient", now=now)
    decision = guard.check(envelope, now=now)
    assert guard.blocked() == []
    assert (decision.limit, decision.key) == ("harvest", "81.0.0.0/24 + harvest.com")
    assert str(decision.reply).startswith("451 4.7.1 81.0.0.0/24 + harvest.com was reported too often; retry in ")
    assert decision.retry_after <= 2.0, "one report's worth, however many came meanwhile"


def refused(guard: Throttle, mail: list[Shot], rng: random.Random) -> list[str | None]:
    """The limits that refuse ordinary mail, of which one message in fifty has an unknown recipient."""
    limits = []
    for at_us, _, envelope in mail:
        decision = guard.check(envelope, now=at_us / 1e6)
        if not decision:
            limits.append(decision.limit)
        elif rng.random() < 0.02:
            guard.report(envelope, "unknown-recipient", now=at_us / 1e6)
    return limits


def test_ordinary_mail_with_one_unknown_recipient_in_fifty_is_never_deferred(
    innocents: list[Shot], rng: random.Random
) -> None:
    mail = [shot for shot in innocents if shot.at_us < END_US]
    assert refused(Throttle(seed=rng.randbytes(16)), mail, rng) == []
    fields = next(limit.fields for limit in Policy.builtin().limits if limit.name == "harvest")
    tighter = Throttle(Policy([Limit(**fields | {"rate": "2/hour", "burst": 2})]), seed=rng.randbytes(16))
    assert set(refused(tighter, mail, rng)) == {"harvest"}, "it is not for want of reports"


def test_the_largest_mailing_that_the_pair_may_send_does_not_meet_it(rng: random.Random) -> None:
    """6000 messages at once and 600 a minute for ten minutes, one in fifty to nobody."""
    guard = Throttle(seed=rng.randbytes(16))
    envelope = Envelope(client_ip="81.0.0.7", mail_from="news@letters.com")
    for minute, count in [(0, 6000), *((minute, 600) for minute in range(1, 11))]:
        for number in range(count):
            now = START_US / 1e6 + 60 * minute + number * 59 / count
            assert guard.check(envelope.replace(rcpt_to=f"u{minute}-{number}@box.com"), now=now).limit != "harvest"
            if rng.random() < 0.02:
                guard.report(envelope, "unknown-recipient", now=now)


POSTS_AT_ONCE = 300
FORM_US = 20 * 60_000_000


def shop(guard: Throttle, posts_a_minute: int, rng: random.Random) -> dict[str, tuple[int, int]]:
    """A shop sends 120 messages of its own a minute, and one for each post to its form. Its own messages that are
    refused once the form has had its first posts, and a neighbour's; and how many there were.
    """
    form_us = [60_000_000 + n * 200_000 for n in range(POSTS_AT_ONCE)]
    begin_us = form_us[-1]
    form_us += [begin_us + (n + 1) * 60_000_000 // posts_a_minute for n in range(posts_a_minute * 19)]
    own, neighbours = "the owner's mail, proven", "neighbours in its network"
    steps = [(at, "form", n) for n, at in enumerate(form_us)]
    steps += [(rng.randrange(FORM_US), own, n) for n in range(120 * 20)]
    steps += [(rng.randrange(FORM_US), neighbours, n) for n in range(10 * 20)]
    lost, sent = dict.fromkeys((own, neighbours), 0), dict.fromkeys((own, neighbours), 0)
    for at, kind, n in sorted(steps):
        now = (START_US + at) / 1e6
        sender, recipient = "bounce@shop.com", f"no{n}@box.com" if kind == "form" else f"u{n % 300}@box.com"
        with guard.session(client_ip=f"81.5.5.{5 + n % 3}", client_name="mail.shop.com") as session:
            session.helo("mail.shop.com", now=now)
            if kind == neighbours:
                sender = "info@neighbour.com"
            admitted = bool(session.mail(sender, spf="pass", now=now)) and bool(session.rcpt(recipient, now=now))
            if kind == "form":
                if admitted:
                    session.report("unknown-recipient", recipient, now=now)
            elif at > begin_us:
                sent[kind] += 1
                lost[kind] += not admitted
    return {kind: (lost[kind], sent[kind]) for kind in sent}


@pytest.mark.parametrize(("posts_a_minute", "least", "most"), [(30, 0.0, 0.0), (60, 0.4, 0.7)])
def test_a_form_that_writes_to_unknown_mailboxes_delays_its_owner_above_the_rate_of_reports(
    posts_a_minute: int, least: float, most: float, rng: random.Random, write_outcome: Callable[[Outcome], None]
) -> None:
    lost = shop(Throttle(seed=rng.randbytes(16)), posts_a_minute, rng)
    name = f"{POSTS_AT_ONCE} unknown mailboxes given to a sign-up form in a minute, and then for 19 minutes"
    write_outcome(Outcome(f"{name}: {posts_a_minute} a minute", lost=lost))
    refused, of = lost["the owner's mail, proven"]
    assert least <= refused / of <= most, "listed in SECURITY.md"
    assert lost["neighbours in its network"][0] == 0
