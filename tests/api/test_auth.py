"""`throttle.auth`: only the headers of a server that is trusted prove anything, and none raises."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings

from strategies import HEADERS, TEXT
from throttle import Envelope, Throttle
from throttle.auth import with_results

ENVELOPE = Envelope(client_ip="192.0.2.1", mail_from="a@ex.com", size=7)
MX = "mx.example.net"


def results(*fields: str, envelope: Envelope = ENVELOPE) -> tuple[str | None, tuple[str | bytes, ...]]:
    message = "".join(f"Authentication-Results: {field}\r\n" for field in fields) + "From: a@b.com\r\n\r\nbody"
    read = with_results(envelope, message.encode(), authserv_id=MX)
    assert read.replace(spf=None, dkim=()) == envelope.replace(spf=None, dkim=())
    return read.spf, read.dkim


@pytest.mark.parametrize(
    ("fields", "spf", "dkim"),
    [
        (
            ["mx.example.net; spf=pass smtp.mailfrom=a@ex.com; dkim=pass header.d=ex.com header.s=s"],
            "pass",
            ("ex.com",),
        ),
        (["MX.Example.NET;\r\n\tspf=fail (not me) smtp.mailfrom=ex.com"], "fail", ()),
        (["mx.example.net 1; spf=softfail"], "softfail", ()),
        (["mx.example.net; none"], None, ()),
        # verdicts on HELO are none on the sender
        (["mx.example.net; spf=pass smtp.helo=mx.ex.com"], None, ()),
        (["mx.example.net; spf=pass smtp.helo=ex.com; spf=fail smtp.mailfrom=ex.com"], "fail", ()),
        # several: the topmost verdict, all signatures
        (
            ["mx.example.net; spf=fail smtp.mailfrom=a@b.c", "mx.example.net; spf=pass; dkim=pass header.d=a.com"],
            "fail",
            ("a.com",),
        ),
        (
            ["mx.example.net; dkim=pass header.d=a.com; dkim=pass header.d=b.com; dkim=pass header.d=a.com"],
            None,
            ("a.com", "b.com"),
        ),
        # signatures that did not hold, or say no domain
        (
            ["mx.example.net; dkim=fail header.d=a.com; dkim=neutral header.d=b.com; dkim=pass header.i=@c.com"],
            None,
            (),
        ),
        # other names
        (["evil.net; spf=pass; dkim=pass header.d=gmail.com"], None, ()),
        (["mx.example.net.evil.net; spf=pass"], None, ()),
        (["x.mx.example.net; spf=pass", "mx.example; spf=pass", "(mx.example.net) evil.net; spf=pass"], None, ()),
        (["evil.net; spf=pass mx.example.net; spf=pass", "evil.net; spf=pass", "mx.example.net; spf=fail"], "fail", ()),
        # broken
        (
            [
                "mx.example.net",
                "mx.example.net;",
                "mx.example.net 2; spf=pass",
                "mx.example.net; spf",
                "; spf=pass",
                "",
            ],
            None,
            (),
        ),
        (["mx.example.net; " + "(" * 3000], None, ()),
    ],
)
def test_what_a_trusted_server_found_is_read(fields: list[str], spf: str | None, dkim: tuple[str, ...]) -> None:
    assert results(*fields) == (spf, dkim)


def test_what_no_header_tells_of_stays() -> None:
    known = ENVELOPE.replace(spf="pass", dkim=["ex.com"])
    assert results("evil.net; spf=fail", envelope=known) == ("pass", ("ex.com",))
    assert results("mx.example.net; spf=fail", envelope=known) == ("fail", ("ex.com",))
    assert results("mx.example.net; dkim=pass header.d=b.com", envelope=known) == ("pass", ("b.com",))


def test_a_body_has_no_results() -> None:
    message = f"From: a@b.com\n\nAuthentication-Results: {MX}; spf=pass\n".encode()
    assert with_results(ENVELOPE, message, authserv_id=MX) == ENVELOPE


def test_what_was_found_proves_the_sender_and_the_signer() -> None:
    guard = Throttle(memory="4 MiB")
    message = f"Authentication-Results: {MX}; dkim=pass header.d=mail.ex.com\n".encode()
    assert guard.identities(with_results(ENVELOPE, message, authserv_id=MX))["dkim.org"] == ("ex.com",)


@given(header=HEADERS, value=TEXT)
@settings(max_examples=300)
def test_nothing_raises(header: bytes, value: str | bytes) -> None:
    octets = value.encode(errors="surrogatepass") if isinstance(value, str) else value
    message = header + b"Authentication-Results: mx.example.net; " + octets + b"\r\n" + header
    with_results(ENVELOPE, message, authserv_id=MX)
    with pytest.raises(TypeError, match="message: found str; allowed: bytes"):
        with_results(ENVELOPE, "From: a@b.com", authserv_id=MX)  # type: ignore[arg-type]


def test_results_by_the_thousand_and_a_large_message_take_no_more_than_a_moment() -> None:
    forged = b"Authentication-Results: evil.net; " + b"a=b " * 1000 + b"\n"
    long = b"Authentication-Results: mx.example.net; " + b"a=b " * 100_000 + b"\n"
    start = time.perf_counter()
    assert with_results(ENVELOPE, forged * 60 + long, authserv_id=MX) == ENVELOPE
    assert with_results(ENVELOPE, b"From: a@b.com\n\n" + b"x" * 10_000_000, authserv_id=MX) == ENVELOPE
    assert time.perf_counter() - start < 1
