"""`Envelope`: frozen, keyword-only, of text as it came; only what no server receives raises."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from throttle import Envelope

FULL: dict[str, Any] = {
    "client_ip": "192.0.2.1",
    "client_name": b"mx.b.com",
    "helo": "mx",
    "mail_from": "\udc80@b.com",
    "rcpt_to": ("p@q.net", b"\xff@q.net"),
    "auth_user": "joe",
    "spf": "pass",
    "size": 1000,
    "header_from": ("joe@b.com", b"\xff@b.com"),
    "reply_to": ("\udc80@b.com",),
    "list_id": "Joe's list <joe.b.com>",
    "dkim": ("b.com", b"c.com"),
}

SEVERAL = ("rcpt_to", "header_from", "reply_to", "dkim")

ABSENT: dict[str, Any] = {**dict.fromkeys(FULL), **dict.fromkeys(SEVERAL, ())}


def fields(envelope: Envelope) -> dict[str, Any]:
    return {field: getattr(envelope, field) for field in FULL}


def test_fields_are_kept_as_they_came() -> None:
    assert fields(Envelope(**FULL)) == FULL
    assert fields(Envelope()) == ABSENT


def test_it_takes_keywords_only_and_known_ones() -> None:
    with pytest.raises(TypeError, match="positional"):
        Envelope("192.0.2.1")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'ip'"):
        Envelope(ip="192.0.2.1")  # type: ignore[call-arg]


@pytest.mark.parametrize("field", FULL)
def test_it_is_frozen(field: str) -> None:
    envelope = Envelope(**FULL)
    with pytest.raises(AttributeError):
        setattr(envelope, field, None)
    with pytest.raises(AttributeError):
        envelope.other = 1  # type: ignore[attr-defined]
    assert fields(envelope) == FULL


@pytest.mark.parametrize("field", FULL)
def test_a_copy_differs_in_what_was_replaced_only(field: str) -> None:
    envelope = Envelope(**FULL)
    changed = envelope.replace(**{field: ABSENT[field]})
    assert fields(changed) == {**FULL, field: ABSENT[field]}
    assert changed != envelope
    assert envelope.replace() == envelope
    assert fields(envelope) == FULL


def test_a_copy_takes_known_fields_only() -> None:
    with pytest.raises(TypeError, match="'ip'"):
        Envelope().replace(ip="192.0.2.1")  # type: ignore[call-arg]


@pytest.mark.parametrize("field", FULL)
def test_equal_fields_are_equal_envelopes_with_equal_hashes(field: str) -> None:
    one, same = Envelope(**FULL), Envelope(**FULL)
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same, one.replace(**{field: ABSENT[field]})}) == 2
    assert one != tuple(FULL.values())


def test_text_and_its_bytes_are_two_values() -> None:
    assert Envelope(helo="a") != Envelope(helo=b"a")


@pytest.mark.parametrize("envelope", [Envelope(), Envelope(**FULL), Envelope(size=2**64, rcpt_to="a@b.com")])
def test_it_prints_and_pickles_as_what_makes_it_again(envelope: Envelope) -> None:
    assert eval(repr(envelope)) == envelope
    assert pickle.loads(pickle.dumps(envelope)) == envelope
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert fields(pickle.loads(pickle.dumps(envelope, protocol))) == fields(envelope)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, ()),
        ("a@b.com", ("a@b.com",)),
        (b"a", (b"a",)),
        ([], ()),
        (["a", b"b"], ("a", b"b")),
        (iter("ab"), ("a", "b")),
        ({"a": 1}, ("a",)),
    ],
)
@pytest.mark.parametrize("field", SEVERAL)
def test_of_several_there_is_one_or_any_iterable_of_them(field: str, given: Any, kept: tuple[str | bytes, ...]) -> None:
    given = iter("ab") if kept == ("a", "b") and not isinstance(given, list) else given
    assert getattr(Envelope(**{field: given}), field) == kept


@pytest.mark.parametrize(
    ("given", "kept"), [(0, 0), (-1, 0), (-(2**70), 0), (2**64 - 1, 2**64 - 1), (2**64, 2**64 - 1), (2**70, 2**64 - 1)]
)
def test_a_size_beyond_64_bits_is_the_nearest_within(given: int, kept: int) -> None:
    assert Envelope(size=given).size == kept


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        *(
            (field, 5, f"{field}: found int; allowed: str or bytes")
            for field in ("client_name", "helo", "mail_from", "auth_user", "list_id")
        ),
        (
            "client_ip",
            5,
            "client_ip: found int; allowed: str, bytes, ipaddress.IPv4Address, ipaddress.IPv6Address or None",
        ),
        ("mail_from", bytearray(b"a"), "mail_from: found bytearray; allowed: str or bytes"),
        *((field, 5, f"{field}: found int; allowed: str, bytes, or an iterable of them") for field in SEVERAL),
        *((field, [None], f"{field}: found None; allowed: str or bytes") for field in SEVERAL),
        ("spf", b"pass", "spf: found bytes; allowed: str or None"),
        ("size", "5", "size: found str; allowed: int or None"),
        ("size", 5.0, "size: found float; allowed: int or None"),
    ],
)
def test_another_type_is_the_callers_mistake(field: str, value: Any, message: str) -> None:
    with pytest.raises(TypeError) as raised:
        Envelope(**{field: value})
    assert str(raised.value) == message


def test_what_an_iterable_of_recipients_raises_goes_through() -> None:
    def broken() -> Any:
        yield "a@b.com"
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Envelope(rcpt_to=broken())


def test_nobody_inherits_from_it() -> None:
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Mine", (Envelope,), {})
