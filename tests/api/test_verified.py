"""Classes: what proves a sender, counters of their own for each, and limits that look at one class only."""

from __future__ import annotations

from typing import Any

import pytest

from given_guards import guard, limit
from throttle import Envelope, Limit, Policy, Throttle

PROVEN = [
    {"spf": "pass"},
    {"spf": "PASS"},
    {"client_name": "mx7.mail.b.com"},
    {"client_name": "b.com", "spf": "neutral"},
    {"client_name": "MX.B.COM.", "spf": None},
]

CLAIMED = [
    {},
    {"spf": "none"},
    {"spf": "\udc80"},
    {"spf": "fail"},
    {"spf": "fail", "client_name": "mx.b.com"},
    {"client_name": "mx.other.com"},
    {"client_name": "unknown"},
    {"client_name": "b.com.other.com"},
    {"client_name": "com"},
    {"helo": "mx.b.com"},
]


def sender(known: dict[str, Any], mail_from: str = "a@x.b.com") -> Envelope:
    return Envelope(client_ip="192.0.2.1", mail_from=mail_from, **known)


@pytest.mark.parametrize(
    ("proves", "known"), [*((True, known) for known in PROVEN), *((False, known) for known in CLAIMED)]
)
def test_a_sender_is_proven_by_spf_or_by_the_name_of_its_client(proves: bool, known: dict[str, Any]) -> None:
    for verified, runs in (("proven", proves), ("claimed", not proves), ("any", True)):
        pace = guard(limit("once", "sender.host", "1/day", verified=verified))
        assert pace.check(sender(known))
        assert bool(pace.check(sender(known))) == (not runs), verified


@pytest.mark.parametrize("mail_from", ["", "a@[192.0.2.1]", "postmaster", b"a@\xff"])
def test_a_tag_is_never_proven(mail_from: Any) -> None:
    pace = guard(limit("once", "sender.org", "1/day", verified="proven"))
    assert [bool(pace.check(sender({"spf": "pass", "client_name": "mx.b.com"}, mail_from))) for _ in range(2)] == [
        True,
        True,
    ]


def test_each_class_has_counters_of_its_own() -> None:
    pace = guard(limit("pace", "sender.org", "2/day"))
    for known in ({"spf": "pass"}, {"spf": "fail"}):
        assert [bool(pace.check(sender(known))) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    "per", [["client.ip", "sender.org"], ["sender.org", "rcpt.host"], ["auth.user", "sender.address"]]
)
def test_a_composite_is_as_weak_as_its_weakest_part(per: list[str]) -> None:
    pace = guard(limit("once", per, "1/day", verified="claimed"))
    claimed = sender({}).replace(rcpt_to="p@q.net", auth_user="joe")
    assert [bool(pace.check(claimed)) for _ in range(2)] == [True, False]
    assert [bool(pace.check(claimed.replace(spf="pass"))) for _ in range(2)] == [True, True]


@pytest.mark.parametrize("per", ["helo.org", "client.net", "dkim.org", "from.org", "rcpt.address", "global"])
def test_a_limit_without_the_sender_in_its_key_looks_at_the_sender_too(per: str) -> None:
    known = {"helo": "mx.b.com", "dkim": "b.com", "header_from": "a@b.com", "rcpt_to": "p@q.net"}
    for verified, counted in (("claimed", {}), ("proven", {"spf": "pass"})):
        if verified == "proven" and per in ("helo.org", "from.org"):
            continue  # such a name is never proven, and the policy says so
        pace = guard(limit("once", per, "1/day", verified=verified))
        other = {"spf": "pass"} if verified == "claimed" else {"spf": "fail"}
        assert [bool(pace.check(sender(known | other))) for _ in range(3)] == [True] * 3
        assert [bool(pace.check(sender(known | counted))) for _ in range(2)] == [True, False]
        assert pace.check(Envelope(client_ip="192.0.2.1", helo="mx.b.com")), "nobody has sent anything yet"


def test_a_fan_out_is_as_weak_as_its_element() -> None:
    pace = guard(limit("fan", "client.ip", "1/day", distinct="sender.org", verified="claimed"))
    claimed = [sender({}, f"a@org{number}.com") for number in range(2)]
    assert [bool(pace.check(envelope.replace(spf="pass"))) for envelope in claimed] == [True, True]
    assert [bool(pace.check(envelope)) for envelope in [sender({}, f"a@new{number}.com") for number in range(2)]] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("spf", "proven"), [("none", True), (" Pass ", True), ("fail ", False), ("Fail\n", False), ("bogus", False)]
)
def test_a_word_that_is_no_verdict_lets_nothing_prove_the_sender(spf: str, proven: bool) -> None:
    counting = Throttle(Policy([Limit(name="host", per="sender.host", rate="1/day", verified="proven")]))
    envelope = Envelope(client_name="mx.b.com", mail_from="a@b.com", spf=spf)
    assert counting.check(envelope)
    assert bool(counting.check(envelope)) is not proven  # only what is proven is counted
