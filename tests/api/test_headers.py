"""Header identities from Python: what a message says, which limits see it, and when.

The table of headers stands in rust/core/tests/headers.rs.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from given_guards import guard, limit
from strategies import HEADERS, envelopes
from throttle import Envelope, Limit

MESSAGE = (
    b"From: Joe <joe@ex.com>, ann@b.com\r\nReply-To: =?utf-8?q?J=C3=B6?= <Answers+1@EX.com>\r\nList-Id: Us "
    b"<us.ex.com>\r\n"
    b"\r\nReply-To: not@this.com\r\n"
)
SAID: dict[str, Any] = {
    "header_from": ("joe@ex.com", "ann@b.com"),
    "reply_to": ("Answers+1@EX.com",),
    "list_id": "us.ex.com",
}


def test_a_messages_header_fills_the_fields_and_what_is_said_beside_it_is_the_last_word() -> None:
    assert Envelope.from_message(MESSAGE) == Envelope(**SAID)
    assert Envelope.from_message(MESSAGE, mail_from="a@b.com", reply_to=None, size=7) == Envelope(
        **SAID | {"reply_to": (), "mail_from": "a@b.com", "size": 7}
    )
    with pytest.raises(TypeError, match="'ip'"):
        Envelope.from_message(MESSAGE, ip="192.0.2.1")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Envelope.from_message("From: a@b.com")  # type: ignore[arg-type]


def test_another_header_takes_the_place_of_the_one_before_and_of_nothing_else() -> None:
    envelope = Envelope(mail_from="a@b.com", dkim="ex.com", size=7, list_id="old", header_from="old@ex.com")
    assert envelope.with_headers(MESSAGE) == envelope.replace(**SAID)
    assert envelope.with_headers(b"Reply-To: x@y.com") == envelope.replace(
        header_from=None, list_id=None, reply_to="x@y.com"
    )
    assert envelope.with_headers(b"") == Envelope(mail_from="a@b.com", dkim="ex.com", size=7)


def test_text_that_is_not_utf8_stays_bytes() -> None:
    assert Envelope.from_message("From: jö@ex.com\n".encode()).header_from == ("jö@ex.com",)
    assert Envelope.from_message("From: jö@ex.com\n".encode("latin-1")).header_from == (b"j\xf6@ex.com",)


@pytest.mark.parametrize(
    "field",
    [b'"Case case@b.com" <x@a.com>', b"x@a.com (case@b.com)", b"=?utf-8?q?case=40b.com?= <x@a.com>"],
    ids=["a quoted name", "a comment", "an encoded word"],
)
def test_what_hides_an_address_is_what_security_md_says(field: bytes) -> None:
    """Who bettered one of these takes it off the page."""
    assert Envelope.from_message(b"Reply-To: " + field + b"\r\n\r\n").reply_to == ("x@a.com",)


@pytest.mark.parametrize(
    "header",
    [
        b"Reply-To: " + b", ".join(b"x@a%d.com" % number for number in range(8)) + b", case@b.com\r\n",
        b"Reply-To: x@a.com\r\n" * 8 + b"Reply-To: case@b.com\r\n",
        b"Reply-To: x@a.com" + b" " * 64 * 1024 + b"case@b.com\r\n",
        b"Reply-To: x@a.com" + b"(" * 9 + b"case@b.com\r\n",
        b"Reply-To: x@a.com" + b"@" * 64 + b"case@b.com\r\n",
        b"Reply-To: x@a.com\r\nX: " + b"x" * 1024 * 1024 + b"\r\nReply-To: case@b.com\r\n",
        b"Reply-To: case at b.com\r\n",
    ],
    ids=["nine addresses", "nine fields", "64 KiB", "open comments", "64 times @", "1 MiB", "no address"],
)
def test_what_cannot_be_read_within_the_bounds_shares_one_value(header: bytes) -> None:
    envelope = Envelope.from_message(header + b"\r\n", mail_from="a@b.com")
    assert envelope.reply_to == ("MANY",)
    identities = guard(limit("any", "reply_to.address")).identities(envelope)
    assert [identities[f"reply_to.{part}"] for part in ("address", "org", "mailbox")] == [("MANY",)] * 3


def test_a_whole_field_says_what_its_addresses_say() -> None:
    field = 'Joe <"joe"@EX.com>, (old) ann@b.com'
    whole, addresses = Envelope(header_from=field), Envelope.from_message(f"From: {field}".encode())
    by = guard(limit("any", "from.address"))
    assert addresses.header_from == ("joe@EX.com", "ann@b.com")
    assert by.identities(whole) == by.identities(addresses)
    assert "from.address" not in by.identities(Envelope(header_from="<>"))


def test_an_operator_names_a_reader_by_the_address_or_by_the_organisation() -> None:
    by = guard(limit("readers", "reply_to.mailbox", "1/day"))
    for value in ("d.esk@googlemail.com", "shop.com", "MANY"):
        by.block("reply_to.mailbox", value)
    assert {block.value for block in by.blocked()} == {"desk@gmail.com", "shop.com", "MANY"}
    for reply_to in ("desk@gmail.com", "anything@mx.shop.com", "nobody"):
        assert by.check(Envelope(mail_from="a@b.com", reply_to=reply_to)).limit == "blocked"
    assert by.check(Envelope(mail_from="a@b.com", reply_to="other@gmail.com"))
    for value in ("gmail.com", "joe@shop.com", "mx.shop.com", "com"):
        with pytest.raises(ValueError, match="value: found"):
            by.block("reply_to.mailbox", value)


def test_a_reader_of_the_senders_organisation_is_aligned() -> None:
    pace = guard(limit("readers", "reply_to.unaligned", "1/day"))
    own = Envelope(mail_from="a@mail.shop.com", reply_to="help@shop.com")
    assert all(pace.check(own) for _ in range(3))
    assert all(pace.check(own.replace(mail_from="a@gmail.com", reply_to="joe@gmail.com")) for _ in range(3))
    assert [bool(pace.check(own.replace(mail_from=f"a@org{n}.com"))) for n in range(2)] == [True, False]
    both = own.replace(reply_to="help@shop.com, joe@gmail.com")
    assert pace.identities(both)["reply_to.unaligned"] == ("joe@gmail.com",)
    bounce = own.replace(mail_from="", reply_to="x@other.com")
    assert all(pace.check(bounce) for _ in range(3)), "the null sender has no organisation"


def test_its_identities_are_told_several_as_tuples() -> None:
    by_org = guard(limit("any", ["client.ip", "from.org"]))
    assert by_org.identities(Envelope.from_message(MESSAGE, dkim=("mail.ex.co.uk", "ex.co.uk"))) == {
        "client.ip": "UNKNOWN",
        "client.net": "UNKNOWN",
        "from.address": ("joe@ex.com", "ann@b.com"),
        "from.host": ("ex.com", "b.com"),
        "from.org": ("ex.com", "b.com"),
        "reply_to.address": ("answers@ex.com",),
        "reply_to.org": ("ex.com",),
        "reply_to.mailbox": ("ex.com",),
        "list.id": "us.ex.com",
        "dkim.org": ("ex.co.uk",),
        "global": "global",
    }


@pytest.mark.parametrize(
    ("per", "field"),
    [("from.org", "header_from"), ("reply_to.org", "reply_to"), ("list.id", "list_id"), ("dkim.org", "dkim")],
)
def test_a_limit_per_what_a_header_says_runs_at_data_and_skips_who_says_nothing(per: str, field: str) -> None:
    once = guard(limit("once", per, "1/day"))
    assert Limit(name="x", per=per, rate="1/day").stage == "data"
    silent = Envelope(client_ip="192.0.2.1", mail_from="a@b.com")
    given: dict[str, Any] = {field: "u@ex.com" if field in ("header_from", "reply_to") else "ex.com"}
    said = silent.replace(**given)
    assert all(once.check(silent, stage="data") for _ in range(3))
    assert all(once.check(said, stage=stage) for stage in ("connect", "helo", "mail", "rcpt") for _ in range(3))
    assert once.check(said)
    refused = once.check(said)
    assert (refused.limit, refused.identity, refused.key) == ("once", per, "ex.com")
    assert refused.reply is not None
    assert refused.reply.startswith("451 4.7.1 ex.com is sending too fast")


def test_each_of_several_values_is_checked_and_all_must_agree() -> None:
    twice = guard(limit("twice", "from.address", "2/day"))

    def check(*authors: str) -> str | None:
        return twice.check(Envelope(mail_from="a@b.com", header_from=authors)).key

    assert check("a@x.com", "A+1@x.com") is None, "duplicates count once"
    assert check("a@x.com", "b@x.com") is None
    assert check("b@x.com", "a@x.com", "c@x.com") == "a@x.com"
    assert check("b@x.com") is None, "the refused message was charged to nobody"
    assert check("b@x.com") == "b@x.com"
    assert check("c@x.com") is None
    assert check("c@x.com") is None


def test_nine_values_are_one_for_all_who_have_as_many() -> None:
    once = guard(limit("once", "reply_to.address", "1/day"))
    nine = [f"u{n}@x.com" for n in range(9)]
    assert once.check(Envelope(mail_from="a@b.com", reply_to=nine))
    assert once.check(Envelope(mail_from="a@b.com", reply_to=nine[:8])), "eight are themselves"
    assert not once.check(Envelope(mail_from="a@b.com", reply_to=nine[7]))
    assert once.check(Envelope(mail_from="a@b.com", reply_to=[f"v{n}@y.com" for n in range(9)])).key == "MANY"


def test_an_element_equal_to_one_of_several_values_is_never_new() -> None:
    strict = guard(
        limit("fan", "from.org", "1/day", distinct="sender.org"),
        limit("dkim", "dkim.org", "1/day", distinct="sender.org"),
    )

    def check(sender: str) -> bool:
        said = Envelope(
            mail_from=f"a@{sender}", header_from=["a@x.com", "a@y.com"], dkim=["z.com", "x.com"], spf="pass"
        )
        return strict.check(said).allowed

    assert check("one.com")
    assert not check("two.com")
    assert not check("y.com"), "new under x.com"
    assert not check("x.com"), "new under y.com and z.com"
    alone = Envelope(mail_from="a@x.com", header_from="b@x.com", dkim="x.com", spf="pass")
    assert all(strict.check(alone) for _ in range(3))


def test_a_signature_is_proven_and_its_domain_has_counters_apart_from_who_merely_claims() -> None:
    proven = guard(limit("proven", ["dkim.org"], "1/day"), limit("pair", ["dkim.org", "sender.org"], "1/day"))
    claimed = Envelope(mail_from="a@b.com", dkim="ex.com", spf="fail")
    assert proven.check(claimed)
    assert proven.check(claimed).limit == "proven"
    assert proven.check(claimed.replace(dkim="other.com", spf="pass"))
    assert proven.check(claimed.replace(dkim=()))


def test_a_composite_is_as_weak_as_what_its_header_says() -> None:
    claims = guard(limit("claims", ["client.ip", "from.org"], "1/day", verified="claimed"))
    envelope = Envelope(client_ip="192.0.2.1", mail_from="a@b.com", header_from="a@b.com", spf="fail", dkim="b.com")
    assert claims.check(envelope)
    assert not claims.check(envelope)
    assert claims.check(envelope.replace(spf="pass")), "the sender is proven, and `verified` is about the sender"


def test_a_quota_names_a_value_of_a_header() -> None:
    pace = guard(
        limit("lists", "list.id", "1/day", quota={"Us.ex.com": {"rate": "2/day"}}),
        limit("answers", "reply_to.org", "1/day", quota={"ex.com": {"rate": "2/day"}}),
        limit("authors", "from.address", "1/day", quota={"Joe+x@ex.com": {"rate": "2/day"}}),
    )
    one = Envelope.from_message(MESSAGE.replace(b", ann@b.com", b""), mail_from="a@b.com")
    assert [bool(pace.check(one)) for _ in range(3)] == [True, True, False]


@given(envelope=envelopes(), header=HEADERS)
@settings(max_examples=150)
def test_no_header_raises_and_what_it_says_is_what_its_fields_would_say(envelope: Envelope, header: bytes) -> None:
    read = envelope.with_headers(header)
    assert len(read.header_from) <= 8
    assert len(read.reply_to) <= 8
    fields: dict[str, Any] = {"header_from": read.header_from, "reply_to": read.reply_to, "list_id": read.list_id}
    assert read == envelope.replace(**fields)
    assert Envelope.from_message(header, dkim=envelope.dkim) == Envelope(dkim=envelope.dkim, **fields)
    assert Envelope.from_message(header + b"\n\nFrom: x@y.com") == Envelope.from_message(header + b"\n\n")
