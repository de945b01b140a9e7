"""P7: spellings of one sender are one key, and two senders never are."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from hypothesis import assume, given
from hypothesis import strategies as st

from given_guards import IDENTITIES, guard, limit
from strategies import HOSTILE
from throttle import Envelope, RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = guard(*(limit(f"by-{number}", name) for number, name in enumerate(IDENTITIES)))

LABEL = st.from_regex(r"[a-z0-9_](-?[a-z0-9]){0,8}", fullmatch=True)

HOST = st.builds(
    lambda labels, suffix: ".".join([*labels, suffix]),
    st.lists(LABEL, min_size=1, max_size=6),
    st.sampled_from(["com", "co.uk", "github.io", "org"]),
)

# Nothing that means something: what begins as a tag of its own is another test's.
LOCAL = st.from_regex(r"[a-z0-9é](?:[a-z0-9.é_-]{0,20}[a-z0-9é])?", fullmatch=True)

SPELLINGS: list[Callable[[str, str], str]] = [
    lambda local, host: f"{local}@{host}",
    lambda local, host: f"<{local}@{host}>",
    lambda local, host: f"  <{local}@{host}.>\r\n",
    lambda local, host: f"{local.upper()}@{host.upper()}",
    lambda local, host: f"{local}+tag@{host}",
    lambda local, host: f"{local}+al=ex.org@{host}",
    lambda local, host: f'"{local}"@{host}',
    lambda local, host: f"<@relay.net,@b.org:{local}@{host}>",
    lambda local, host: f"prvs=0123456789={local}@{host}",
    lambda local, host: f"prvs=0123456789=msprvs1=abc={local}@{host}",
    lambda local, host: f"btv1==0123==={local}@{host}".replace("===", "=="),
    lambda local, host: f"{unicodedata.normalize('NFD', local)}@{host}",
    lambda local, host: f"{local}@{host.replace('.', '。')}",
    lambda local, host: f"{local}@" + "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in host),
]


def sender(path: str | bytes, client_name: str | None = None) -> dict[str, str | tuple[str, ...]]:
    return ALL.identities(Envelope(mail_from=path, rcpt_to=path, client_name=client_name))


@given(local=LOCAL, host=HOST, spelling=st.sampled_from(SPELLINGS))
def test_spellings_of_an_address_are_one_sender_and_one_recipient(
    local: str, host: str, spelling: Callable[[str, str], str]
) -> None:
    plain = sender(f"{local}@{host}")
    assert plain["sender.address"] == f"{local}@{host}"
    assert sender(spelling(local, host)) == plain
    assert sender(spelling(local, host).encode()) == plain


@given(local=LOCAL, host=HOST, spelling=st.sampled_from(SPELLINGS))
def test_spellings_of_an_address_share_a_bucket(local: str, host: str, spelling: Callable[[str, str], str]) -> None:
    pace = guard(limit("pace", "sender.address", "1/day"), memory="128 KiB")
    assert pace.check(Envelope(mail_from=f"{local}@{host}"))
    refused = pace.check(Envelope(mail_from=spelling(local, host)))
    assert refused.key == f"{local}@{host}"


@given(text=HOSTILE)
def test_a_str_and_its_bytes_are_one(text: str) -> None:
    assume(
        not any("\ud800" <= char < "\udc80" or "\udd00" <= char <= "\udfff" for char in text)
    )  # no octets stand behind these
    octets = text.encode(errors="surrogateescape")

    def everywhere(form: Any) -> dict[str, Any]:
        return ALL.identities(
            Envelope(client_ip=form, client_name=form, helo=form, mail_from=form, rcpt_to=form, auth_user=form)
        )

    assert everywhere(octets) == everywhere(text)
    limiter = RateLimiter("1/day", memory="8 KiB")
    assert limiter.hit(text)
    assert not limiter.hit(octets)


@given(ours=st.tuples(LOCAL, HOST), theirs=st.tuples(LOCAL, HOST))
def test_two_senders_are_two(ours: tuple[str, str], theirs: tuple[str, str]) -> None:
    assume(ours != theirs)
    pace = guard(limit("pace", "sender.address", "1/day"), memory="128 KiB")
    assert pace.check(Envelope(mail_from="@".join(ours)))
    assert pace.check(Envelope(mail_from="@".join(theirs)))


def test_one_client_has_many_spellings() -> None:
    same: list[list[str | bytes | None]] = [
        [
            "192.0.2.1",
            " 192.0.2.1 ",
            "[192.0.2.1]",
            "::ffff:192.0.2.1",
            "::FFFF:c000:201",
            b"192.0.2.1",
            "IPv6:::ffff:192.0.2.1",
        ],
        ["2001:db8::1", "2001:DB8:0:0::1", "[2001:db8::1]", "[IPv6:2001:db8::1]", "2001:db8::1%eth0"],
        [None, "", "unknown", "192.0.2", "300.1.1.1", b"\xff", "1.2.3.4.5"],
    ]
    for spellings in same:
        assert len({str(ALL.identities(Envelope(client_ip=spelling))) for spelling in spellings}) == 1
