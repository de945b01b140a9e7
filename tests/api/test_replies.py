"""What the server should answer: by stage, by kind of limit, and for what can never pass (RFC 5321 §4.2, RFC 3463)."""

from __future__ import annotations

from typing import Any

import pytest

from given_guards import guard, is_legal, limit
from throttle import Envelope

SENDER = Envelope(
    client_ip="192.0.2.1", helo="mx.b.com", mail_from="a@b.com", rcpt_to=["p@q.net"], auth_user="joe", size=900
)


@pytest.mark.parametrize(
    ("per", "fields", "reply"),
    [
        ("client.ip", {"count": "connections"}, "421 4.7.0 192.0.2.1 connects too often; retry in 60 s"),
        ("sender.org", {}, "451 4.7.1 b.com is sending too fast; retry in 60 s"),
        ("auth.user", {}, "451 4.7.1 joe is sending too fast; retry in 60 s"),
        ("global", {}, "451 4.3.2 global has too much under way; retry in 60 s"),
        ("rcpt.address", {"count": "recipients"}, "450 4.2.1 p@q.net is receiving too fast; retry in 60 s"),
        (
            ["client.ip", "rcpt.host"],
            {"count": "recipients"},
            "450 4.2.1 192.0.2.1 + q.net is receiving too fast; retry in 60 s",
        ),
        ("client.ip", {"count": "recipients"}, "452 4.5.3 192.0.2.1 has too many recipients; retry in 60 s"),
        ("client.ip", {"rate": "1 kB/minute"}, "451 4.7.1 192.0.2.1 is sending too fast; retry in 48 s"),
    ],
)
def test_a_rate_is_answered_by_what_it_counts(per: str | list[str], fields: dict[str, Any], reply: str) -> None:
    pace = guard(limit("once", per, **{"rate": "1/minute"} | fields))
    assert pace.check(SENDER)
    assert pace.check(SENDER).reply == reply


@pytest.mark.parametrize(
    ("per", "distinct"),
    [("sender.registered", "sender.host"), ("client.ip", "sender.org"), ("client.ip", "rcpt.address")],
)
def test_too_many_new_names_are_a_flood(per: str, distinct: str) -> None:
    pace = guard(limit("fan", per, "1/minute", distinct=distinct))
    assert pace.check(SENDER.replace(mail_from="a@x.b.com"))
    decision = pace.check(
        SENDER.replace(mail_from="a@y.b.com" if distinct == "sender.host" else "a@c.com", rcpt_to="r@q.net")
    )
    assert decision.reply == f"451 4.7.28 {decision.key} sends under too many new names; retry in 60 s"


def test_too_many_different_things_under_one_account_are_told_as_such() -> None:
    pace = guard(limit("spread", "auth.user", "1/minute", distinct="rcpt.address", refuse="all"))
    first, second = (SENDER.replace(auth_user="Joe", rcpt_to=[f"{name}@q.net"]) for name in "pr")
    assert pace.check(first)
    assert pace.check(second).reply == "451 4.7.28 joe goes to or comes from too many different places; retry in 60 s"


@pytest.mark.parametrize(
    ("fields", "reply"),
    [
        ({"rate": "800 B/minute"}, "552 5.3.4 message too big for 192.0.2.1"),
        ({"rate": "1/minute", "count": "recipients"}, "452 4.5.3 too many recipients at once for 192.0.2.1"),
        ({"rate": "1/minute", "distinct": "rcpt.address"}, "451 4.7.28 192.0.2.1 asks for more than it can ever have"),
    ],
)
def test_what_can_never_pass_is_told_so(fields: dict[str, Any], reply: str) -> None:
    crowd = SENDER.replace(rcpt_to=["p@q.net", "r@q.net"])
    assert guard(limit("small", "client.ip", **fields)).check(crowd).reply == reply


@pytest.mark.parametrize(
    "name",
    ["\r\n250 ok", "a\x00b", "ü" * 100, "\u202e", "\udc80", "b" * 250, "x" * 10_000, "%s{0}", "\t", "\x7f", "\u2028"],
)
def test_whatever_the_name_holds_it_is_one_legal_line(name: str) -> None:
    pace = guard(limit("user", ["auth.user", "sender.address"], "1/day"))
    envelope = SENDER.replace(auth_user=name, mail_from=f"{name}@{name}.com")
    assert pace.check(envelope)
    assert is_legal(pace.check(envelope).reply)
