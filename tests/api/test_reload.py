"""Another policy while the server runs, and a policy that only watches."""

import math
import threading
from pathlib import Path

import pytest

from throttle import Envelope, ManualClock, Policy, PolicyError, Throttle

START = 1_700_000_000.0
SEED = b"16 secret bytes."
MESSAGE = Envelope(client_ip="198.51.100.7", mail_from="joe@example.com", rcpt_to="in@example.net")


def limit(name: str, per: str, rate: str, more: str = "") -> str:
    return f'[[limit]]\nname = "{name}"\nper = "{per}"\nrate = "{rate}"\n{more}\n'


def guard_of(text: str) -> Throttle:
    return Throttle(Policy.parse(text), clock=ManualClock(START), seed=SEED)


def passed(guard: Throttle, checks: int = 10) -> int:
    return sum(guard.check(MESSAGE).allowed for _ in range(checks))


def test_a_limit_that_did_not_change_counts_on_and_a_new_one_begins() -> None:
    guard = guard_of(limit("net", "client.net", "5/day"))
    assert passed(guard) == 5
    guard.reload(Policy.parse(limit("org", "sender.org", "7/day") + limit("net", "client.net", "5/day")))
    assert guard.check(MESSAGE).limit == "net"
    assert [rule.name for rule in guard.policy.limits] == ["org", "net"]
    guard.reload(Policy.parse(limit("org", "sender.org", "7/day")))
    assert passed(guard) == 7


def test_the_memory_stays_what_it_was() -> None:
    guard = Throttle(memory="8 MiB", clock=ManualClock(START), seed=SEED)
    before = guard.memory_bytes
    guard.reload(Policy.builtin("inbound"))
    assert guard.memory_bytes == before <= 8 * 2**20


def test_a_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(limit("net", "client.net", "1/day"))
    guard = Throttle(file, clock=ManualClock(START), seed=SEED)
    assert passed(guard) == 1
    file.write_text(limit("net", "client.net", "2/day"))
    guard.reload(file)
    assert passed(guard) == 2


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (limit("net", "client.net", "5/day", 'memory = "64 MiB"'), "memory"),
        ('[[limit]]\nname = "open"\nper = "global"\nin_flight = 5\n', "in_flight"),
    ],
)
def test_what_cannot_be_had_without_a_restart_changes_nothing_and_says_why(text: str, field: str) -> None:
    guard = guard_of(limit("net", "client.net", "5/day"))
    assert passed(guard, 2) == 2
    policy = guard.policy
    with pytest.raises(PolicyError, match="restart") as raised:
        guard.reload(Policy.parse(text, file="next.toml"))
    assert (raised.value.file, raised.value.field) == ("next.toml", field)
    assert guard.policy is policy
    assert passed(guard) == 3


def test_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    guard = guard_of(limit("net", "client.net", "5/day"))
    file = tmp_path / "policy.toml"
    file.write_text(limit("net", "client.nut", "5/day"))
    with pytest.raises(PolicyError, match=r"client\.net"):
        guard.reload(file)
    assert passed(guard) == 5


def test_a_permit_outlives_the_policy_under_which_it_was_given() -> None:
    open_messages = '[[limit]]\nname = "open"\nper = "client.net"\nin_flight = 1\n'
    guard = guard_of(open_messages + limit("net", "client.net", "99/day"))
    with guard.admit(MESSAGE) as permit:
        assert permit
        guard.reload(Policy.parse(limit("org", "sender.org", "9/day") + open_messages))
        assert not guard.admit(MESSAGE)
    assert guard.admit(MESSAGE)


