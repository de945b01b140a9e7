"""`Decision`: a value that is true when allowed, says all about a refusal, and outlives its guard."""

from __future__ import annotations

import math
import pickle

import pytest

from given_guards import REAL, guard, limit
from throttle import Decision, Envelope, ManualClock, RateLimiter

SENDER = Envelope(
    client_ip="192.0.2.1", mail_from="Joe+tag@Mail.B.com", rcpt_to=["p@q.net", "P@q.net", "r@q.net"], auth_user="Joe"
)

PAIR = limit("pair-pace", ["client.net/24/48", "sender.org"], "1/minute")

TOLD = ("limit", "identity", "key", "reply")


def refused() -> Decision:
    pace = guard(PAIR)
    assert pace.check(SENDER)
    return pace.check(SENDER)


def test_what_is_allowed_is_true_and_says_nothing() -> None:
    decision = guard(PAIR).check(SENDER)
    assert decision.allowed is True
    assert bool(decision) is True
    assert [getattr(decision, name) for name in TOLD] == [None, None, None, None]
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
    decision = RateLimiter("1/minute").hit("a", 2)
    assert pickle.loads(pickle.dumps(decision)).retry_after == math.inf


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
