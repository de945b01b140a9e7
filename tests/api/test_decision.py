"""`Decision`: a value that is true when allowed, says all about a refusal, and outlives its guard."""

from __future__ import annotations

import math
import pickle

import pytest

from given_guards import REAL, guard, limit
from throttle import Decision, Envelope, ManualClock

SENDER = Envelope(
    client_ip="192.0.2.1", mail_from="Joe+tag@Mail.B.com", rcpt_to=["p@q.net", "P@q.net", "r@q.net"], auth_user="Joe"
)

PAIR = limit("pair-pace", ["client.net/24/48", "sender.org"], "1/minute")

TOLD = ("limit", "identity", "key", "reply", "code", "enhanced_code", "text", "stage")


def refused() -> Decision:
    pace = guard(PAIR)
    assert pace.check(SENDER)
    return pace.check(SENDER)


def test_what_is_allowed_is_true_and_says_nothing() -> None:
    decision = guard(PAIR).check(SENDER)
    assert decision.allowed is True
    assert bool(decision) is True
    assert [getattr(decision, name) for name in TOLD] == [None] * len(TOLD)
    assert decision.retry_after == 0.0
    assert repr(decision) == "Decision(allowed)"


def test_what_is_refused_is_false_and_says_which_whom_and_until_when() -> None:
    decision = refused()
    assert decision.allowed is False
    assert bool(decision) is False
    assert decision.limit == "pair-pace"
    assert decision.identity == "client.net/24/48 + sender.org"
    assert decision.key == "192.0.2.0/24 + b.com"
    assert decision.retry_after == 60.0
    assert decision.reply == "451 4.7.1 192.0.2.0/24 + b.com is sending too fast; retry in 60 s"
    assert repr(decision) == (
        'Decision(refused by "pair-pace" for client.net/24/48 + sender.org "192.0.2.0/24 + b.com", retry_after=60.0)'
    )


def test_of_several_refusals_the_longest_wait_is_told_and_of_equals_the_first() -> None:
    rates = {"first": "1/minute", "second": "1/hour", "third": "1/hour"}
    pace = guard(*(limit(name, "sender.org", rate) for name, rate in rates.items()))
    assert pace.check(SENDER)
    decision = pace.check(SENDER)
    assert (decision.limit, decision.retry_after) == ("second", 3600.0)


def test_what_can_never_pass_waits_for_ever() -> None:
    decision = guard(limit("crowd", "client.ip", "1/minute", count="recipients")).check(SENDER)
    assert decision.retry_after == math.inf
    assert decision.limit == "crowd"


def test_identities_are_what_it_was_made_on() -> None:
    identities = refused().identities
    assert identities == {
        "client.ip": "192.0.2.1",
        "client.net": "192.0.2.0/24",
        "client.net/24/48": "192.0.2.0/24",
        "auth.user": "joe",
        "sender.address": "joe@mail.b.com",
        "sender.host": "mail.b.com",
        "sender.org": "b.com",
        "sender.registered": "b.com",
        "rcpt.address": ("p@q.net", "r@q.net"),
        "rcpt.host": ("q.net",),
        "global": "global",
    }


def test_identities_are_a_copy() -> None:
    detached = pickle.loads(pickle.dumps(refused()))
    for decision in (refused(), detached):
        decision.identities.clear()
        assert decision.identities["sender.org"] == "b.com"


def test_equal_answers_about_equal_envelopes_are_equal() -> None:
    assert refused() == refused()
    assert refused() != guard(PAIR).check(SENDER)
    assert guard(PAIR).check(SENDER) == guard(PAIR).check(SENDER)
    assert guard(PAIR).check(SENDER) != guard(PAIR).check(SENDER.replace(mail_from=""))
    assert refused() != "refused"


@pytest.mark.parametrize("allowed", [True, False])
def test_it_pickles_detached(allowed: bool) -> None:
    decision = guard(PAIR).check(SENDER) if allowed else refused()
    detached = pickle.loads(pickle.dumps(decision))
    assert detached == decision
    assert repr(detached) == repr(decision)
    names = (*TOLD, "allowed", "retry_after", "identities")
    assert [getattr(detached, name) for name in names] == [getattr(decision, name) for name in names]
    assert pickle.loads(pickle.dumps(detached)) == decision