def test_a_share_gets_other_numbers_and_its_tiers_stay() -> None:
    text = (
        '[[limit]]\nname = "open"\nper = "global"\nin_flight = {}\nreserve = {}\n'
        'share = [{{ per = "{}", of_free = "{}" }}, {{ per = "client.net", of_free = "1/1" }}]\n'
    )
    guard = guard_of(text.format(20, 10, "client.ip", "1/4"))
    held = [guard.admit(MESSAGE) for _ in range(9)]
    assert sum(map(bool, held)) == 2, "3 > (20 − 2 − 10) / 4"
    guard.reload(Policy.parse(text.format(20, 2, "client.ip", "1/2")))
    held += [guard.admit(MESSAGE) for _ in range(9)]
    assert sum(map(bool, held)) == 6, "7 > (20 − 6 − 2) / 2"
    with pytest.raises(PolicyError, match="restart"):
        guard.reload(Policy.parse(text.format(20, 2, "client.host", "1/2")))
    held.clear()
    assert {table.table: table.used for table in guard.tables()}["permits"] == 0


def test_suffixes_go_with_the_policy() -> None:
    guard = guard_of(limit("org", "sender.org", "9/day"))
    tenant = Envelope(mail_from="joe@tenant.example.com")
    assert guard.identities(tenant)["sender.org"] == "example.com"
    guard.reload(Policy.parse('[suffixes]\nextra = ["example.com"]\n' + limit("org", "sender.org", "9/day")))
    assert guard.identities(tenant)["sender.org"] == "tenant.example.com"


def test_no_check_fails_while_policies_come_and_go() -> None:
    guard = guard_of(limit("net", "client.net", "1000/day"))
    outcomes: list[bool] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set() and len(outcomes) < 100_000:
            outcomes.append(guard.check(MESSAGE).allowed)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for change in range(100):
        guard.reload(
            Policy.parse(
                limit(f"new{change % 3}", "sender.host", "1000000/second") + limit("net", "client.net", "1000/day")
            )
        )
    while len(outcomes) < 2000:
        outcomes.append(guard.check(MESSAGE).allowed)
    stop.set()
    for thread in threads:
        thread.join()
    assert sum(outcomes) == 1000


def test_in_shadow_mode_nothing_is_refused_and_all_that_would_be_is_told() -> None:
    guard = guard_of(limit("net", "client.net", "5/day") + limit("org", "sender.org", "7/day"))
    guard.mode = "shadow"
    decisions = [guard.check(MESSAGE) for _ in range(9)]
    assert all(decisions)
    assert [decision.shadow for decision in decisions] == [()] * 5 + [("net",)] * 2 + [("net", "org")] * 2
    assert {decision.retry_after for decision in decisions} == {0.0}
    guard.mode = "enforce"
    assert guard.check(MESSAGE).limit == "net"


def test_shadow_mode_outlives_a_change_of_policy() -> None:
    guard = guard_of(limit("net", "client.net", "1/day"))
    guard.mode = "shadow"
    guard.reload(Policy.parse(limit("org", "sender.org", "1/day")))
    assert guard.mode == "shadow"
    assert passed(guard) == 10


def test_a_policy_that_says_another_mode_than_the_one_before_brings_it() -> None:
    text = limit("net", "client.net", "1/day")
    shadow = 'mode = "shadow"\n' + text
    guard = guard_of(text)
    modes = []
    for policy in (shadow, text, shadow):
        guard.reload(Policy.parse(policy))
        modes.append(guard.mode)
    assert modes == ["shadow", "enforce", "shadow"]
    assert guard_of(shadow).mode == "shadow"


def test_permits_beyond_the_last_pass_in_shadow_mode_and_hold_nothing() -> None:
    guard = Throttle(
        Policy.parse('[[limit]]\nname = "open"\nper = "client.net"\nin_flight = 100\n'),
        max_open=1,
        clock=ManualClock(START),
        seed=SEED,
    )
    guard.mode = "shadow"
    first, second = guard.admit(MESSAGE), guard.admit(MESSAGE)
    assert first
    assert second
    assert second.decision.shadow == ("max-open",)
    second.release()
    assert {row.table: row.used for row in guard.tables()}["permits"] == 1


def test_a_mode_that_is_none_says_so() -> None:
    guard = guard_of(limit("net", "client.net", "1/day"))
    with pytest.raises(ValueError, match='found "off"; allowed: "enforce" or "shadow"'):
        guard.mode = "off"  # type: ignore[assignment]
    assert guard.mode == "enforce"
    assert math.isfinite(guard.check(MESSAGE).retry_after)
