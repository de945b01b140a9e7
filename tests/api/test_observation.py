"""``guard.distinct`` and ``guard.top``: what a guard tells of its own accord, and what it cannot be asked."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from given_guards import REAL, guard, limit
from throttle import Envelope, ManualClock, Offender, Throttle

NAME_BYTES = 119


def send(pace: Throttle, sender: str, count: int = 1, **fields: Any) -> None:
    for _ in range(count):
        pace.check(Envelope(mail_from=sender, **fields))


def test_distinct_counts_the_last_minute_and_the_last_hour() -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("pace", "sender.host", "1/hour"), clock=clock)
    for number in range(5):
        send(pace, f"a@h{number}.com", 2)
        clock.advance(30)
    assert round(pace.distinct("sender.host")) == 2  # what was sent 30 and 60 s ago: REAL is the start of a pane
    assert round(pace.distinct("sender.host", "hour")) == 5
    assert round(pace.distinct("sender.host", window="hour", now=REAL + 4000)) == 5
    assert pace.distinct("sender.host", "hour", now=REAL + 5000) == 0.0


def test_the_identities_of_a_composite_and_of_a_fan_out_can_be_asked_and_no_others() -> None:
    pace = guard(limit("pair", ["client.net", "sender.org"]), limit("fan", "sender.registered", distinct="sender.host"))
    send(pace, "a@mx.b.com", client_ip="192.0.2.1", helo="h.com")
    asked = ["client.net", "client.net/24/64", "sender.org", "sender.registered", "sender.host"]
    assert [round(pace.distinct(identity)) for identity in asked] == [1] * 5
    allowed = '"client.net", "sender.host", "sender.org", "sender.registered"'
    for identity in ["helo.host", "client.net + sender.org", "client.net/8/8", "host", ""]:
        for ask in (pace.distinct, pace.top):
            with pytest.raises(ValueError, match="identity: found") as raised:
                ask(identity)
            assert str(raised.value).endswith(f"allowed: one that a limit of the policy needs: {allowed}")


def test_wrong_arguments_are_named() -> None:
    pace = guard(limit("pace", "sender.org"))
    with pytest.raises(ValueError, match='window: found "day"; allowed: "minute" or "hour"'):
        pace.distinct("sender.org", "day")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n: found -1; allowed: an integer of at least 0"):
        pace.top("sender.org", -1)
    with pytest.raises(TypeError, match="n: found float; allowed: int"):
        pace.top("sender.org", 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="now: found inf"):
        pace.top("sender.org", now=float("inf"))


def test_top_tells_who_came_near_a_limit_since_when_and_with_how_much() -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("pace", "sender.org", "4/hour"), limit("fan", "sender.org", distinct="sender.host"), clock=clock)
    send(pace, "a@good.com", 2)
    send(pace, "a@bad.com", 3)  # the third is above half of four, and is counted
    clock.advance(1)
    send(pace, "a@bad.com", 9)
    send(pace, "a@worse.com", 20)
    bad, worse = Offender("bad.com", 2, 8, 1.0, REAL), Offender("worse.com", 2, 16, 1.0, REAL + 1)
    top = pace.top("sender.org")
    assert [(one.value, one.admitted, one.refused, one.first_seen) for one in top] == [
        (one.value, one.admitted, one.refused, one.first_seen) for one in (worse, bad)
    ]
    assert [round(one.fan_out or 0) for one in top] == [1, 1]
    assert [one.value for one in pace.top("sender.org", 1)] == ["worse.com"]
    assert pace.top("sender.org", n=0) == []
    assert pace.top("sender.host") == []
    # A minute later nothing of it counts, and the names are still there: their buckets are still above half.
    assert [(one.value, one.admitted + one.refused) for one in pace.top("sender.org", now=REAL + 90)] == [
        ("bad.com", 0),
        ("worse.com", 0),
    ]


def test_proven_and_claimed_mail_counts_under_one_name() -> None:
    pace = guard(limit("pace", "sender.org", "2/hour"))
    send(pace, "a@b.com", 3, spf="pass")
    send(pace, "a@b.com", 3, spf="fail")
    [one] = pace.top("sender.org")
    assert (one.value, one.admitted, one.refused) == ("b.com", 3, 2)  # all but the first


def test_a_peek_names_nobody_and_counts_nothing() -> None:
    pace = guard(limit("pace", "sender.org", "1/hour"))
    send(pace, "a@b.com")
    for _ in range(5):
        assert not pace.peek(Envelope(mail_from="a@b.com"))
    assert pace.top("sender.org") == []
    send(pace, "a@b.com")
    pace.peek(Envelope(mail_from="a@b.com"))
    [one] = pace.top("sender.org")
    assert (one.admitted, one.refused, one.fan_out) == (0, 1, None)


def test_of_a_long_name_the_end_is_kept() -> None:
    pace = guard(limit("pace", "sender.host", "1/hour"))
    hosts = [".".join([f"{label:02}" + "x" * 20] * 9) + ".com" for label in range(3)] + ["é" * 50 + ".com"]
    for host in hosts:
        send(pace, f"a@{host}", 2)
    names = sorted(one.value for one in pace.top("sender.host"))
    assert len(names) == len(hosts)
    long = [name for name in names if name.startswith("…")]
    assert len(long) >= 3
    for name in long:
        assert NAME_BYTES - 4 < len(name.encode()) <= NAME_BYTES
    for host in hosts[:3]:
        assert any(host.endswith(name.removeprefix("…")) for name in long)


def test_values_that_are_no_text_have_names_too() -> None:
    pace = guard(limit("pace", "sender.org", "1/hour"), limit("net", "client.net", "4/hour"))
    for sender in ("<>", "a@[192.0.2.9]", b"a@\xff.com"):
        send(pace, sender, 2, client_ip="junk")  # type: ignore[arg-type]
    assert {one.value for one in pace.top("sender.org")} == {"NULL", "LITERAL", "MALFORMED"}
    assert [one.value for one in pace.top("client.net")] == ["UNKNOWN"]


def test_a_message_that_can_never_pass_names_its_sender() -> None:
    pace = guard(limit("size", "sender.org", "1 KiB/hour", count="bytes"))
    pace.check(Envelope(mail_from="a@b.com", rcpt_to="c@d.com", size=5000), stage="mail")
    assert [(one.value, one.refused) for one in pace.top("sender.org")] == [("b.com", 1)]


def test_observation_takes_a_sixteenth_at_most_and_works_in_the_least_memory() -> None:
    for memory in (76 << 10, 1 << 20, 16 << 20):
        pace = Throttle(guard(limit("pace", "sender.org", "1/hour")).policy, memory=memory)
        [table] = pace.tables()
        assert pace.memory_bytes == memory
        # A small guard has neither room to spare nor for what operators say.
        others = memory // 32 + memory // 56 + memory // 64 if memory >= 256 << 10 else 0
        assert 4096 <= memory - table.bytes - 2 * 4096 <= max(memory // 16, 4096) + others
        for number in range(20):
            send(pace, f"a@b{number}.com", 2)
        assert abs(pace.distinct("sender.org") - 20) < 15
        assert len(pace.top("sender.org", 20)) >= 8


def test_an_offender_is_a_frozen_record() -> None:
    one = Offender("b.com", 1, 2, 3.5, REAL)
    assert repr(one) == f'Offender("b.com", admitted=1, refused=2, fan_out=3.5, first_seen={REAL})'
    assert pickle.loads(pickle.dumps(one)) == one
    assert one == Offender(value="b.com", admitted=1, refused=2, fan_out=3.5, first_seen=REAL)
    assert one != Offender("b.com", 1, 2, None, REAL)
    with pytest.raises(AttributeError):
        one.admitted = 5  # type: ignore[misc]
