"""Names that a sender chose are printed without their control characters, wherever this package prints them."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from given_guards import guard, limit
from throttle import Envelope
from throttle.printable import printable
from throttle.types import CoveringEntry, ExplainedIdentity

HOSTILE = "a\x1b[2J\x1b]0;title\x07\r\n\u202e\u2066\u200b\u2028\x9b\U000e0041"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ASCII, [red] :ab: \\x1b", "plain ASCII, [red] :ab: \\x1b"),
        ("münchen 例え \U0001f4e7", "münchen 例え \U0001f4e7"),
        ("\x00\x1b\x7f\x9b\n\r\t", "\\x00\\x1b\\x7f\\x9b\\n\\r\\t"),
        ("\u200b\u200f\u202e\u2066\ufeff\xad", "\\u200b\\u200f\\u202e\\u2066\\ufeff\\xad"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\ud800\udcff", "\\ud800\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("bill\ufe0fing", "bill\\ufe0fing"),
        ("no\u3164is\u115f\u1160\u2800\u034f\U000e0101", "no\\u3164is\\u115f\\u1160\\u2800\\u034f\\U000e0101"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_no_character_of_a_category_that_controls_is_left() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    assert not {unicodedata.category(char) for char in printable(every)} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_an_explanation_is_printed_without_control_characters() -> None:
    pace = guard(limit("pace", ["auth.user", "sender.address"], "1/day"))
    envelope = Envelope(client_ip="192.0.2.1", auth_user=HOSTILE, mail_from=f'"{HOSTILE}"@b.com', helo=HOSTILE)
    before = str(pace.explain(envelope))
    pace.check(envelope)
    after = str(pace.explain(envelope))
    for text in (before, after):
        assert "\\x1b[2j" in text
        assert all(line.isprintable() for line in text.split("\n"))
        assert text.splitlines() == text.split("\n")


def test_the_parts_of_an_explanation_are_printed_so_too() -> None:
    assert str(ExplainedIdentity((HOSTILE,), trust="claimed")).isprintable()
    entry = CoveringEntry("block", "auth.user", HOSTILE, "operator", unverified=False, seconds=1.0)
    assert str(entry).isprintable()
    pace = guard(limit("pace", "auth.user", "1/day"))
    [row] = pace.explain(Envelope(client_ip="192.0.2.1", auth_user=HOSTILE, mail_from="a@b.com")).limits
    assert str(row).isprintable()


def test_the_reprs_of_what_a_guard_returns_are_printable() -> None:
    pace = guard(limit("pace", "auth.user", "1/day"))
    envelope = Envelope(client_ip="192.0.2.1", auth_user=HOSTILE, mail_from=f'"{HOSTILE}"@b.com', helo=HOSTILE)
    pace.check(envelope)
    refused = pace.check(envelope)
    pace.block("auth.user", HOSTILE)
    session = pace.session(client_ip=HOSTILE, client_name=HOSTILE)
    session.helo(HOSTILE)
    offenders = pace.top("auth.user", 10)
    assert offenders
    for value in (envelope, refused, pace.admit(envelope), session, *pace.blocked(), *offenders):
        assert repr(value).isprintable(), value


def test_an_error_shows_a_value_without_control_characters() -> None:
    pace = guard(limit("pace", "auth.user", "1/day"))
    for call in (
        lambda: pace.block("sender.org", HOSTILE),
        lambda: pace.block("client.ip", HOSTILE),
        lambda: pace.block(HOSTILE, "a"),
        lambda: pace.top(HOSTILE, 1),
        lambda: pace.reset("client.ip", HOSTILE),
    ):
        with pytest.raises(ValueError, match="found") as raised:
            call()
        assert str(raised.value).isprintable(), raised.value
