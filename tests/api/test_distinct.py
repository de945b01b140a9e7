"""`refuse = "all"`: how many different things may come under an identity, and what a whole check says of it."""

from __future__ import annotations

from typing import Any

import pytest

from given_guards import REAL, guard
from throttle import Envelope, Limit


def limit(per: str | list[str] = "auth.user", distinct: str = "rcpt.address", **fields: Any) -> Limit:
    return Limit(**{"name": "all", "per": per, "distinct": distinct, "rate": "3/hour", "refuse": "all"} | fields)


def message(*recipients: str, user: str = "alice", ip: str = "192.0.2.1", sender: str = "a@b.org") -> Envelope:
    return Envelope(client_ip=ip, auth_user=user, mail_from=sender, rcpt_to=list(recipients))


def test_what_was_seen_is_free_until_the_bucket_is_full_and_then_refused_too() -> None:
    pace = guard(limit())
    assert all(pace.check(message(f"{name}@x.net")) for name in "ababab")
    assert pace.check(message("c@x.net"))
    for name in "abcd":
        decision = pace.check(message(f"{name}@x.net"))
        assert not decision
        assert (decision.limit, decision.identity, decision.key) == ("all", "auth.user", "alice")
        assert decision.retry_after == 1200.0
    assert pace.check(message("d@x.net", user="bob"))
    assert pace.check(message("d@x.net"), now=REAL + 1200)


def test_several_elements_of_a_message_are_all_or_nothing_and_duplicates_count_once() -> None:
    pace = guard(limit())
    assert not pace.check(message("a@x.net", "b@x.net", "c@x.net", "d@x.net"))
    assert pace.check(message("a@x.net", "A@X.net", "a+tag@x.net", "b@x.net"))
    assert not pace.check(message("c@x.net", "d@x.net"))
    assert pace.check(message("c@x.net"))


def test_more_elements_than_fit_at_once_never_pass() -> None:
    pace = guard(limit(burst=2))
    decision = pace.check(message("a@x.net", "b@x.net", "c@x.net"))
    assert decision.retry_after == float("inf")


def test_a_composite_and_classes_have_sets_of_their_own() -> None:
    pace = guard(limit(["auth.user", "sender.org"], "client.net"))
    for number in range(3):
        assert pace.check(message("a@x.net", ip=f"192.0.{number}.1"))
    assert not pace.check(message("a@x.net", ip="192.0.9.1"))
    assert pace.check(message("a@x.net", ip="192.0.9.1", sender="a@c.org"))
    proven = message("a@x.net", ip="192.0.9.1").replace(spf="pass")
    assert pace.check(proven)


def test_recipients_may_be_the_key() -> None:
    pace = guard(limit("rcpt.address", "client.net"))
    for number in range(3):
        assert pace.check(message("a@x.net", "b@x.net", ip=f"192.0.{number}.1"))
    refused = pace.check(message("c@x.net", "b@x.net", ip="192.0.9.1"))
    assert (refused.identity, refused.key) == ("rcpt.address", "b@x.net")
    assert pace.check(message("c@x.net", ip="192.0.9.1"))


@pytest.mark.parametrize("host", [b"xn--zz\x80-%d.org", b"\xff%d", b"%d" + 300 * b"a" + b".org"])
def test_junk_counts_by_its_bytes(host: bytes) -> None:
    pace = guard(limit("client.net", "sender.host"))
    senders = [b"a@" + host % number for number in range(4)]
    admitted = [bool(pace.check(Envelope(client_ip="192.0.2.1", mail_from=sender))) for sender in senders]
    assert admitted == [True, True, True, False]


def test_an_element_equal_to_the_key_brings_nothing() -> None:
    pace = guard(limit("sender.registered", "sender.host", rate="1/hour"))
    assert all(pace.check(message(sender="a@b.org")) for _ in range(3))
    assert pace.check(message(sender="a@c.b.org"))
    assert not pace.check(message(sender="a@b.org"))


def test_its_two_tables_are_told() -> None:
    pace = guard(limit(), memory="1 MiB")
    for number in range(5):
        assert pace.check(message(*(f"{name}@x.net" for name in "abc"), user=f"user-{number}"))
    (slots, blocks) = pace.tables()
    assert (slots.table, blocks.table) == ("all", "registers of all")
    assert (slots.used, blocks.used) == (5, 0)
    assert slots.bytes + blocks.bytes <= 1 << 20
