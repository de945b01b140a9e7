"""What a limit does when it refuses: defer, reject, block; and the answer, row by row of the table of stages."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from given_guards import REAL, guard, is_legal, limit
from throttle import Envelope, Limit, ManualClock, Policy, PolicyError, Throttle

SENDER = Envelope(
    client_ip="192.0.2.1",
    client_name="mx.b.com",
    helo="mx.b.com",
    mail_from="a@b.com",
    rcpt_to=["p@q.net"],
    auth_user="joe",
    spf="pass",
    size=900,
    dkim=["mx.b.com", "b.org"],
)

#: What a limit says, and the beginning of its answer: deferring, and rejecting.
ROWS: list[tuple[str, dict[str, Any], str, str]] = [
    ("connect", {"per": "client.ip", "count": "connections"}, "421 4.7.0 192.0.2.1 connects too often", "554 5.7.1"),
    ("helo", {"per": "helo.host", "count": "recipients"}, "452 4.5.3", "550 5.7.1"),
    ("mail", {"per": "helo.host"}, "451 4.7.1 mx.b.com is sending too fast", "550 5.7.1"),
    ("mail", {"per": "sender.org"}, "451 4.7.1 b.com is sending too fast", "550 5.7.1"),
    ("mail", {"per": "client.ip", "distinct": "sender.host"}, "451 4.7.28 192.0.2.1 sends under", "550 5.7.1"),
    (
        "mail",
        {"per": "client.ip", "distinct": "sender.host", "refuse": "all"},
        "451 4.7.28 192.0.2.1 goes",
        "550 5.7.1",
    ),
    ("mail", {"per": "global"}, "451 4.3.2 global has too much under way", "550 5.7.1"),
    ("rcpt", {"per": "rcpt.address", "count": "recipients"}, "450 4.2.1 p@q.net is receiving too fast", "550 5.7.1"),
    ("rcpt", {"per": "client.ip", "count": "recipients"}, "452 4.5.3 192.0.2.1 has too many recipients", "550 5.7.1"),
    ("data", {"per": "client.ip", "rate": "1 kB/minute"}, "451 4.7.1 192.0.2.1 is sending too fast", "554 5.7.1"),
]


def refused(fields: dict[str, Any], **more: Any) -> Any:
    pace = guard(limit("once", **{"rate": "1/minute"} | fields | more))
    assert pace.check(SENDER)
    return pace.check(SENDER.replace(mail_from="a@c.com" if "distinct" in fields else "a@b.com"))


@pytest.mark.parametrize(("stage", "fields", "deferred", "rejected"), ROWS)
def test_every_row_of_the_table_defers_and_rejects(
    stage: str, fields: dict[str, Any], deferred: str, rejected: str
) -> None:
    later = refused(fields)
    assert later.reply.startswith(deferred)
    assert later.reply.endswith(f"; retry in {math.ceil(later.retry_after)} s")
    never = refused(fields, action="reject")
    code = later.reply.split(" ", 2)[2].split(";")[0]
    assert never.reply == f"{rejected} {code}", "the same complaint, for good and without a wait"
    assert never.retry_after == later.retry_after


@pytest.mark.parametrize(
    ("fields", "deferred", "rejected"),
    [
        ({"count": "connections"}, "421 4.7.0 192.0.2.1 has too many connections open; retry in 1 s", "554 5.7.1"),
        ({}, "451 4.3.2 192.0.2.1 has too much under way; retry in 1 s", "550 5.7.1"),
    ],
)
def test_a_cap_of_ones_own_can_reject(fields: dict[str, Any], deferred: str, rejected: str) -> None:
    for action, reply in (("defer", deferred), ("reject", rejected)):
        pace = guard(Limit(name="open", per="client.ip", in_flight=1, action=action, **fields))
        with pace.admit(SENDER):
            assert (pace.check(SENDER).reply or "").startswith(reply)


def test_a_declared_size_is_rejected_at_mail_and_the_counted_one_behind_the_data() -> None:
    pace = guard(limit("bytes", "client.ip", "1 kB/minute", action="reject"))
    assert pace.check(SENDER, stage="data")
    assert pace.check(SENDER, stage="mail").reply == "550 5.7.1 192.0.2.1 is sending too fast"
    assert pace.check(SENDER, stage="data").reply == "554 5.7.1 192.0.2.1 is sending too fast"
    huge = pace.check(SENDER.replace(size=2000), stage="mail")
    assert (huge.reply, huge.retry_after) == ("552 5.3.4 message too big for 192.0.2.1", math.inf)


@pytest.mark.parametrize(
    ("per", "fields"),
    [
        ("client.ip", {}),
        ("client.net/24/48", {}),
        ("client.host", {}),
        ("client.org", {}),
        ("auth.user", {}),
        ("dkim.org", {}),
        ("sender.org", {"verified": "proven"}),
        (["client.net", "sender.org"], {"verified": "proven"}),
        (["client.ip", "rcpt.address"], {}),
        ("client.ip", {"distinct": "sender.org"}),
        ("client.ip", {"distinct": "rcpt.address", "refuse": "all"}),
    ],
)
def test_what_is_proven_can_be_blocked(per: str | list[str], fields: dict[str, Any]) -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("once", per, "1/second", action="block 1 minute", **fields), clock=clock)
    sender = SENDER
    other = sender.replace(mail_from="a@c.com") if fields.get("distinct") == "sender.org" else sender
    other = other.replace(rcpt_to=["r@q.net"]) if fields.get("distinct") == "rcpt.address" else other
    assert pace.check(sender)
    first = pace.check(other)
    assert (first.allowed, first.limit, first.retry_after) == (False, "once", 60.0)
    clock.advance(30)
    again = pace.check(sender)
    assert (again.allowed, again.limit, again.identity, again.key) == (False, "once", first.identity, first.key)
    assert again.retry_after == 30.0, "a refusal does not extend a block"
    assert "is blocked; retry in 30 s" in (again.reply or "")
    clock.advance(29.999999)
    assert not pace.check(sender)
    clock.advance(0.000001)
    assert pace.check(sender)


@pytest.mark.parametrize(
    ("per", "fields", "allowed"),
    [
        ("sender.org", {}, "which is a mere claim"),
        ("sender.org", {"verified": "any"}, 'or verified = "proven"'),
        ("sender.host", {"verified": "claimed"}, "which is a mere claim"),
        (["client.net", "sender.org"], {}, "per sender.org, which is a mere claim"),
        ("helo.host", {}, "which is a mere claim"),
        ("from.address", {}, "which is a mere claim"),
        ("from.host", {}, "which is a mere claim"),
        (["client.net", "from.org"], {}, "per from.org, which is a mere claim"),
        ("reply_to.address", {"distinct": "sender.org"}, "which is a mere claim"),
        ("reply_to.org", {}, "or dkim.org"),
        ("list.id", {}, "which is a mere claim"),
        ("global", {}, "shut it to everybody"),
        ("rcpt.address", {"count": "recipients"}, "shut it to everybody"),
        ("sender.registered", {"distinct": "sender.host", "settle": "1 hour", "verified": "proven"}, "with `settle`"),
    ],
)
def test_a_block_that_would_be_a_weapon_is_refused_with_the_reason(
    per: str | list[str], fields: dict[str, Any], allowed: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        limit("weapon", per, action="block 10 minutes", **fields)
    error = caught.value
    assert (error.limit, error.field, error.found) == ("weapon", "action", '"block 10 minutes"')
    assert allowed in error.allowed


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({"per": "client.ip", "action": "block 1 hour"}, '"defer" or "reject" with `in_flight`'),
        ({"per": "global", "action": "reject"}, '"defer" with an `in_flight` that many share'),
        (
            {"per": "client.ip", "action": "reject", "share": {"per": "sender.org", "of_free": "1/10"}},
            '"defer" with an `in_flight` that many share',
        ),
    ],
)
def test_what_is_open_blocks_nobody_and_what_is_shared_rejects_nobody(fields: dict[str, Any], allowed: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Limit(name="open", in_flight=9, **fields)
    assert (caught.value.field, caught.value.allowed[: len(allowed)]) == ("action", allowed)


def test_a_claim_is_not_refused_by_the_block_of_the_proven_name() -> None:
    pace = guard(limit("once", "sender.org", "1/minute", verified="proven", action="block 1 hour"))
    proven = SENDER.replace(client_name=None)
    assert [bool(pace.check(proven)) for _ in range(3)] == [True, False, False]
    assert pace.check(proven.replace(spf=None))


def test_a_block_is_told_from_the_stage_on_at_which_its_key_is_known() -> None:
    pace = guard(limit("once", "client.ip", "1/minute", action="block 10 minutes"))
    pace.check(SENDER)
    assert pace.check(SENDER).reply == "451 4.7.1 192.0.2.1 is sending too fast; retry in 600 s"
    told = {stage: pace.check(SENDER, stage=stage).reply for stage in ("connect", "helo", "mail", "rcpt", "data")}
    early, late = "421 4.7.0 192.0.2.1 is blocked; retry in 600 s", "451 4.7.1 192.0.2.1 is blocked; retry in 600 s"
    assert told == {"connect": early, "helo": early, "mail": late, "rcpt": late, "data": late}


def test_the_longer_of_a_wait_and_a_block_is_told_and_every_limit_that_refuses_blocks() -> None:
    clock = ManualClock(REAL)
    pace = guard(
        limit("short", "client.ip", "1/10 seconds", action="block 1 minute"),
        limit("long", "client.net", "1/hour", action="block 2 minutes"),
        limit("plain", "auth.user", "1/10 minutes"),
        clock=clock,
    )
    pace.check(SENDER)
    assert (pace.check(SENDER).limit, pace.check(SENDER).retry_after) == ("long", 3600.0)
    assert [(entry.by, entry.until - REAL) for entry in pace.blocked()] == [("long", 120.0), ("short", 60.0)]
    assert pace.check(Envelope(client_ip="192.0.2.1"), stage="connect").retry_after == 120.0


def test_a_shadow_limit_and_a_peek_block_nobody() -> None:
    quiet = guard(limit("once", "client.ip", "1/minute", action="block 10 minutes", mode="shadow"))
    assert [quiet.check(SENDER).shadow for _ in range(3)] == [(), ("once",), ("once",)]
    assert quiet.blocked() == []
    clock = ManualClock(REAL)
    pace = guard(limit("once", "client.ip", "1/minute", action="block 10 minutes"), clock=clock)
    pace.check(SENDER)
    assert pace.peek(SENDER).retry_after == 600.0
    assert pace.blocked() == []
    clock.advance(60)
    assert pace.check(SENDER)


def test_a_guard_too_small_for_blocks_says_so() -> None:
    with pytest.raises(
        PolicyError,
        match=r"in 131072 bytes \(128 KiB\) of memory; allowed: blocks in at least 262144 bytes \(256 KiB\)",
    ):
        guard(limit("once", "client.ip", action="block 1 minute"), memory="128 KiB")


@pytest.mark.parametrize(
    ("per", "template", "reply"),
    [
        (
            "client.ip",
            "450 4.7.1 {key} exceeds {limit} ({identity}); in {seconds} s",
            "450 4.7.1 192.0.2.1 exceeds once (client.ip); in 60 s",
        ),
        ("sender.org", "451 4.3.0 come back later", "451 4.3.0 come back later"),
        (["client.ip", "sender.org"], "450 4.7.1 {key}{key}", "450 4.7.1 192.0.2.1 + b.com192.0.2.1 + b.com"),
    ],
)
def test_an_operators_own_words_are_told(per: str | list[str], template: str, reply: str) -> None:
    decision = refused({"per": per}, reply=template)
    assert decision.reply == reply
    again = pickle.loads(pickle.dumps(decision))
    assert (again, again.reply) == (decision, reply)


def test_a_rejection_has_words_of_the_operators_too_and_survives_a_pickle() -> None:
    decision = refused({"per": "sender.org"}, action="reject", reply="550 5.7.1 {key}: write to postmaster")
    assert decision.reply == "550 5.7.1 b.com: write to postmaster"
    plain = refused({"per": "sender.org"}, action="reject")
    assert pickle.loads(pickle.dumps(plain)).reply == plain.reply == "550 5.7.1 b.com is sending too fast"


def test_words_that_name_a_wait_are_not_used_where_there_is_none() -> None:
    pace = guard(limit("bytes", "client.ip", "1 kB/minute", reply="450 4.7.1 {key}: in {seconds} s"))
    assert pace.check(SENDER.replace(size=2000)).reply == "552 5.3.4 message too big for 192.0.2.1"
    words = guard(limit("bytes", "client.ip", "1 kB/minute", reply="450 4.7.1 {key}: too much"))
    assert words.check(SENDER.replace(size=2000)).reply == "450 4.7.1 192.0.2.1: too much"


@pytest.mark.parametrize(
    "name", ["\r\n250 ok", "a\x00b", "ü" * 300, "\udc80", "x" * 10_000, "{key}", "{", "%s", "\u2028"]
)
def test_whatever_the_name_holds_own_words_are_one_legal_line(name: str) -> None:
    text = "450 4.7.1 {key} {limit} {identity} {seconds} {key} " + "x" * 200
    pace = guard(limit("u" * 64, "auth.user", "1/day", reply=text))
    envelope = SENDER.replace(auth_user=name)
    assert pace.check(envelope)
    assert is_legal(pace.check(envelope).reply)


def test_a_policy_that_acts_prints_as_one_that_reads_the_same() -> None:
    text = """
