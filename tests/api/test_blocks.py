"""What operators say: `block`, `allow`, `unblock`, `blocked`; and what is listed of the blocks of limits."""

from __future__ import annotations

import math
import os
import pickle
import re
from typing import Any

import pytest

from given_guards import REAL, guard, is_sound, limit
from throttle import Blocked, Envelope, Limit, ManualClock, PolicyError, Throttle, ThrottleError
from throttle.types import CoveringEntry

SENDER = Envelope(
    client_ip="203.0.113.9",
    client_name="mx.um8.salesforce.com",
    helo="mx.um8.salesforce.com",
    mail_from="bounce-817+x@q3.um8.bnc.salesforce.com",
    rcpt_to=["p@q.net", "r@s.net"],
    auth_user="Joe",
    header_from=["News+x@Mail.um8.salesforce.com", "b@other.net"],
    reply_to=["desk@help.alice.github.io", "c@other.net"],
    list_id="News <News.Salesforce.com>",
    dkim=["um8.salesforce.com", "other.net"],
)

FORGED = SENDER.replace(client_name=None)


def plenty(clock: Any = None, **fields: Any) -> Throttle:
    return guard(limit("plenty", "client.ip", "1000000/minute"), clock=clock, **fields)


@pytest.mark.parametrize(
    ("identity", "value", "key"),
    [
        ("client.ip", "203.0.113.9", "203.0.113.9"),
        ("client.ip", "::ffff:203.0.113.9", "203.0.113.9"),
        ("client.ip", "203.0.113.0/24", "203.0.113.0/24"),
        ("client.net", "203.0.113.0/24", "203.0.113.0/24"),
        ("client.net", "203.0.112.0/20", "203.0.112.0/20"),
        ("client.net", "203.0.113.8/31", "203.0.113.8/31"),
        ("client.net", "::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("client.net/24/48", "203.0.113.0/24", "203.0.113.0/24"),
        ("client.host", "UM8.salesforce.com.", "um8.salesforce.com"),
        ("client.org", "salesforce.com", "salesforce.com"),
        ("helo.host", "mx.um8.Salesforce.com", "mx.um8.salesforce.com"),
        ("helo.org", "salesforce.com", "salesforce.com"),
        ("auth.user", "JOE", "joe"),
        ("sender.address", "Bounce-817@q3.um8.bnc.salesforce.com", "bounce-817@q3.um8.bnc.salesforce.com"),
        ("sender.host", "q3.um8.bnc.salesforce.com", "q3.um8.bnc.salesforce.com"),
        ("sender.host", "salesforce.com", "salesforce.com"),
        ("sender.org", "\uff33alesforce\u3002com", "salesforce.com"),
        ("sender.org+1", "bnc.salesforce.com", "bnc.salesforce.com"),
        ("sender.registered", "salesforce.com", "salesforce.com"),
        ("rcpt.address", "R+tag@S.net", "r@s.net"),
        ("rcpt.host", "s.net", "s.net"),
        ("from.address", "news@mail.um8.salesforce.com", "news@mail.um8.salesforce.com"),
        ("from.address", "B@other.net", "b@other.net"),
        ("from.host", "UM8.salesforce.com", "um8.salesforce.com"),
        ("from.host", "other.net", "other.net"),
        ("from.org", "salesforce.com", "salesforce.com"),
        ("reply_to.address", "Desk+x@help.alice.github.io", "desk@help.alice.github.io"),
        ("reply_to.org", "alice.github.io", "alice.github.io"),
        ("reply_to.org", "Other.net.", "other.net"),
        ("list.id", "news.salesforce.com", "news.salesforce.com"),
        ("dkim.org", "\uff33alesforce.com", "salesforce.com"),
        ("dkim.org", "other.net", "other.net"),
    ],
)
def test_a_block_covers_what_lies_below_it_however_it_is_spelt(identity: str, value: str, key: str) -> None:
    pace = plenty()
    pace.block(identity, value)
    for sender in (SENDER, FORGED) if not identity.startswith(("client.host", "client.org")) else (SENDER,):
        decision = pace.check(sender)
        assert (decision.limit, decision.identity, decision.key) == ("blocked", identity, key)
        assert decision.retry_after == math.inf
        assert is_sound(decision)
        assert pace.peek(sender) == decision
    assert [(entry.identity, entry.value) for entry in pace.blocked()] == [(identity, key)]
    assert pace.unblock(identity, value)
    assert not pace.unblock(identity, value)
    assert pace.check(SENDER)


@pytest.mark.parametrize(
    ("identity", "value", "other"),
    [
        ("client.net", "203.0.113.0/24", {"client_ip": "203.0.112.9"}),
        ("client.net", "2001:db8::/32", {"client_ip": "2001:db9::1"}),
        ("client.ip", "203.0.113.9", {"client_ip": "203.0.113.90"}),
        ("sender.host", "um8.bnc.salesforce.com", {"mail_from": "a@um9.bnc.salesforce.com"}),
        ("sender.org", "salesforce.com", {"mail_from": "a@notsalesforce.com"}),
        ("sender.org", "salesforce.com", {"mail_from": "a@salesforce.com.evil.net"}),
        ("sender.org", "alice.github.io", {"mail_from": "a@bob.github.io"}),
        ("helo.host", "um8.salesforce.com", {"helo": "mx.um9.salesforce.com"}),
        ("sender.address", "joe@salesforce.com", {"mail_from": "joe@um8.salesforce.com"}),
        ("sender.org", "NULL", {"mail_from": "null@null.com"}),
        ("client.ip", "UNKNOWN", {"client_ip": "203.0.113.9"}),
        ("from.org", "salesforce.com", {"header_from": ["a@notsalesforce.com"]}),
        ("from.address", "news@salesforce.com", {"header_from": ["news@um8.salesforce.com"]}),
        ("reply_to.org", "alice.github.io", {"reply_to": ["a@bob.github.io"]}),
        ("reply_to.address", "desk@help.alice.github.io", {"reply_to": []}),
        ("dkim.org", "salesforce.com", {"dkim": ["notsalesforce.com"]}),
        ("list.id", "news.salesforce.com", {"list_id": "salesforce.com"}),
        ("from.org", "NULL", {"header_from": ["null@null.com"]}),
    ],
)
def test_a_block_touches_nothing_beside_it(identity: str, value: str, other: dict[str, Any]) -> None:
    pace = plenty()
    pace.block(identity, value)
    assert pace.check(SENDER.replace(**other))


def test_a_name_that_is_none_can_be_blocked_by_its_tag() -> None:
    pace = plenty()
    pace.block("sender.org", "NULL")
    pace.block("sender.registered", "LITERAL")
    pace.block("client.net", "UNKNOWN")
    told = [
        pace.check(SENDER.replace(**other)).key
        for other in ({"mail_from": "<>"}, {"mail_from": "a@[192.0.2.1]"}, {"client_ip": None})
    ]
    assert told == ["NULL", "LITERAL", "UNKNOWN"]
    assert pace.check(SENDER)


def test_a_malformed_host_is_blocked_with_the_domain_that_it_lies_below() -> None:
    pace = plenty()
    pace.block("sender.org", "salesforce.com")
    assert not pace.check(SENDER.replace(mail_from=b"a@x\xff\xfe..um8.salesforce.com"))


@pytest.mark.parametrize(
    ("identity", "value", "field", "allowed"),
    [
        ("sender.org", "com", "value", "too broad"),
        ("sender.host", "co.uk", "value", "too broad"),
        ("sender.org", "github.io", "value", "too broad"),
        ("from.org", "github.io", "value", "too broad"),
        ("from.host", "co.uk", "value", "too broad"),
        ("reply_to.org", "com", "value", "too broad"),
        ("dkim.org", "co.uk", "value", "too broad"),
        ("dkim.org", "um8.salesforce.com", "value", '"salesforce.com", the dkim.org that it has'),
        ("reply_to.address", "nobody", "value", "a value of reply_to.address"),
        ("list.id", "", "value", "a value of list.id"),
        ("sender.registered", "co.uk", "value", "too broad"),
        ("client.host", "COM.", "value", "too broad"),
        ("client.net", "0.0.0.0/0", "value", "too broad"),
        ("client.net", "10.0.0.0/7", "value", "too broad"),
        ("client.net", "2000::/3", "value", "too broad"),
        ("client.net", "203.0.113.9/24", "value", '"203.0.113.0/24", the client.net that it has'),
        ("client.net", "203.0.113.9", "value", '"203.0.113.0/24", the client.net that it has'),
        ("client.ip", "203.0.113.0/33", "value", "a value of client.ip"),
        ("client.ip", "203.0.113.0/", "value", "a value of client.ip"),
        ("client.ip", "somewhere", "value", "a value of client.ip"),
        ("sender.org", "um8.salesforce.com", "value", '"salesforce.com", the sender.org that it has'),
        ("sender.host", "a@salesforce.com", "value", "a value of sender.host"),
        ("sender.host", "*.salesforce.com", "value", "covers every host below"),
        ("sender.host", "192.0.2.1", "value", "a value of sender.host"),
        ("sender.host", "", "value", "a value of sender.host"),
        ("sender.address", "y" * 200 + "@" + "z" * 60 + ".com", "value", "at most 232 octets"),
        ("global", "global", "identity", "one of client.*"),
        ("sender.orgs", "a.com", "identity", "one of client.ip"),
    ],
)
def test_what_covers_nothing_or_too_much_is_told(identity: str, value: str, field: str, allowed: str) -> None:
    pace = plenty()
    for say in (pace.block, pace.allow):
        if say == pace.allow and identity.startswith("rcpt"):
            continue
        with pytest.raises(ValueError, match=f"^{field}: found .*; allowed: .*{re.escape(allowed)}") as caught:
            say(identity, value)
        assert not isinstance(caught.value, PolicyError), "no policy is wrong"
    assert pace.blocked() == []
    assert pace.check(SENDER)


def test_a_registered_domain_of_many_owners_can_be_blocked_as_such() -> None:
    pace = plenty()
    pace.block("sender.registered", "github.io")
    assert not pace.check(SENDER.replace(mail_from="a@alice.github.io"))


def test_a_single_label_that_is_no_suffix_is_a_host_like_others() -> None:
    pace = plenty()
    pace.block("helo.host", "ylmf-pc")
    assert pace.check(SENDER.replace(helo="YLMF-PC"), stage="helo").key == "ylmf-pc"


@pytest.mark.parametrize("seconds", [0, -1, math.nan, 366 * 86_400 + 1])
def test_a_time_that_is_none_is_told(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"seconds: found .*; allowed: more than 0"):
        plenty().block("client.ip", "203.0.113.9", seconds=seconds)


def test_a_block_ends_to_the_microsecond_and_the_last_word_counts() -> None:
    clock = ManualClock(REAL)
    pace = plenty(clock)
    pace.block("client.ip", "203.0.113.9")
    pace.block("client.ip", "203.0.113.9", seconds=1.5)
    assert pace.check(SENDER).retry_after == 1.5
    clock.advance(1.499999)
    assert pace.check(SENDER).reply == "421 4.7.0 203.0.113.9 is blocked; retry in 1 s"
    clock.advance(0.000001)
    assert pace.check(SENDER)
    assert pace.blocked() == []
    assert not pace.unblock("client.ip", "203.0.113.9")
    pace.block("client.ip", "203.0.113.9", seconds=math.inf)
    assert pace.check(SENDER).retry_after == math.inf
    pace.allow("client.ip", "203.0.113.9")
    assert pace.check(SENDER)
    pace.block("client.ip", "203.0.113.9")
    assert not pace.check(SENDER)


@pytest.mark.parametrize(
    ("identity", "value", "stage", "for_a_while", "for_good"),
    [
        ("client.ip", "203.0.113.9", "connect", "421 4.7.0", "554 5.7.1"),
        ("client.ip", "203.0.113.9", "helo", "421 4.7.0", "550 5.7.1"),
        ("client.ip", "203.0.113.9", "mail", "451 4.7.1", "550 5.7.1"),
        ("client.ip", "203.0.113.9", "rcpt", "451 4.7.1", "550 5.7.1"),
        ("client.ip", "203.0.113.9", "data", "451 4.7.1", "554 5.7.1"),
        ("helo.org", "salesforce.com", "helo", "421 4.7.0", "550 5.7.1"),
        ("sender.org", "salesforce.com", "mail", "451 4.7.1", "550 5.7.1"),
        ("rcpt.address", "r@s.net", "rcpt", "450 4.2.1", "550 5.7.1"),
        ("reply_to.org", "other.net", "data", "451 4.7.1", "554 5.7.1"),
        ("dkim.org", "other.net", "data", "451 4.7.1", "554 5.7.1"),
    ],
)
def test_it_is_answered_by_stage(identity: str, value: str, stage: Any, for_a_while: str, for_good: str) -> None:
    pace = plenty()
    pace.block(identity, value, seconds=11.2)
    assert pace.check(SENDER, stage=stage).reply == f"{for_a_while} {value} is blocked; retry in 12 s"
    pace.block(identity, value)
    assert pace.check(SENDER, stage=stage).reply == f"{for_good} {value} is blocked"


def test_a_name_is_not_looked_at_before_the_stage_at_which_it_is_known() -> None:
    pace = plenty()
    pace.block("sender.org", "salesforce.com")
    assert [bool(pace.check(SENDER, stage=stage)) for stage in ("connect", "helo", "mail", "rcpt")] == [
        True,
        True,
        False,
        False,
    ]


def test_what_can_be_claimed_is_let_through_when_it_is_proven_only() -> None:
    pace = guard(limit("once", "client.ip", "1/hour"))
    assert pace.check(SENDER)
    pace.allow("sender.org", "salesforce.com")
    proven = SENDER.replace(spf="pass")
    senders = (proven, FORGED, SENDER.replace(spf="fail"), FORGED.replace(spf="pass"))
    assert [bool(pace.check(sender)) for sender in senders] == [True, False, False, True]
    assert not pace.check(SENDER), "the name of a client alone allows nothing: it may be a customer's"
    pace.allow("sender.org", "salesforce.com", unverified=True)
    assert pace.check(FORGED)
    [entry] = pace.allowed()
    assert (entry.action, entry.unverified, entry.by, entry.until) == ("allow", True, "operator", math.inf)


@pytest.mark.parametrize(
    ("identity", "value"),
    [
        ("helo.host", "mx.um8.salesforce.com"),
        ("sender.org", "NULL"),
        ("sender.registered", "UNLISTED"),
        ("from.address", "news@mail.um8.salesforce.com"),
        ("from.host", "salesforce.com"),
        ("from.org", "salesforce.com"),
        ("reply_to.address", "c@other.net"),
        ("reply_to.org", "other.net"),
        ("list.id", "news.salesforce.com"),
    ],
)
def test_what_nobody_can_prove_needs_to_be_let_through_unverified(identity: str, value: str) -> None:
    pace = guard(limit("once", "client.ip", "1/hour"))
    pace.check(SENDER)
    with pytest.raises(ValueError, match="unverified=True: nobody ever proves this"):
        pace.allow(identity, value)
    assert not pace.check(SENDER)
    pace.allow(identity, value, unverified=True)
    assert bool(pace.check(SENDER)) == (value not in ("NULL", "UNLISTED"))


def test_a_signature_that_was_verified_is_proven() -> None:
    pace = guard(limit("once", "client.ip", "1/hour"))
    pace.check(FORGED)
    pace.allow("dkim.org", "salesforce.com")
    assert pace.check(FORGED)
    assert not pace.check(FORGED.replace(dkim=[]))
    assert not pace.check(FORGED, stage="mail")


def test_what_stands_in_a_header_is_looked_at_only_when_it_has_come() -> None:
    pace = plenty()
    for identity in ("from.org", "reply_to.org", "dkim.org"):
        pace.block(identity, "other.net")
    assert [bool(pace.check(SENDER, stage=stage)) for stage in ("mail", "rcpt", "data")] == [True, True, False]
    assert pace.check(SENDER, stage=("mail", "data")).limit == "blocked"


def test_a_mailbox_lets_nobody_through() -> None:
    with pytest.raises(ValueError, match="one mailbox among the recipients"):
        plenty().allow("rcpt.address", "abuse@q.net", unverified=True)


def test_who_is_let_through_is_refused_by_nothing_but_what_is_open_and_charged_for_nothing() -> None:
    pace = guard(
        limit("once", "client.ip", "1/hour"),
        limit("fan", "client.net", "1/hour", distinct="sender.host"),
        limit("spread", "client.net", "1/hour", distinct="sender.host", refuse="all"),
        limit("size", "client.ip", "1 kB/hour"),
        limit("shut", "client.ip", "1/hour", action="block 1 hour"),
        Limit(name="open", per="client.ip", in_flight=1),
    )
    pace.allow("client.net", "203.0.113.0/24")
    many = [SENDER.replace(mail_from=f"a@h{number}.b{number}.com", size=5_000) for number in range(20)]
    assert all(pace.check(message) for message in many)
    pace.block("client.ip", "203.0.113.9")
    assert {pace.check(message).limit for message in many} == {"blocked"}, "an operator's block is above it"
    assert pace.unblock("client.ip", "203.0.113.9")
    assert all(pace.check(message) for message in many)
    with pace.admit(many[0]) as first, pace.admit(many[1]) as second:
        assert (first.decision.allowed, second.decision.limit) == (True, "open")
    assert pace.unblock("client.net", "203.0.113.0/24")
    small = many[0].replace(size=1_000)
    assert pace.check(small), "nothing was charged meanwhile"
    assert not pace.check(small)


def test_the_blocks_of_limits_are_listed_with_the_names_that_are_known_and_can_be_lifted() -> None:
    clock = ManualClock(REAL)
    pace = guard(
        limit("net", "client.net/24/48", "1/hour", action="block 10 minutes"),
        limit("pair", ["client.net", "auth.user"], "1/hour", action="block 5 minutes"),
        clock=clock,
    )
    pace.check(SENDER)
    pace.check(SENDER)
    assert pace.blocked() == [
        Blocked("client.net/24/48", "203.0.113.0/24", REAL + 600, "net", "block", False),
        Blocked("client.net + auth.user", None, REAL + 300, "pair", "block", False),
    ]
    [blocks] = [table for table in pace.tables() if table.table == "blocks"]
    assert (blocks.used, blocks.untracked) == (2, 0)
    assert not pace.unblock("client.net/24/48", "198.51.100.0/24")
    assert pace.unblock("client.net/24/48", "203.0.113.0/24")
    assert not pace.unblock("client.net + auth.user", "203.0.113.0/24 + jim")
    assert pace.unblock("client.net + auth.user", "203.0.113.0/24 + JOE")
    assert pace.blocked() == []
    with pytest.raises(ValueError, match="those of a limit that blocks"):
        pace.unblock("client.ip + auth.user", "203.0.113.9 + joe")


def block_many(pace: Throttle) -> None:
    for number in range(1, 2000):
        pace.block("client.ip", f"10.0.{number // 256}.{number % 256}")


def test_a_full_list_is_an_error_until_an_entry_has_ended() -> None:
    clock = ManualClock(REAL)
    pace = plenty(clock, memory="256 KiB")
    pace.block("client.ip", "10.0.0.0", seconds=60)
    with pytest.raises(ThrottleError, match=r"all \d+ entries are taken") as caught:
        block_many(pace)
    assert not isinstance(caught.value, PolicyError)
    most = len(pace.blocked())
    pace.block("client.ip", "10.0.0.1", seconds=5)
    clock.advance(60)
    pace.block("client.ip", "10.9.9.9")
    assert len(pace.blocked()) == most - 1
    with pytest.raises(ThrottleError, match="too little memory"):
        plenty(memory="128 KiB").block("client.ip", "10.0.0.0")


def test_an_entry_equals_its_pickle_and_shows_what_it_says() -> None:
    pace = plenty()
    pace.block("sender.org", "salesforce.com", seconds=60)
    [entry] = pace.blocked()
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert repr(entry) == f"Blocked(block 'sender.org' 'salesforce.com', until={REAL + 60}, by='operator')".replace(
        "'", '"'
    )


def test_any_time_is_told_by_the_clock_that_is_read() -> None:
    clock = ManualClock(REAL)
    pace = plenty(clock)
    pace.block("client.ip", "203.0.113.9", seconds=60)
    pace.check(SENDER)
    clock.advance(-3600)
    assert pace.check(SENDER).retry_after == 60.0
    assert pace.blocked()[0].until == REAL - 3600 + 60


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a child of a fork")
def test_a_child_has_what_its_parent_had() -> None:
    pace = plenty()
    pace.block("client.ip", "203.0.113.9")
    child = os.fork()
    if child == 0:
        os._exit(0 if not pace.check(SENDER) and pace.unblock("client.ip", "203.0.113.9") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not pace.check(SENDER), "and what it takes back is its own"


def test_what_covers_a_message_is_explained_with_it() -> None:
    pace = guard(limit("once", ["client.ip", "auth.user"], "1/minute", action="block 1 hour"))
    assert pace.explain(SENDER).covering == ()
    pace.check(SENDER)
    assert not pace.check(SENDER)
    pace.block("from.org", "salesforce.com", seconds=60)
    pace.allow("sender.org", "salesforce.com")
    pace.block("client.net", "198.51.100.0/24")
    allowance = CoveringEntry("allow", "sender.org", "salesforce.com", "operator", unverified=False, seconds=math.inf)
    author = CoveringEntry("block", "from.org", "salesforce.com", "operator", unverified=False, seconds=60.0)
    by_limit = CoveringEntry(
        "block", "client.ip + auth.user", "203.0.113.9 + joe", "once", unverified=False, seconds=3600.0
    )
    proven = SENDER.replace(spf="pass")
    told = pace.explain(proven)
    assert told.covering == (allowance, author, by_limit)
    assert str(allowance) == "sender.org salesforce.com is allowed by operator for good."
    assert str(author) in str(told).splitlines()
    assert (told.allowed, told.limit) == (False, "blocked"), "the operator's block is above what he allows"
    assert pace.check(proven).retry_after == 60, "the block of the limit lasts an hour, and is none for what is allowed"
    forged = pace.explain(FORGED)
    assert forged.covering == (author, by_limit), "an allowance of what is proven is none here"
    assert (forged.allowed, forged.limit) == (False, "once")
    assert pace.check(FORGED).limit == "once"
    early = pace.explain(FORGED, stage="connect")
    assert (early.covering, early.allowed) == ((), True)
    pace.unblock("from.org", "salesforce.com")
    told = pace.explain(proven)
    assert (told.covering, told.allowed) == ((allowance, by_limit), True)
    assert pace.check(proven)


def test_blocks_and_allowances_are_listed_apart() -> None:
    pace = guard(limit("once", "client.ip", "1/day", action="block 1 hour"))
    pace.allow("sender.org", "b.com", seconds=60)
    pace.block("client.net", "198.51.100.0/24", seconds=120)
    pace.check(FORGED)
    pace.check(FORGED)
    assert [(entry.action, entry.value, entry.until - REAL) for entry in pace.allowed()] == [("allow", "b.com", 60.0)]
    assert [(entry.action, entry.value, entry.by) for entry in pace.blocked()] == [
        ("block", "198.51.100.0/24", "operator"),
        ("block", "203.0.113.9", "once"),
    ]
    assert pace.unblock("sender.org", "b.com")
    assert pace.allowed() == []


def test_a_time_is_named_and_of_the_right_type() -> None:
    pace: Any = plenty()
    for say in (pace.block, pace.allow):
        with pytest.raises(TypeError, match="positional"):
            say("client.ip", "203.0.113.9", 60)
        with pytest.raises(TypeError):
            say("client.ip", "203.0.113.9", seconds="60")
    assert pace.blocked() == pace.allowed() == []


def test_an_entry_after_an_idle_hour_and_a_step_back_of_the_clock_ends_after_its_seconds() -> None:
    clock = ManualClock(REAL)
    pace = plenty(clock=clock)
    assert pace.check(SENDER)
    clock.advance(3600)
    pace.block("client.ip", "203.0.113.9", seconds=600)
    clock.advance(-1800)
    assert not pace.check(SENDER)
    clock.advance(599)
    assert not pace.check(SENDER)
    clock.advance(1)
    assert pace.check(SENDER)
