"""Firms, schools and their servers: the long tail.

A sender has one host and one network, or a few; two thirds have an SPF record that passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mail.kinds import Mail, kind, ranks
from mail.names import firm, hosts_of, person, rented, token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mail.message import Message


@kind(130)
def small_companies(mail: Mail) -> Iterator[Message]:
    """A server of their own in some data centre; 200,000 of them write here at all."""
    which = ranks(200_000, 0.8)
    for at in mail.steadily():
        number = 1_000_000 + which(mail.rng)
        name = firm(number)
        spf = "pass" if number % 3 else None
        yield mail.message(at, rented(number), f"{person(mail.rng)}@{name}", zone=name if number % 2 else None, spf=spf)


@kind(80)
def customers_of_hosters(mail: Mail) -> Iterator[Message]:
    """Small firms that send by their web hoster's relays: ten hosters, three networks each, 20,000 customers each,
    of whom each is an organisation.
    """
    pools = [hosts_of([f"81.{number}.{net}" for net in range(3)], 1, 30) for number in range(10)]
    hoster, which = ranks(10, 0.6), ranks(20_000, 0.8)
    for at in mail.steadily():
        number = hoster(mail.rng)
        customer = 2_000_000 + number * 20_000 + which(mail.rng)
        spf = "pass" if customer % 3 else None
        zone = f"relay.hoster{number}.net"
        yield mail.message(at, pools[number], f"{person(mail.rng)}@{firm(customer)}", zone=zone, spf=spf)


@kind(40)
def large_companies(mail: Mail) -> Iterator[Message]:
    """Their own networks, and beside the main name some hosts for orders, invoices, alerts; 1,000 of them."""
    which = ranks(1_000, 0.7)
    hosts = ("", "", "", "", "mail.", "orders.", "invoice.", "alerts.", "eu.", "us.", "service.mail.")
    for at in mail.steadily():
        number = which(mail.rng)
        name = f"group{number}.com"
        pool = hosts_of([f"82.{number % 250}.{number // 250}"], 10, 18)
        yield mail.message(at, pool, f"{person(mail.rng)}@{mail.rng.choice(hosts)}{name}", zone=name)


@kind(20)
def universities(mail: Mail) -> Iterator[Message]:
    """Many departments under one name, each with its server somewhere in the campus's networks:
    400 universities with up to 250 departments.
    """
    which, department = ranks(400, 0.7), ranks(250, 0.7)
    for at in mail.steadily():
        number, unit = which(mail.rng), department(mail.rng)
        zone = f"uni{number}.{'edu' if number % 3 else 'de'}"
        host = zone if unit < 3 else f"{'' if unit % 2 else 'mail.'}dept{unit % (20 + number % 230)}.{zone}"
        client = f"{130 + number // 250}.{number % 250}.{unit % 64}.{25 + unit % 7}"
        spf = "pass" if number % 2 else None
        yield mail.message(at, (client,), f"{person(mail.rng)}{unit}@{host}", zone=host, spf=spf)


@kind(10)
def batv(mail: Mail) -> Iterator[Message]:
    """Firms that sign their return path: `prvs=tag=user@firm`, another tag each day and user."""
    which = ranks(5_000, 0.8)
    for at in mail.steadily():
        number = 3_000_000 + which(mail.rng)
        sender = f"prvs={mail.rng.getrandbits(40):010x}={person(mail.rng)}@{firm(number)}"
        yield mail.message(at, rented(number), sender, zone=firm(number))


@kind(10)
def servers_with_ipv6(mail: Mail) -> Iterator[Message]:
    """A small server with a /64 of its own; a hoster's /32 holds thousands of them, two or three in one /48.

    To a server without IPv6 by IPv4.
    """
    which = ranks(20_000, 0.8)
    for at in mail.steadily():
        number = 3_100_000 + which(mail.rng)
        six = (f"2a01:4f8:{number % 9_000:x}:{number // 9_000:x}::2",)
        yield mail.message(
            at, six if mail.ipv6 else rented(number), f"{person(mail.rng)}@{firm(number)}", zone=firm(number)
        )


@kind(15)
def odd_helo_names(mail: Mail) -> Iterator[Message]:
    """Servers that greet with what their maker left: `localhost`, a Windows name, an address, somebody else's name."""
    which = ranks(20_000, 0.8)
    for at in mail.steadily():
        number = 3_200_000 + which(mail.rng)
        pool = rented(number)
        helo = (
            "localhost",
            "localhost.localdomain",
            f"WIN-{number:X}",
            f"[{pool[0]}]",
            pool[0],
            "mail",
            "server.local",
        )[number % 7]
        yield mail.message(at, pool, f"{person(mail.rng)}@{firm(number)}", helo=helo, spf=None)


@kind(25)
def bounces(mail: Mail) -> Iterator[Message]:
    """Reports to those who wrote from here, and vacation notes: the null sender, from anybody's server,
    the large providers' among them.
    """
    which = ranks(100_000, 0.7)
    for at in mail.steadily():
        number = which(mail.rng)
        pool = hosts_of([f"40.107.{number % 30}"], 30, 60) if number % 4 == 0 else rented(1_000_000 + number)
        yield mail.message(at, pool, "" if number % 2 else "<>", zone=firm(number))


@kind(10)
def unsigned_appointments_and_tickets(mail: Mail) -> Iterator[Message]:
    """Doctors, railways, theatres: one organisation, one constant host, a local part for each message,
    SPF for half of them.
    """
    which = ranks(3_000, 0.8)
    for at in mail.steadily():
        number = 3_300_000 + which(mail.rng)
        spf = "pass" if number % 2 else "softfail"
        sender = f"ticket-{token(mail.rng, 10)}@book.{firm(number)}"
        yield mail.message(at, rented(number), sender, spf=spf, reply_to=f"noreply@{firm(number)}")
