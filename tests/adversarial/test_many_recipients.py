"""Messages to a hundred mailboxes each: what counts is how much is delivered.

Gain, in deliveries: 4.5 % for fresh hosts below one name (`org-fan-out-rcpt`: each recipient of a new host is charged),
4 % for one network under one name (`net-claimed-rcpt-pace`), 13.5 % for one client under a hundred names by turns
(`client-claimed-rcpt-pace`; 40 % for three or more of one network), and 1,000 recipients for one transaction
(`max_recipients`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import ATTACK_US, SPAN_US, networks
from attack_table import Outcome
from throttle import Envelope, ManualClock, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

RECIPIENTS = 100
DELIVERIES = 40_000


def play(client: Callable[[int], str], mail_from: Callable[[int], str], deliveries: int, rng: random.Random) -> int:
    """Each message is a session of its own; returns how many of the deliveries were admitted."""
    clock = ManualClock(ATTACK_US / 1e6)
    guard, admitted = Throttle(clock=clock, seed=rng.randbytes(16)), 0
    messages = deliveries // RECIPIENTS
    for n in range(messages):
        with guard.session(client_ip=client(n)) as session:
            session.helo("mx")
            if session.mail(mail_from(n)):
                admitted += sum(bool(session.rcpt(f"u{n}.{m}@box.com")) for m in range(RECIPIENTS))
                session.data(size=2_000)
        clock.advance(SPAN_US / 1e6 / messages)
    return admitted


def test_the_recipients_of_new_hosts_are_charged(rng: random.Random, write_outcome: Callable[[Outcome], None]) -> None:
    admitted = play(networks(200), lambda n: f"a@x{n}.mass.com", DELIVERIES, rng)
    name = f"{RECIPIENTS} recipients a message: fresh hosts under one name"
    write_outcome(Outcome(name, admitted, DELIVERIES, "deliveries"))
    assert 0.044 < admitted / DELIVERIES <= 0.05


def test_the_recipients_of_new_hosts_are_charged_in_one_check_too(
    rng: random.Random, write_outcome: Callable[[Outcome], None]
) -> None:
    guard, admitted, client = Throttle(seed=rng.randbytes(16)), 0, networks(200)
    messages = DELIVERIES // RECIPIENTS
    for n in range(messages):
        recipients = tuple(f"u{n}.{m}@box.com" for m in range(RECIPIENTS))
        envelope = Envelope(client_ip=client(n), helo="mx", mail_from=f"a@x{n}.mass.com", rcpt_to=recipients)
        admitted += RECIPIENTS * bool(guard.check(envelope, now=(ATTACK_US + n * SPAN_US / messages) / 1e6))
    name = f"{RECIPIENTS} recipients a message: fresh hosts under one name, in one check"
    write_outcome(Outcome(name, admitted, DELIVERIES, "deliveries"))
    assert admitted / DELIVERIES <= 0.05


def test_one_network_under_one_name_is_held_by_what_it_delivers(
    rng: random.Random, write_outcome: Callable[[Outcome], None]
) -> None:
    admitted = play(lambda n: f"100.64.0.{1 + n % 254}", lambda n: "a@mass.com", 10 * DELIVERIES, rng)
    name = f"{RECIPIENTS} recipients a message: one network under one name"
    write_outcome(Outcome(name, admitted, 10 * DELIVERIES, "deliveries"))
    assert admitted / (10 * DELIVERIES) <= 0.10


@pytest.mark.parametrize(("clients", "most"), [(1, 0.14), (254, 0.41)])
def test_names_by_turns_are_held_by_what_their_client_and_network_deliver(
    clients: int, most: float, rng: random.Random, write_outcome: Callable[[Outcome], None]
) -> None:
    admitted = play(lambda n: f"100.64.0.{1 + n % clients}", lambda n: f"a@org{n % 100}.com", DELIVERIES, rng)
    whose = f"{clients} client{'s' * (clients > 1)} of a network"
    name = f"{RECIPIENTS} recipients a message: 100 names by turns from {whose}"
    write_outcome(Outcome(name, admitted, DELIVERIES, "deliveries"))
    assert admitted / DELIVERIES <= most


def test_a_search_for_addresses_gets_a_thousand_of_them_in_one_transaction(
    rng: random.Random, write_outcome: Callable[[Outcome], None]
) -> None:
    guard = Throttle(clock=ManualClock(0), seed=rng.randbytes(16))
    with guard.session(client_ip="100.64.0.1") as session:
        session.helo("mx")
        assert session.mail("a@mass.com")
        decisions = [session.rcpt(f"u{n}@box.com") for n in range(DELIVERIES)]
    answered = sum(map(bool, decisions))
    write_outcome(Outcome("a search for addresses in one transaction", answered, DELIVERIES, "recipients"))
    assert answered == 1_000
    assert {decision.limit for decision in decisions[1_000:]} == {"max-recipients"}
    assert str(decisions[-1].reply).startswith("452 4.5.3 ")