[[limit]]
name = "a"
per = "client.ip"
rate = "1/minute"
action = "block 90 minutes"
reply = "450 4.7.1 {key} \\\\ \\"later\\""

[[limit]]
name = "b"
per = "client.net"
in_flight = 3
count = "connections"
action = "reject"
reply = "554 5.7.1 no"
"""
    policy = Policy.parse(text)
    assert Policy.parse(policy.to_toml()) == policy == pickle.loads(pickle.dumps(policy))
    assert 'action = "block 90 minutes"' in policy.to_toml()
    assert [Limit(**rule.fields) for rule in policy.limits] == policy.limits
    assert Throttle(policy).policy == policy


def test_a_name_that_comes_late_is_blocked_under_the_same_key_as_one_that_was_there() -> None:
    clock = ManualClock(REAL)
    pace = guard(
        limit("once", ["client.ip", "client.org"], "1/minute", count="connections", action="block 1 hour"), clock=clock
    )
    told = []
    for _ in range(2):
        with pace.session(client_ip="192.0.2.1") as late:
            assert late.connect()
            late.client_name = "mx.b.com"
            told.append(late.connect())
    first, refused = told
    assert first
    assert (refused.limit, refused.retry_after) == ("once", 3600.0)
    clock.advance(1800)
    with pace.session(client_ip="192.0.2.1", client_name="mx.b.com") as session:
        assert session.connect().retry_after == 1800.0


def test_who_finds_no_room_for_a_block_is_told_the_wait_of_the_limit_itself() -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("once", "client.ip", "1/minute", action="block 1 hour"), clock=clock, memory="256 KiB")
    waits: dict[str, float] = {}
    for number in range(600):
        sender = SENDER.replace(client_ip=f"198.51.{number // 250}.{number % 250}")
        assert pace.check(sender)
        waits[str(sender.client_ip)] = pace.peek(sender).retry_after
        assert pace.check(sender).retry_after == waits[str(sender.client_ip)]
    [blocks] = [row for row in pace.tables() if row.table == "blocks"]
    assert set(waits.values()) == {60.0, 3600.0}
    assert list(waits.values()).count(60.0) == blocks.untracked == 600 - blocks.used
    clock.advance(59.999999)
    unblocked = [SENDER.replace(client_ip=ip) for ip, wait in waits.items() if wait == 60.0]
    assert not any(pace.peek(sender) for sender in unblocked)
    clock.advance(0.000001)
    assert all(pace.check(sender) for sender in unblocked)
