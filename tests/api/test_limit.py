"""`Limit`: the fields of a policy file as keyword arguments, checked when it is made."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from given_guards import IDENTITIES
from throttle import Limit, Policy, PolicyError

PACE: dict[str, Any] = {"name": "pace", "per": "client.net", "rate": "600/minute"}

FAN_OUT: dict[str, Any] = {
    "name": "fan-out",
    "per": "sender.registered",
    "distinct": "sender.host",
    "rate": "200/10 minutes",
    "remember": "7 days",
    "settle": "1 hour",
}

CAP: dict[str, Any] = {
    "name": "open",
    "per": "global",
    "in_flight": 2000,
    "share": {"per": "client.net/24/48", "of_free": "1/10"},
}

SAID: list[dict[str, Any]] = [
    PACE,
    PACE | {"per": ["client.net/24/48", "sender.org+2"], "burst": 6000},
    PACE | {"per": "rcpt.address", "count": "recipients", "when_full": "refuse", "memory": "1 MiB"},
    PACE | {"rate": "1 GiB/hour", "burst": "64 MiB"},
    PACE | {"per": "client.ip", "count": "connections"},
    PACE | {"per": "sender.host", "verified": "proven"},
    PACE | {"per": "auth.user", "algorithm": "gcra", "when_full": "refuse"},
    PACE | {"per": "auth.user", "when_full": "refuse"},
    PACE | {"per": "auth.user"},
    PACE | {"per": "auth.user", "when_full": "admit"},
    PACE | {"algorithm": "sliding-window"},
    PACE | {"when_full": "sketch"},
    FAN_OUT,
    CAP,
    CAP | {"in_flight": "1 GiB", "share": None},
    CAP | {"count": "bytes"},
    CAP | {"in_flight": "1 GiB", "reserve": "64 MiB", "first": "1 MB"},
    CAP | {"reserve": 9, "share": [{"per": ["client.ip"], "of_free": "1/9"}, {"per": "client.org", "of_free": "1/2"}]},
    FAN_OUT | {"per": "client.ip", "distinct": "sender.org", "settle": None, "new_to": "client.net"},
    CAP | {"per": "client.ip", "count": "connections", "share": {"per": ["client.host"], "of_free": "1/1"}},
    FAN_OUT | {"per": "client.net/24/48", "distinct": "sender.org", "settle": None, "refuse": "new", "burst": 300},
    {"name": "people", "per": "auth.user", "distinct": "rcpt.address", "rate": "500/day", "refuse": "all"},
    {
        "name": "networks",
        "per": ["auth.user", "sender.org"],
        "distinct": "client.net/24/48",
        "rate": "20/day",
        "burst": 30,
        "refuse": "all",
        "when_full": "refuse",
        "memory": "64 KiB",
    },
]


@pytest.mark.parametrize("fields", SAID)
def test_it_says_again_what_makes_it(fields: dict[str, Any]) -> None:
    limit = Limit(**fields)
    assert Policy.parse(limit.to_toml()).limits == [limit]
    assert eval(repr(limit)) == limit
    assert pickle.loads(pickle.dumps(limit)) == limit
    assert hash(Limit(**fields)) == hash(limit)


def test_different_fields_are_different_limits() -> None:
    limits = [Limit(**fields) for fields in SAID]
    assert len(set(limits)) == len(limits)
    assert limits[0] != Limit(**PACE | {"burst": 599})
    assert limits[0] != "pace"


@pytest.mark.parametrize("identity", [name for name in IDENTITIES if name != "global"])
def test_per_is_told_as_it_was_said(identity: str) -> None:
    assert Limit(**PACE | {"per": identity, "algorithm": "gcra", "when_full": "admit"}).per == identity


@pytest.mark.parametrize("identity", ["auth.user", "global"])
def test_a_quota_is_a_sliding_window_beside_a_sketch_unless_it_says_otherwise(identity: str) -> None:
    quota = PACE | {"per": identity}
    assert Limit(**quota) == Limit(**quota | {"algorithm": "sliding-window", "when_full": "sketch"})
    assert "when_full" not in Limit(**quota).to_toml()
    assert Limit(**PACE) == Limit(**PACE | {"algorithm": "gcra", "when_full": "admit"})


def test_a_composite_is_told_with_plus() -> None:
    assert Limit(**PACE | {"per": ["client.net/24/48", "sender.org"]}).per == "client.net/24/48 + sender.org"


@pytest.mark.parametrize(
    ("fields", "stage"),
    [
        ({"per": "client.ip", "count": "connections"}, "connect"),
        ({"per": "client.ip"}, "mail"),
        ({"per": "helo.host"}, "mail"),
        ({"per": "sender.org"}, "mail"),
        ({"per": "rcpt.host"}, "rcpt"),
        ({"per": "client.ip", "count": "recipients"}, "rcpt"),
        ({"per": "sender.org", "rate": "1 MiB/hour"}, "data"),
        ({"per": "client.ip", "distinct": "rcpt.address"}, "rcpt"),
    ],
)
def test_its_stage_is_the_latest_of_what_it_needs(fields: dict[str, Any], stage: str) -> None:
    assert Limit(**PACE | fields).stage == stage


@pytest.mark.parametrize(
    ("fields", "field", "found", "allowed", "suggestion"),
    [
        ({"name": None}, "name", "nothing", "a name of lower-case letters", None),
        ({"name": "Net Pace"}, "name", '"Net Pace"', "lower-case letters, digits", "net-pace"),
        ({"per": None}, "per", "nothing", "one identity or a list", None),
        ({"per": "sender.orgg"}, "per", '"sender.orgg"', "one of client.ip", "sender.org"),
        ({"per": "dkim.orgs"}, "per", '"dkim.orgs"', "one of client.ip", "dkim.org"),
        ({"per": ["client.ip", "client.ip"]}, "per", "a second time", "each identity once", None),
        ({"per": "sender.org+9"}, "per", '"sender.org+9"', "1 to 5 labels more", None),
        ({"per": "client.net/33/48"}, "per", '"client.net/33/48"', "0–32 and 0–128", None),
        ({"rate": None}, "rate", "nothing", "one rule", None),
        ({"rate": "0/minute"}, "rate", '"0/minute"', "an amount from 1", None),
        ({"rate": "600/fortnight"}, "rate", '"600/fortnight"', "second(s), minute(s)", None),
        ({"rate": "600 per minute"}, "rate", '"600 per minute"', "a whole number, a slash", "600/minute"),
        ({"rate": 600}, "rate", "600", "text", None),
        ({"burst": 0}, "burst", "0", "a whole number from 1", None),
        ({"burst": "1 MiB"}, "burst", '"1 MiB"', "a whole number, since the limit does not count bytes", None),
        ({"burst": True}, "burst", "true", "a whole number from 1", None),
        ({"count": "mails"}, "count", '"mails"', '"messages"', None),
        ({"count": "connections", "per": "sender.org"}, "count", '"connections"', "known before a message", None),
        (
            {"verified": "claimed", "count": "connections"},
            "verified",
            '"claimed"',
            "a connection has no sender",
            None,
        ),
        ({"when_full": "sketch", "memory": "4 KiB"}, "memory", '"4 KiB"', 'at least "8 KiB"', None),
        ({"algorithm": "window"}, "algorithm", '"window"', '"gcra" or "sliding-window"', None),
        ({"algorithm": "sliding-window", "burst": 9}, "burst", "9", "no `burst` with algorithm", None),
        (
            {"per": "auth.user", "burst": 9},
            "burst",
            "9",
            "the default per auth.user or global",
            None,
        ),
        (
            {"action": "block"},
            "action",
            '"block"',
            '"defer", "reject" or "block" with a time, as "block 10 minutes"',
            "block 10 minutes",
        ),
        ({"memory": "1 KiB"}, "memory", '"1 KiB"', "from", None),
        ({"settle": "1 hour"}, "settle", '"1 hour"', "only together with `distinct`", None),
        ({"distinct": "sender.host", "refuse": "al"}, "refuse", '"al"', '"new" or "all"', "all"),
        (
            {"distinct": "sender.host", "refuse": "all", "remember": "1 day"},
            "remember",
            '"1 day"',
            'no `remember`, since nothing is remembered when the bucket has drained, with refuse = "all"',
            None,
        ),
        (
            {"distinct": "sender.host", "refuse": "all", "settle": "1 hour"},
            "settle",
            '"1 hour"',
            "no `settle`, since nothing",
            None,
        ),
        (
            {"distinct": "sender.host", "refuse": "all", "algorithm": "sliding-window"},
            "algorithm",
            '"sliding-window"',
            '"gcra", a bucket that only a fresh element fills',
            None,
        ),
        (
            {"distinct": "sender.host", "refuse": "all", "when_full": "sketch"},
            "when_full",
            '"sketch"',
            '"admit" or "refuse", since a sketch cannot tell a fresh element from a seen one',
            None,
        ),
        (
            {"distinct": "sender.host", "refuse": "all", "memory": "4 KiB"},
            "memory",
            '"4 KiB"',
            '"8 KiB" or more, for two tables',
            None,
        ),
        (
            {"distinct": "sender.host", "remember": "forever"},
            "remember",
            '"forever"',
            "a whole number and a unit",
            None,
        ),
        ({"distinct": "sender.org", "settle": "1 hour"}, "settle", '"1 hour"', "a whole host", None),
        ({"distinct": "client.net"}, "distinct", '"client.net"', "under itself, a thing is never new", None),
        ({"in_flight": 3}, "rate", '"600/minute"', "one rule", None),
        ({"in_flight": 3, "rate": None, "burst": 9}, "burst", "9", "no `burst` together with `in_flight`", None),
        ({"in_flight": "3", "rate": None}, "in_flight", '"3"', "a whole number from 1 to 2^50, or a size", None),
        (
            {"in_flight": 3, "rate": None, "per": "rcpt.host"},
            "per",
            '"rcpt.host"',
            "a permit is of fixed size",
            None,
        ),
        ({"share": {"per": "client.ip", "of_free": "1/2"}}, "share", "a table", "only together with `in_flight`", None),
        (
            {"in_flight": 3, "rate": None, "share": {"per": "client.pi", "of_free": "1/2"}},
            "share.per",
            '"client.pi"',
            "one of client.ip",
            "client.ip",
        ),
        (
            {"in_flight": 3, "rate": None, "share": {"per": {"a": 1}, "of_free": "1/2"}},
            "share.per",
            "a table",
            "one of client.ip",
            None,
        ),
        (
            {"in_flight": 3, "rate": None, "share": {"per": "client.ip", "of_free": 0.1}},
            "share.of_free",
            "0.1",
            "a part up to the whole",
            None,
        ),
        ({"brust": 3}, "brust", "an unknown field", "name, per, rate", "burst"),
        ({"when_full": "drop"}, "when_full", '"drop"', '"admit", "sketch" or "refuse"', None),
    ],
)
def test_a_wrong_field_is_named_with_what_was_found_and_what_is_allowed(
    fields: dict[str, Any], field: str, found: str, allowed: str, suggestion: str | None
) -> None:
    with pytest.raises(PolicyError) as raised:
        Limit(**PACE | fields)
    error = raised.value
    assert (error.file, error.line, error.column) == ("<policy>", None, None)
    assert error.limit == (None if field == "name" else "pace")
    assert error.field == field
    assert found in error.found
    assert allowed in error.allowed
    assert error.suggestion == suggestion
    assert all(part in str(error) for part in (field, error.found, error.allowed, suggestion or ""))


def test_it_takes_no_positional_fields() -> None:
    with pytest.raises(TypeError):
        Limit("pace")  # type: ignore[call-arg]
