"""Passwords that are guessed on a submission port: from one address, as fast as the server answers.

Gain: twenty guesses an hour, and at most those of one connection more. Other addresses lose nothing, nor does who
mistypes, nor a device that keeps an old password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack_table import Outcome
from throttle import Envelope, ManualClock, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_795_541_400.0
HOUR = 3600.0
TRIES = 3  # AUTH commands that a server takes of one connection


@pytest.fixture
def guard() -> Throttle:
    return Throttle("submission", clock=ManualClock(NOW), seed=b"16 secret bytes.")


def submits(guard: Throttle, client_ip: str, user: str, now: float) -> bool:
    with guard.session(client_ip=client_ip) as session:
        is_connected = session.connect(now=now)
        return bool(is_connected and session.mail(f"{user}@our-company.com", auth_user=user, now=now))


def guesses(guard: Throttle, client_ip: str, now: float) -> int:
    """The guesses of one connection."""
    with guard.session(client_ip=client_ip) as session:
        if not session.connect(now=now):
            return 0
        for _ in range(TRIES):
            session.report("auth-failure", now=now)
        return TRIES


def test_one_address_has_twenty_guesses_an_hour_and_its_neighbours_flow(
    guard: Throttle, write_outcome: Callable[[Outcome], None]
) -> None:
    made, day, sent, lost = 0, 24, 0, 0
    for second in range(0, int(day * HOUR), 2):
        made += guesses(guard, "198.51.100.7", NOW + second)
        if second % 600 == 0:
            user = second // 600 % 200
            lost += not submits(guard, f"198.51.100.{8 + user}", f"user{user}", NOW + second)
            sent += 1
    name = "guesses at passwords for a day, under the policy submission: one address"
    write_outcome(Outcome(name, made, day * 1800 * TRIES, "guesses", {"messages of its neighbours": (lost, sent)}))
    assert lost == 0
    assert 20 * day <= made <= (20 + TRIES) * day


def test_a_guesser_is_blocked_for_all_that_it_does(guard: Throttle) -> None:
    while guesses(guard, "198.51.100.7", NOW):
        pass
    assert [(block.identity, block.value, block.by) for block in guard.blocked()] == [
        ("client.ip", "198.51.100.7", "auth-failures")
    ]
    refused = guard.check(Envelope(client_ip="198.51.100.7", mail_from="a@b.com", auth_user="joe"), stage="mail")
    assert (refused.limit, refused.reply) == (
        "auth-failures",
        "451 4.7.1 198.51.100.7 is blocked; retry in 3600 s",
    )


def test_the_users_whose_passwords_are_guessed_are_not_shut_out(guard: Throttle) -> None:
    for number in range(300):
        envelope = Envelope(client_ip=f"198.18.{number}.7" if number < 256 else "198.19.0.7", auth_user="joe")
        guard.report(envelope, "auth-failure", now=NOW)
    assert submits(guard, "203.0.113.9", "joe", NOW)


def test_who_mistypes_five_times_submits(guard: Throttle) -> None:
    for second in range(5):
        guard.report(Envelope(client_ip="203.0.113.9"), "auth-failure", now=NOW + 10 * second)
    assert submits(guard, "203.0.113.9", "joe", NOW + 50)


def test_a_phone_with_an_old_password_is_not_blocked(guard: Throttle) -> None:
    """It tries every five minutes for two days, and a computer at the same address submits meanwhile."""
    for number in range(2 * 24 * 12):
        guard.report(Envelope(client_ip="203.0.113.9"), "auth-failure", now=NOW + 300 * number)
        assert submits(guard, "203.0.113.9", f"user{number}", NOW + 300 * number)
