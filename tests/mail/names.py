"""Names and networks that kinds share: firms, persons, pools of addresses.

Invariant: a name or an address is a function of its number, so that whoever comes again is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

TLDS = ("com", "de", "co.uk", "org", "net", "fr", "nl", "com.br", "it", "eu", "pl", "io")
PERSONS = (
    "anna",
    "info",
    "office",
    "m.mueller",
    "jsmith",
    "sales",
    "chen.wei",
    "support",
    "p.dubois",
    "kontakt",
    "ivan",
    "maria",
)
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def firm(number: int) -> str:
    """A domain that someone registered."""
    return f"firm{number}.{TLDS[number % len(TLDS)]}"


def person(rng: random.Random) -> str:
    return PERSONS[int(rng.random() * len(PERSONS))]


def token(rng: random.Random, length: int = 16) -> str:
    """What nobody wrote by hand."""
    bits = rng.getrandbits(5 * length)
    return "".join([ALPHABET[bits >> shift & 31] for shift in range(0, 5 * length, 5)])


def hosts_of(networks: Iterable[str], first: int, last: int) -> tuple[str, ...]:
    """The addresses ``first`` … ``last`` of each network, given as its first three bytes or as an IPv6 prefix that ends
    in a colon.
    """
    return tuple(
        f"{network}{number:x}" if network.endswith(":") else f"{network}.{number}"
        for network in networks
        for number in range(first, last + 1)
    )


def rented(number: int) -> tuple[str]:
    """The one address of the server with that number: all stand in 10,000 networks of data centres,
    so that a network holds several.
    """
    network = number * 7919 % 10_000
    return (f"{60 + network // 2500}.{network % 2500 // 50}.{network % 50}.{1 + number // 10_000 % 254}",)
