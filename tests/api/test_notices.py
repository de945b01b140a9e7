"""Which limit began to refuse which key, and which has stopped: once for each key and quiet period."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from given_guards import REAL, guard, limit
from throttle import Envelope, Limit, ManualClock, Policy, Throttle

if TYPE_CHECKING:
    from throttle.types import Notice

QUIET_S = 600


def message(org: str) -> Envelope:
    return Envelope(client_ip="192.0.2.1", mail_from=f"a@{org}")


def told(entries: tuple[Notice, ...]) -> list[tuple[str, str, str, int]]:
    return [(entry.kind, entry.limit, entry.key, entry.refused) for entry in entries]


def test_a_flood_is_one_notice_and_its_end_another() -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("pair", "sender.org", "2/30 days"), clock=clock)
    for _ in range(102):
        pace.check(message("b.com"))
        clock.advance(1)
    first = pace.notices()
    assert told(first.entries) == [("began", "pair", "b.com", 1)]
    assert (first.entries[0].since, first.entries[0].until) == (REAL + 2, REAL + 2)
    assert first.entries[0].identity == "sender.org"
    again = pace.notices(first.last)
    assert told(again.entries) == []
    assert told(again.refusing) == [("began", "pair", "b.com", 100)]
    assert (again.refusing[0].serial, again.refusing[0].until) == (first.last, REAL + 101)
    clock.advance(QUIET_S - 1.5)
    assert told(pace.notices(first.last).entries) == [], "the last refusal is not ten minutes ago"
    clock.advance(1.5)
    second = pace.notices(first.last)
    assert told(second.entries) == [("stopped", "pair", "b.com", 100)]
    assert (second.entries[0].since, second.entries[0].until) == (REAL + 2, REAL + 101)
    assert second.refusing == ()
    assert [entry.serial for entry in pace.notices().entries] == [1, 2]
    pace.check(message("b.com"))
    assert told(pace.notices(second.last).entries) == [("began", "pair", "b.com", 1)]


def test_each_limit_that_refuses_has_a_notice_also_in_shadow_mode() -> None:
    shadow = Limit(name="net", per="client.net", rate="1/day", mode="shadow")
    pace = guard(limit("pair", "sender.org", "1/day"), limit("host", "sender.host", "1/day"), shadow)
    for _ in range(3):
        pace.check(message("b.com"))
    entries = pace.notices().entries
    assert {(entry.limit, entry.key, entry.mode) for entry in entries} == {
        ("pair", "b.com", "enforce"),
        ("host", "b.com", "enforce"),
        ("net", "192.0.2.0/24", "shadow"),
    }


def test_what_fans_out_is_told_by_the_part_that_is_refused() -> None:
    clock = ManualClock(REAL)
    hosts = Limit(name="hosts", per="sender.registered", distinct="sender.host", rate="3/hour", settle="1 hour")
    pace = guard(hosts, clock=clock)
    for hour in (0, 1.01, 2):
        clock.now = REAL + 3600 * hour
        pace.check(message("first.tenant.ex.com"))
    for number in range(9):
        pace.check(message(f"h{number}.tenant.ex.com"))
        pace.check(message(f"h{number}.ex.com"))
    assert {entry.key for entry in pace.notices().entries} == {"tenant.ex.com", "ex.com"}


def test_blocks_and_permits_are_told_too() -> None:
    pace = Throttle(Policy([limit("pair", "sender.org", "100/day")]), max_open=1)
    pace.block("sender.org", "spam.com")
    pace.check(message("spam.com"))
    permit = pace.admit(message("b.com"))
    pace.admit(message("c.com"))
    del permit
    assert {(entry.limit, entry.key) for entry in pace.notices().entries} == {
        ("blocked", "spam.com"),
        ("max-open", "global"),
    }


def test_a_peek_and_an_explanation_are_not_told() -> None:
    pace = guard(limit("pair", "sender.org", "1/day"))
    pace.check(message("b.com"))
    assert not pace.peek(message("b.com"))
    pace.explain(message("b.com"))
    assert pace.notices().entries == ()


def test_invented_keys_have_at_most_256_notices_in_ten_minutes_and_the_others_are_counted() -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("pair", "sender.org", "1/30 days"), clock=clock)
    for _ in range(2):
        for number in range(1_000):
            pace.check(message(f"org{number}.com"))
    first = pace.notices()
    assert (len(first.entries), first.untracked, first.overwritten) == (256, 744, 0)
    for turn in range(1, 4):
        clock.advance(QUIET_S)
        for number in range(1_000 * turn, 1_000 * turn + 256):
            pace.check(message(f"org{number}.com"))
            pace.check(message(f"org{number}.com"))
        pace.notices()
    late = pace.notices(first.last)
    assert len(late.entries) == 1_024
    assert late.overwritten == late.last - first.last - 1_024 > 0
    assert [entry.serial for entry in late.entries] == list(range(late.last - 1_023, late.last + 1))


def test_a_reload_keeps_what_is_refused_now() -> None:
    pace = guard(limit("other", "client.ip", "100/day"), limit("pair", "sender.org", "1/day"))
    for _ in range(2):
        pace.check(message("b.com"))
    pace.reload(Policy([limit("pair", "sender.org", "2/day")]))
    for _ in range(4):
        pace.check(message("b.com"))
    assert told(pace.notices().entries) == [("began", "pair", "b.com", 1)]


@pytest.mark.parametrize(
    "sender", ["\x1b[31m" + "x" * 5_000 + "@b.com", "joe@" + "é" * 200 + ".com", b"\xff\xfe@b.com"]
)
def test_the_text_of_a_key_is_bounded(sender: str | bytes) -> None:
    pace = guard(limit("address", "sender.address", "1/day"))
    for _ in range(2):
        pace.check(Envelope(client_ip="192.0.2.1", mail_from=sender))
    (entry,) = pace.notices().entries
    assert len(entry.key.encode()) <= 256


def test_a_session_that_repeats_a_refused_step_is_one_notice() -> None:
    pace = guard(limit("pair", "sender.org", "1/day"))
    session = pace.session(client_ip="192.0.2.1", hold=False)
    for name in "123":
        for _ in range(3):
            session.mail("a@b.com", transaction=name)
    assert told(pace.notices().entries) == [("began", "pair", "b.com", 1)]
