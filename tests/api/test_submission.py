"""The policy `submission`: an account whose password was stolen is stopped early, and the people beside it are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from given_guards import REAL, SEED
from throttle import Envelope, ManualClock, Policy, Throttle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from throttle import Decision

MINUTE = 60.0
HOUR = 3600.0


def guard() -> Throttle:
    return Throttle(Policy.builtin("submission"), clock=ManualClock(REAL), seed=SEED)


def message(user: str, network: int, recipients: Iterable[str]) -> Envelope:
    return Envelope(
        client_ip=f"198.{18 + network // 256}.{network % 256}.7",
        auth_user=user,
        mail_from=f"{user}@our-company.com",
        rcpt_to=list(recipients),
    )


def people(first: int, count: int) -> list[str]:
    return [f"person-{number}@elsewhere-{number % 97}.org" for number in range(first, first + count)]


def sent(pace: Throttle, messages: Iterator[tuple[float, Envelope]]) -> list[Decision]:
    return [pace.check(envelope, now=REAL + after) for after, envelope in messages]


def reached(decisions: list[Decision], of_each: int) -> int:
    return of_each * sum(map(bool, decisions))


def test_it_has_the_names_that_its_refusals_tell() -> None:
    policy = Policy.builtin("submission")
    assert [limit.name for limit in policy.limits] == [
        "user-hour", "user-day", "user-recipients-hour", "user-recipients-day", "user-mailboxes", "user-networks",
        "auth-failures",
    ]  # fmt: skip
    assert policy.file == "submission.toml"


def test_a_botnet_with_a_stolen_password_is_stopped_by_its_networks() -> None:
    decisions = sent(guard(), ((second, message("mallory", second % 60, people(second, 1))) for second in range(5000)))
    refusals = {decision.limit for decision in decisions if not decision}
    assert refusals == {"user-networks"}
    # twenty at once and the estimate's error, then twenty a day of what was 5,000
    assert 14 <= reached(decisions, 1) <= 30


def test_one_machine_with_a_stolen_password_is_stopped_by_the_strangers_it_writes_to() -> None:
    """Ten strangers a message, 100 messages an hour: below each hourly quota."""
    decisions = sent(
        guard(), ((number * 36.0, message("mallory", 1, people(10 * number, 10))) for number in range(500))
    )
    first = next(decision for decision in decisions if not decision)
    assert (first.limit, first.identity, first.key) == ("user-mailboxes", "auth.user", "mallory")
    # a burst of 1000, 500 a day for five hours, and the estimate's error of ten per cent at twice its size
    assert 800 <= reached(decisions, 10) <= 1350


def test_who_writes_to_the_same_people_is_held_by_the_quotas_alone() -> None:
    decisions = sent(guard(), ((number * 10.0, message("mallory", 1, people(0, 1))) for number in range(1000)))
    assert {decision.limit for decision in decisions if not decision} == {"user-hour"}
    assert reached(decisions[:360], 1) == 200


def test_an_ordinary_user_is_not_refused() -> None:
    """A week: sixty messages a day to ten of forty people, from a home, an office, a train and a phone."""
    pace = guard()
    day = 24 * HOUR
    for number in range(7 * 60):
        at = number // 60 * day + 8 * HOUR + number % 60 * 10 * MINUTE
        network = [1, 2, 3, 100 + number % 9][number % 4]
        assert pace.check(message("alice", network, people(number * 7 % 40, 10)), now=REAL + at), number


def test_a_mailing_secretary_is_not_refused() -> None:
    """A club of 800: a newsletter on Monday and a reminder on Friday, eighty members a message;
    ordinary mail beside it.
    """
    pace = guard()
    for day in (0, 4):
        for part in range(10):
            at = day * 24 * HOUR + part * 30.0
            assert pace.check(message("secretary", 1, people(80 * part, 80)), now=REAL + at), (day, part)
        for number in range(40):
            at = day * 24 * HOUR + HOUR + number * 5 * MINUTE
            assert pace.check(message("secretary", 2, people(1000 + number, 1)), now=REAL + at), (day, number)


def test_nobody_pays_for_a_neighbour() -> None:
    pace = guard()
    for second in range(3000):
        pace.check(message("mallory", second % 200, people(second, 20)), now=REAL + second)
    assert pace.check(message("alice", 1, people(0, 10)), now=REAL + 3000)
    assert not pace.check(message("mallory", 1, people(0, 1)), now=REAL + 3000)


def test_without_a_user_nothing_is_asked() -> None:
    pace = guard()
    envelope = message("alice", 1, people(0, 100)).replace(auth_user=None)
    assert all(pace.check(envelope, now=REAL) for _ in range(1000))
