"""Hundreds of ways to write one address into a header field so that mail programs still see it.

A way has places for the address and for text that changes with each message. Both kinds of rows were written for this
file: broken forms that one reader or another takes, and legal ones (RFC 5322 §3.4, RFC 2047).
Invariant: whatever changes, ``joe@b.com`` is one of the addresses that can be seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS = "joe@b.com"

#: The address itself.
ADDRESSES = (
    "joe@b.com",
    "JOE@B.COM",
    "joe+{r}@b.com",
    '"joe"@b.com',
    '"jo\\e"@b.com',
    '"joe+{r}"@b.com',
    "joe @ b.com",
    "joe({r})@({r})b.com",
    "joe@\r\n b.com",
    "joe@b.com.",
    "=?utf-8?q?joe?=@b.com",
    "=?x-{r}?Q?=6Aoe?=@b.com",
    "=?utf-8?b?am9l?=@b.com",
    "joe@({r}\\))b.({r})com",
)

#: What stands around it.
AROUND = (
    "{a}",
    "<{a}>",
    "{r} <{a}>",
    '"{r}" <{a}>',
    '"{r}, <x>" <{a}>',
    "'{r}' <{a}>",
    "=?utf-8?q?{r}?= <{a}>",
    "({r}) {a}",
    "{a} ({r})",
    "({r} ({r})) <{a}>",
    "{r}: {a};",
    "{r}: x@{r}, {a};",
    "<@{r},@{r}:{a}>",
    "{a}, {r}@z.com",
    "{r}@z.com, {a}",
    ",,{a},,{r}",
    "{r}\r\n\t<{a}>",
    "{p} <{a}>",
    '"{p}" <{a}>',
    # broken
    "<{a}>@{r}",
    "{a} {r}@z.com",
    "<{a}, {r}@z.com>",
    "<{a}> {r}",
    "{a} {r}",
    "{a}>{r}",
    "{a} :{r};",
    "{a}; {r}@z.com",
    "<{a}\0{r}>",
    "{r}\0<{a}>",
    "\x1b{r}\x1b{a}",
    "<<{a}>>",
    "<{a}",
    "{r} <{a}",
    "{r}><{a}",
    '"{r} <{a}>',
    "({r} <{a}>",
    "{r}) <{a}>",
    "[{r}] {a}",
    "[{r} {a}]",
    "{a} [{r}]",
    "mailto:{a}?subject={r}",
    "<mailto:{a}>",
    "{a}\u00a0{r}",
    "{a}\r{r}",
    "{a} <{r}>",
    "{a} <{a}> {r}",
    "{r}; {a}",
    "@{r} {a}",
)


def spellings() -> Iterator[str]:
    """Every way, with ``{r}`` where text changes."""
    for around in AROUND:
        for address in ADDRESSES:
            yield around.replace("{a}", address).replace("{p}", "{r} " * 1_024)


def spelled(spelling: str, changing: str) -> bytes:
    """The field's text of one message."""
    return spelling.replace("{r}", changing).encode()
