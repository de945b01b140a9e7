"""P7: a composite is its parts and their order, not the text of them put together; a tag is no text;
kinds and classes are apart.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from given_guards import guard, limit
from throttle import Envelope

# What separators of an encoding could be mistaken in: short, over few characters.
CONFUSABLE = st.text("ab@. +|/\x00", min_size=1, max_size=5)


def once(*per: str, **fields: Any) -> Any:
    return guard(limit("once", list(per), "1/day", **fields), memory="128 KiB")


@given(first=st.tuples(CONFUSABLE, CONFUSABLE), second=st.tuples(CONFUSABLE, CONFUSABLE))
@example(first=("a", "bab"), second=("ab", "ab"))
@example(first=("a + b", "a"), second=("a", "b + a"))
def test_pairs_that_read_alike_are_two(first: tuple[str, str], second: tuple[str, str]) -> None:
    pace = once("auth.user", "helo.host")
    envelopes = [Envelope(mail_from="a@b.com", auth_user=user, helo=helo) for user, helo in (first, second)]
    identities = [pace.identities(envelope) for envelope in envelopes]
    named = [(identity.get("auth.user"), identity.get("helo.host")) for identity in identities]
    assume(None not in named[0] + named[1] and named[0] != named[1])
    assume("MALFORMED" not in named[0] + named[1])
    assert [bool(pace.check(envelope)) for envelope in envelopes] == [True, True], named


@given(name=st.sampled_from(["a", "ab", "b.com"]), other=st.sampled_from(["a", "ab", "b.com"]))
def test_the_parts_of_a_pair_do_not_change_places(name: str, other: str) -> None:
    assume(name != other)
    pace = once("auth.user", "helo.host")
    assert pace.check(Envelope(mail_from="", auth_user=name, helo=other))
    assert pace.check(Envelope(mail_from="", auth_user=other, helo=name))
    assert not pace.check(Envelope(mail_from="", auth_user=name, helo=other))


@pytest.mark.parametrize(
    ("per", "first", "second"),
    [
        (["sender.org"], {"mail_from": ""}, {"mail_from": "a@null"}),
        (["sender.org"], {"mail_from": "a@[192.0.2.1]"}, {"mail_from": "a@literal"}),
        (["sender.host"], {"mail_from": "a@-\x80-..com"}, {"mail_from": "a@MALFORMED"}),
        (["sender.host"], {"mail_from": "postmaster"}, {"mail_from": "a@unqualified"}),
        (["sender.address"], {"mail_from": b"\xff@b.com"}, {"mail_from": "malformed@b.com"}),
        (["sender.address"], {"mail_from": b"l" * 300 + b"@b.com"}, {"mail_from": "overlong@b.com"}),
        (["sender.registered"], {"mail_from": "a@b.invalid"}, {"mail_from": "a@unlisted"}),
        (["auth.user"], {"mail_from": "", "auth_user": b"\xff"}, {"mail_from": "", "auth_user": "MALFORMED"}),
        (["sender.org", "helo.host"], {"mail_from": "", "helo": "a"}, {"mail_from": "a@null", "helo": "a"}),
    ],
)
def test_a_tag_is_no_text_that_reads_like_it(per: list[str], first: dict[str, Any], second: dict[str, Any]) -> None:
    pace = once(*per)
    assert pace.check(Envelope(**first))
    assert pace.check(Envelope(**second))
    assert not pace.check(Envelope(**first))


@pytest.mark.parametrize(("per", "name"), [(["sender.org"], "sender"), (["client.ip", "sender.host"], "pair")])
def test_a_claim_takes_nothing_from_who_is_proven(per: list[str], name: str) -> None:
    pace = once(*per)
    claimed = Envelope(client_ip="192.0.2.1", mail_from="a@b.com", spf="fail")
    assert pace.check(claimed)
    assert not pace.check(claimed)
    assert pace.check(claimed.replace(spf="pass"))
    assert not pace.check(claimed.replace(spf="pass"))


def test_two_networks_of_one_address_are_two() -> None:
    pace = guard(limit("small", "client.ip", "1/day"), limit("large", "client.net/24/48", "2/day"))
    client = Envelope(client_ip="192.0.2.0", mail_from="a@b.com")
    assert pace.check(client)
    assert pace.check(client).limit == "small"
    assert pace.check(client.replace(client_ip="192.0.2.1"))
    assert pace.check(client.replace(client_ip="192.0.2.2")).limit == "large"
