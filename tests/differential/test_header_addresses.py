"""Addresses of header fields, as the two readers of Python's `email` see them: what both find is found here.

What only one of them finds is not compared: they differ from each other in every second broken field.
"""

from __future__ import annotations

import email.policy
import re
from email.utils import getaddresses
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spellings import ADDRESS, ADDRESSES, AROUND, spelled, spellings
from throttle import Envelope, Throttle

if TYPE_CHECKING:
    from collections.abc import Iterable

GUARD = Throttle(memory="8 MiB")
MANY = ("MANY",)

#: Hosts as our reader takes them: letters, digits, `-`, `_` and all beyond ASCII, or a literal.
HOST = re.compile(r"(?:[A-Za-z0-9_\-\u0100-\U0010FFFF]+\.)*[A-Za-z0-9_\-\u0100-\U0010FFFF]+|\[[0-9A-Fa-f:.]+\]")

_PIECES = (
    'joe@ex.com|<joe@ex.com>|"joe"@ex.com|"joe doe"@ex.com|ann.lee@b.org|joe @ ex.com|joe@(c)ex.com|a(c).b@ex.com|'
    'joe@[192.0.2.1]|joe@[IPv6:2001:db8::1]|jö@ex.com|joe@bücher.com|@|joe|ex.com|Joe|.|,|;|:|<|>|(|)|"|\\| |  |\r\n |'
    'team:|(c)|"q"|"a, b"|"a@b"|=?utf-8?q?joe?=|=?utf-8?b?am9l?=|[|]|[a]|\t'
)
FIELDS = st.lists(st.sampled_from(_PIECES.split("|")) | st.characters(codec="utf-8", max_codepoint=0x7F), max_size=12)


def parted(address: str) -> tuple[str, str]:
    """Local part without quotes, and host."""
    local, _, host = address.rpartition("@")
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = re.sub(r"\\(.)", r"\1", local[1:-1], flags=re.DOTALL)
    return local, host.lower().strip(".")


def ours(field: str) -> set[tuple[str, str]] | None:
    """The addresses that we find; `None` when there are too many, or none."""
    found = Envelope.from_message(b"From: " + field.encode() + b"\r\n\r\n").header_from
    return None if found == MANY else {parted(str(address)) for address in found}


def of_both(field: str) -> set[tuple[str, str]]:
    """The addresses that both readers of Python find, as far as a local part and a host of ours can be meant."""
    old = {parted(address) for _, address in getaddresses([field])}
    try:
        header = email.policy.default.header_factory("From", field.replace("\r\n", "").replace("\t", " "))
        new = {(each.username, each.domain.lower().strip(".")) for each in header.addresses}
    except Exception:  # noqa: BLE001 -- the new reader raises errors of every kind for broken fields
        return set()
    return {(local, host) for local, host in old & new if local and HOST.fullmatch(host) and "=?" not in local}