def test_a_wait_for_ever_survives_the_pickle() -> None:
    decision = guard(limit("crowd", "client.ip", "1/minute", count="recipients")).check(SENDER)
    assert pickle.loads(pickle.dumps(decision)).retry_after == math.inf


def test_equal_decisions_have_equal_hashes() -> None:
    once, again, detached = refused(), refused(), pickle.loads(pickle.dumps(refused()))
    assert hash(once) == hash(again) == hash(detached)
    assert len({once, again, detached, guard(PAIR).check(SENDER), guard(PAIR).check(SENDER)}) == 2


def test_the_reply_comes_in_parts_as_a_milter_takes_them() -> None:
    decision = refused()
    assert (decision.code, decision.enhanced_code) == (451, "4.7.1")
    assert decision.text == "192.0.2.0/24 + b.com is sending too fast; retry in 60 s"
    assert f"{decision.code} {decision.enhanced_code} {decision.text}" == decision.reply


def test_an_operators_own_reply_comes_in_parts_too() -> None:
    pace = guard(limit("own", "sender.org", "1/day", reply="450 4.7.1 {key} is too fast"))
    pace.check(SENDER)
    decision = pace.check(SENDER)
    assert (decision.code, decision.enhanced_code, decision.text) == (450, "4.7.1", "b.com is too fast")


@pytest.mark.parametrize(
    ("per", "fields", "stage"),
    [
        ("client.ip", {"count": "connections"}, "connect"),
        ("helo.host", {"count": "connections"}, "helo"),
        ("sender.org", {}, "mail"),
        ("rcpt.address", {"count": "recipients"}, "rcpt"),
        ("from.org", {}, "data"),
    ],
)
def test_a_refusal_has_the_stage_of_its_limit(per: str, fields: dict[str, str], stage: str) -> None:
    pace = guard(limit("once", per, "1/day", **fields))
    envelope = SENDER.replace(helo="mx.b.com", header_from="a@b.com")
    assert pace.check(envelope).stage is None
    assert (pace.check(envelope).stage, pace.explain(envelope).stage) == (stage, stage)


def test_a_declared_size_is_refused_at_mail_and_a_block_where_its_value_is_known() -> None:
    pace = guard(limit("size", "sender.org", "1 kB/day"))
    big = SENDER.replace(size=5_000)
    assert (pace.check(big, stage="mail").stage, pace.check(big).stage) == ("mail", "data")
    pace.block("sender.org", "b.com")
    assert pace.check(SENDER).stage == "mail"
    pace.block("client.ip", "192.0.2.1")
    assert pace.check(SENDER).stage == "connect"


def test_the_steps_of_a_session_have_the_stage_of_their_refusal() -> None:
    with guard(limit("once", "rcpt.address", "1/day", count="recipients")).session(client_ip="192.0.2.1") as session:
        assert session.rcpt("x@y.net").stage == "rcpt", "out of order"
        assert session.data().stage == "data", "out of order"
        assert session.mail("a@b.com")
        assert session.rcpt("x@y.net")
        assert session.mail("a@b.com")
        assert session.rcpt("x@y.net").stage == "rcpt"


def test_it_is_frozen_and_nobody_makes_one() -> None:
    with pytest.raises(AttributeError):
        refused().allowed = True  # type: ignore[misc]
    with pytest.raises(TypeError, match="cannot create"):
        Decision()


def test_a_wait_is_told_in_seconds_to_the_microsecond_and_in_the_reply_rounded_up() -> None:
    clock = ManualClock(REAL)
    pace = guard(PAIR, clock=clock)
    assert pace.check(SENDER)
    clock.advance(0.25)
    decision = pace.check(SENDER)
    assert decision.retry_after == 59.75
    assert str(decision.reply).endswith("retry in 60 s")
