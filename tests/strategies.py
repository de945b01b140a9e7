"""Hypothesis strategies: text as a sender may write it, envelopes of it, rates as an operator may.

It knows what is legal only to be able to miss it. Invariant: everything drawn is something that `Envelope` takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from throttle import Envelope

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

_PIECES = (
    '@ . .. + - _ < > <> " \\ [ ] : , ; ( ) % = == \x00 \r\n \r\n. \t [IPv6: ::1 ::ffff:192.0.2.1 192.0.2.1 '
    "fe80::1%eth0 "
    "prvs=0123456789= msprvs1=0123= btv1==0== SRS0=HHH=TT= SRS1=HHH=fwd.com==HHH=TT= b+al=ex.org xn-- xn--a "
    "xn--mnchen-3ya "
    "com co.uk github.io ck www.ck invalid localhost salesforce.com postmaster unknown NULL MALFORMED LITERAL "
    "ü İ ß ſ K ｅx。com аpple.com e\u0301 \u0301 \u200d \u202e \ufeff \U0001f4e7 \udc80 \udcff \ud800 \udfff"
)

PIECE = st.sampled_from(_PIECES.split(" ")) | st.text(max_size=3) | st.characters(categories=["Cs", "Mn", "Cc", "Ll"])

LONG = st.builds(
    lambda piece, times: piece * times,
    st.sampled_from(["a", "a.", ".", "+", "@", "ü", "\udc80"]),
    st.sampled_from([63, 64, 127, 128, 254, 900]),
)

SURROGATES = st.text(st.characters(), max_size=40)  # all of Unicode, lone surrogates among it

HOSTILE = st.lists(PIECE | LONG, max_size=12).map("".join) | SURROGATES

TEXT: SearchStrategy[str | bytes] = (
    HOSTILE | st.binary(max_size=60) | HOSTILE.map(lambda text: text.encode(errors="surrogatepass"))
)

FIELD = st.none() | TEXT

_FIELDS = (
    "From: \x00Reply-To: \x00List-Id: \x00from:\x00Subject: x\r\n\x00\r\n\x00\n\x00\n "
    "\x00\r\x00=?utf-8?q?\x00=?utf-8?b?\x00=?utf-7?q?\x00?=\x00=C3\x00"
    'team:\x00;\x00,\x00<\x00>\x00(\x00)\x00"\x00\\\x00joe@ex.com\x00<joe@ex.com>\x00<list.ex.com>\x00\r\n\r\n'
)

HEADERS = st.lists(  # of a message, as nobody should write them
    st.sampled_from([field.encode() for field in _FIELDS.split("\x00")])
    | st.binary(max_size=4)
    | HOSTILE.map(lambda text: text.encode(errors="surrogatepass")),
    max_size=30,
).map(b"".join)


def envelopes(**fields: Any) -> SearchStrategy[Envelope]:
    """Envelopes with anything in every field; `fields` replaces the strategies of some."""
    drawn = {
        "client_ip": FIELD,
        "client_name": FIELD,
        "helo": FIELD,
        "mail_from": FIELD,
        "rcpt_to": st.none() | TEXT | st.lists(TEXT, max_size=20),
        "auth_user": FIELD,
        "spf": st.none() | st.sampled_from(["pass", "FAIL", "neutral", ""]) | SURROGATES,
        "header_from": st.none() | TEXT | st.lists(TEXT, max_size=10),
        "reply_to": st.none() | TEXT | st.lists(TEXT, max_size=10),
        "list_id": FIELD,
        "dkim": st.just(()) | TEXT | st.lists(TEXT, max_size=10),
        "size": st.none() | st.integers() | st.integers(-(2**80), 2**80),
    }
    return st.builds(Envelope, **(drawn | fields))


RATES = st.builds(
    "{}/{}".format,
    st.sampled_from([1, 2, 3, 7, 60, 1000, 1_000_000]) | st.integers(1, 1_000_000),
    st.sampled_from(["second", "7 seconds", "minute", "10 minutes", "hour", "day", "30 days", "366 days"]),
)