def without_backslashes(addresses: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Outside quotes a backslash is no letter to us, and one to the old reader."""
    return {(local.replace("\\", ""), host) for local, host in addresses}


@given(FIELDS.map("".join))
@settings(max_examples=1_500)
@example("joe@ex.com(c)<ann@b.org>")
@example('"joe" . doe@ex.com')
def test_what_both_readers_of_python_find_is_found(field: str) -> None:
    found = ours(field)
    if found is not None:
        # Words before an address are a phrase, which Python's readers take for the start of its local part.
        expected = {(local, host) for local, host in of_both(field) if local.isprintable() and " " not in local}
        missing = without_backslashes(expected) - without_backslashes(found)
        assert not missing, f"{field!r}: {found}"


def test_the_comparison_compares() -> None:
    fields = ["Joe <joe@ex.com>, ann@b.org", '"joe doe"@ex.com', "joe@(c)ex.com", "team: joe@ex.com;"]
    assert all(of_both(field) for field in fields)
    assert all(of_both(field) <= (ours(field) or set()) for field in fields)


def test_one_address_is_found_however_it_is_written() -> None:
    ways = list(spellings())
    assert len(ways) == len(ADDRESSES) * len(AROUND) > 600
    for way in ways:
        field = spelled(way, "q7xk")
        of_message = Envelope.from_message(b"Reply-To: " + field + b"\r\n\r\n")
        for envelope in (of_message, Envelope(reply_to=field), Envelope(header_from=field, reply_to="<>")):
            name = "from.address" if envelope.header_from else "reply_to.address"
            assert ADDRESS in GUARD.identities(envelope)[name], way
            assert "b.com" in GUARD.identities(envelope)["reply_to.mailbox"], way


def test_the_readers_of_python_miss_many_of_these_ways() -> None:
    """A reader that looks for the right address can be led astray: this is why ours looks for all of them."""
    missed = [
        way for way in spellings() if ("joe", "b.com") not in of_both(spelled(way, "q7xk").decode().replace("\0", ""))
    ]
    assert len(missed) > 200


# --- real fields ------------------------------------------------------------------------------------------------------

PEOPLE = ("Joe Doe", "Doe, Joe", "Dr. J. Doe (Office)", "Jörg Müller", "O'Neill", "joe@a.example", "Joe [Shop]", "J@S")

#: As mail programs, shops, lists and ticket systems write a From or Reply-To; {n} is a name.
REAL = (
    "{a}",
    "<{a}>",
    '"{n}" <{a}>',
    '"{n}"\r\n <{a}>',
    '"{n} via List" <{a}>',
    "\"'{n}'\" <{a}>",
    "=?utf-8?q?J=C3=B6rg_M=C3=BCller?= <{a}>",
    "=?UTF-8?B?SsO2cmcgTcO8bGxlcg==?=\r\n\t<{a}>",
    "=?iso-8859-1?Q?M=FCller=2C_J=F6rg?= <{a}>",
    "=?utf-8?q?J=C3=B6rg?= =?utf-8?q?_M=C3=BCller?= <{a}>",
    "Joe Doe <{a}>",
    "Joe Doe<{a}>",
    "{a} (Joe Doe)",
    "Shop: Orders <{a}>",
    '"{n}" <{a}>, "List" <list@lists.example.org>',
    "{a}, list@lists.example.org",
    "{a};",
    "[PROJECT-7] <{a}>",
    '"{n} \\"JD\\" x" <{a}>',
    "Joe Doe <{a}> ",
)
REAL_ADDRESSES = (
    "joe@example.com",
    "joe.doe+7@mail.example.co.uk",
    "bounce-7_joe=example.com@news.example.com",
    "reply+aec73d2f@reply.example.com",
    "no_reply@example-shop.com",
    "JOE@EXAMPLE.COM",
    "o'neill@example.ie",
    "prvs=0123456789=joe@example.com",
    "3kqzW@xn--bcher-kva.example",
    "jörg@bücher.example",
)


@pytest.mark.parametrize("real", REAL)
def test_no_real_field_is_lost_and_nothing_is_invented(real: str) -> None:
    for address in REAL_ADDRESSES:
        for name in PEOPLE:
            field = real.replace("{n}", name.replace('"', "")).replace("{a}", address)
            expected = {parted(address)} | ({("list", "lists.example.org")} if "list@" in field else set())
            assert ours(field) == expected, field


def messages_of_cpython() -> Iterable[bytes]:
    """The messages in the tests of CPython's `email` (PSF License 2), where the interpreter has its tests."""
    try:
        folder = files("test.test_email") / "data"
    except ModuleNotFoundError:
        pytest.skip("this Python comes without its tests")
    return [file.read_bytes() for file in folder.iterdir() if file.name.startswith("msg_")]


def test_no_field_of_cpythons_messages_is_lost() -> None:
    fields = 0
    for raw in messages_of_cpython():
        message = email.message_from_bytes(raw)
        envelope = Envelope.from_message(raw)
        for name, found in [("From", envelope.header_from), ("Reply-To", envelope.reply_to)]:
            texts = [str(text) for text in message.get_all(name, [])]
            expected = {parted(address) for _, address in getaddresses(texts) if "@" in address}
            fields += bool(expected)
            assert expected <= {parted(str(address)) for address in found}, texts
            assert not expected or len(found) == len(expected), texts
    assert fields > 30
