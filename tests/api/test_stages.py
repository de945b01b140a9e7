"""Which limits run when: at the stages asked for, or without any at all of which something is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from given_guards import guard, limit
from throttle import Envelope, Throttle

if TYPE_CHECKING:
    from throttle.types import Stage

FULL = Envelope(client_ip="192.0.2.1", helo="mx.b.com", mail_from="a@b.com", rcpt_to=["p@q.net"], size=1000)


def each_stage() -> Throttle:
    return guard(
        limit("connect", "client.ip", "1/minute", count="connections"),
        limit("mail", "sender.org", "1/minute"),
        limit("rcpt", "rcpt.address", "1/minute", count="recipients"),
        limit("data", "sender.org", "1 kB/minute"),
    )


def charged(envelope: Envelope, stage: Any = None) -> list[str]:
    """The limits that a check charged: those that refuse the next one."""
    pace = each_stage()
    assert pace.check(envelope, stage=stage)
    unsized = FULL.replace(size=None)  # else the limit of octets would be consulted at mail, too
    asked: dict[Stage, Envelope] = {"connect": unsized, "mail": unsized, "rcpt": unsized, "data": FULL}
    return [name for name, envelope in asked.items() if pace.peek(envelope, stage=name).limit == name]


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("connect", ["connect"]),
        ("helo", []),
        ("mail", ["mail"]),
        ("rcpt", ["rcpt"]),
        ("data", ["data"]),
        (["connect", "helo"], ["connect"]),
        (("mail", "rcpt"), ["mail", "rcpt"]),
        ({"data", "connect"}, ["connect", "data"]),
        (iter(["rcpt", "mail", "rcpt"]), ["mail", "rcpt"]),
        ([], []),
        (None, ["connect", "mail", "rcpt", "data"]),
    ],
)
def test_the_limits_of_the_stages_asked_for_run_and_no_others(stage: Any, expected: list[str]) -> None:
    assert charged(FULL, stage) == expected


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        ({}, ["connect", "mail", "rcpt", "data"]),
        ({"size": None}, ["connect", "mail", "rcpt"]),
        ({"rcpt_to": None}, ["connect", "mail", "data"]),
        ({"mail_from": None}, ["connect"]),
        ({"mail_from": ""}, ["connect", "rcpt"]),  # another organisation than the one asked about next
    ],
)
def test_without_a_stage_those_run_of_which_something_is_known(unknown: dict[str, Any], expected: list[str]) -> None:
    assert charged(FULL.replace(**unknown)) == expected


def test_helo_limits_run_at_mail_since_they_count_messages() -> None:
    pace = guard(limit("helo", "helo.host", "1/minute"))
    assert pace.check(FULL, stage="helo")
    assert pace.check(FULL, stage="mail")
    assert not pace.check(FULL, stage="mail")


def test_a_refused_stage_leaves_what_earlier_stages_charged() -> None:
    pace = each_stage()
    assert pace.check(FULL, stage="connect")
    assert pace.check(FULL, stage="mail")
    assert not pace.check(FULL, stage="mail")
    assert pace.peek(FULL, stage="connect").limit == "connect"
    assert pace.peek(FULL, stage="rcpt")


def test_several_stages_are_one_step_all_or_none() -> None:
    pace = each_stage()
    assert pace.check(FULL, stage="rcpt")
    assert pace.check(FULL).limit == "rcpt"
    assert pace.peek(FULL, stage=["connect", "mail", "data"])


@pytest.mark.parametrize(
    "absent",
    [
        {"client_name": None},
        {"client_name": "unknown"},
        {"client_name": "[192.0.2.1]"},
        {"auth_user": ""},
        {"helo": " "},
    ],
)
def test_a_limit_on_what_is_absent_does_not_run(absent: dict[str, Any]) -> None:
    [field] = absent
    identity = {"client_name": "client.org", "auth_user": "auth.user", "helo": "helo.host"}[field]
    pace = guard(limit("once", [identity, "sender.org"], "1/day"))
    envelope = FULL.replace(**({"auth_user": "joe", "client_name": "mx.b.com"} | absent))
    assert [bool(pace.check(envelope)) for _ in range(3)] == [True] * 3
    assert identity not in pace.identities(envelope)
    present = envelope.replace(client_name="mx.b.com", auth_user="joe", helo="mx")
    assert [bool(pace.check(present)) for _ in range(2)] == [True, False]


def test_a_missing_client_address_is_one_that_all_share() -> None:
    pace = guard(limit("once", "client.net", "1/day"))
    assert pace.check(FULL.replace(client_ip=None))
    assert pace.check(FULL.replace(client_ip="no address")).key == "UNKNOWN"
    assert pace.check(FULL)
