"""`Throttle.reset`: the counters of one value, and nothing else."""

from __future__ import annotations

import pytest

from given_guards import guard, limit
from throttle import Envelope, ManualClock, Throttle

JOE = Envelope(client_ip="192.0.2.1", mail_from="joe@b.com", spf="pass", rcpt_to=["x@y.net"])
CLAIMED = JOE.replace(spf=None)
JIM = Envelope(client_ip="192.0.2.2", mail_from="jim@c.com", spf="pass")


def passes(pace: Throttle, envelope: Envelope = JOE) -> bool:
    return bool(pace.peek(envelope))


@pytest.mark.parametrize("algorithm", ["gcra", "sliding-window"])
def test_a_reset_clears_the_limits_of_exactly_this_identity_and_says_how_many(algorithm: str) -> None:
    pace = guard(
        limit("day", "sender.org", "1/day", algorithm=algorithm),
        limit("hour", "sender.org", "2/hour", algorithm=algorithm),
        limit("other", "sender.host", "9/day", algorithm=algorithm),
    )
    for envelope in (JOE, JIM):
        assert pace.check(envelope)
        assert not passes(pace, envelope)
    assert pace.reset("sender.org", "B.com") == 2
    assert passes(pace)
    assert not passes(pace, JIM), "another value keeps its counts"
    used = {row.limit: row.used for row in pace.explain(JOE).limits}
    assert used == {"day": 0, "hour": 0, "other": 1}
    assert pace.reset("sender.org", "b.com") == 0, "there is nothing left to clear"


def test_a_reset_clears_proven_and_claimed_senders() -> None:
    pace = guard(limit("day", "sender.org", "1/day"))
    assert pace.check(JOE)
    assert pace.check(CLAIMED)
    assert pace.reset("sender.org", "b.com") == 1
    assert passes(pace)
    assert passes(pace, CLAIMED)


def test_a_reset_leaves_keys_of_several_identities() -> None:
    pace = guard(limit("pair", ["client.ip", "sender.org"], "1/day"))
    assert pace.check(JOE)
    assert (pace.reset("sender.org", "b.com"), pace.reset("client.ip", "192.0.2.1")) == (0, 0)
    assert not passes(pace)


def test_a_reset_clears_the_counter_of_a_quota() -> None:
    pace = guard(limit("day", "sender.org", "1/day", quota={"b.com": {"rate": "2/day"}}))
    for _ in range(2):
        assert pace.check(JOE)
    assert not passes(pace)
    assert pace.reset("sender.org", "b.com") == 1
    assert passes(pace)


def test_a_reset_frees_a_fan_out_and_forgets_no_known_element() -> None:
    pace = guard(limit("names", "client.ip", "1/day", distinct="sender.host"))
    assert pace.check(JOE)
    assert not passes(pace, JOE.replace(mail_from="a@d.com"))
    assert pace.reset("client.ip", "192.0.2.1") == 1
    used = {row.limit: (row.used, row.adds) for row in pace.explain(JOE).limits}
    assert used == {"names": (0, 0)}, "b.com is still known, so it adds nothing"
    assert passes(pace, JOE.replace(mail_from="a@d.com"))


def test_a_reset_clears_a_fan_out_that_refuses_all() -> None:
    pace = guard(limit("names", "client.ip", "1/day", distinct="sender.host", refuse="all"))
    assert pace.check(JOE)
    assert not passes(pace, JOE.replace(mail_from="a@d.com"))
    assert pace.reset("client.ip", "192.0.2.1") == 1
    assert passes(pace, JOE.replace(mail_from="a@d.com"))


def test_a_reset_lifts_no_block_and_closes_no_permit() -> None:
    clock = ManualClock(0.0)
    pace = guard(
        limit("day", "client.ip", "1/day", action="block 1 hour"),
        limit("open", "client.ip", "9/day"),
        clock=clock,
    )
    assert pace.check(JOE)
    assert not pace.check(JOE)
    assert pace.reset("client.ip", "192.0.2.1") == 2
    assert [entry.by for entry in pace.blocked()] == ["day"]
    assert not passes(pace)
    assert pace.unblock("client.ip", "192.0.2.1")
    assert passes(pace)


@pytest.mark.parametrize(
    ("identity", "value", "message"),
    [
        ("sender.orgs", "b.com", 'identity: found "sender.orgs"; allowed: one of .*did you mean "sender.org"'),
        ("client.ip", "somewhere", 'value: found "somewhere"; allowed: a value of client.ip'),
        ("sender.org", "mail.b.com", 'value: found "mail.b.com"; allowed: "b.com", the sender.org that it has'),
    ],
)
def test_what_is_no_value_is_told(identity: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        guard(limit("day", "sender.org", "1/day")).reset(identity, value)
