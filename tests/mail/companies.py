"""Firms, schools and their servers: the long tail.

A sender has one host and one network, or a few; two thirds have an SPF record that passes. Fewer sign what they send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mail.kinds import Mail, kind, ranks
from mail.names import firm, hosts_of, person, rented, token
from mail.sizes import BOUNCES, LETTERS, LETTERS_OF_FIRMS, PLAIN_TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mail.message import Message


@kind(130, LETTERS_OF_FIRMS)
def small_companies(mail: Mail) -> Iterator[Message]:
    """Firms with a server of their own in some data centre; 200,000 of them write here at all. Three in five sign."""
    which = ranks(200_000, 0.8)
    for at in mail.steadily():
        number = 1_000_000 + which(mail.rng)
        name = firm(number)
        spf = "pass" if number % 3 else None
        yield mail.message(
            at,
            rented(number),
            f"{person(mail.rng)}@{name}",
            zone=name if number % 2 else None,
            spf=spf,
            rcpt_to=mail.mailboxes_of_a_letter(),
            dkim=name if number % 5 < 3 else (),
        )


@kind(80, LETTERS_OF_FIRMS)
def customers_of_hosters(mail: Mail) -> Iterator[Message]:
    """Small firms that send by their web hoster's relays, each firm an organisation.

    Ten hosters, three networks and 20,000 customers each. A third of the hosters sign with the customer's name, a
    third with their own, a third not at all.
    """
    pools = [hosts_of([f"81.{number}.{net}" for net in range(3)], 1, 30) for number in range(10)]
    hoster, which = ranks(10, 0.6), ranks(20_000, 0.8)
    for at in mail.steadily():
        number = hoster(mail.rng)
        customer = 2_000_000 + number * 20_000 + which(mail.rng)
        spf = "pass" if customer % 3 else None
        name = firm(customer)
        yield mail.message(
            at,
            pools[number],
            f"{person(mail.rng)}@{name}",
            zone=f"relay.hoster{number}.net",
            spf=spf,
            rcpt_to=mail.mailboxes_of_a_letter(),
            dkim=(name, f"hoster{number}.net", ())[number % 3],
        )


@kind(8, LETTERS_OF_FIRMS)
def small_firms_without_spf(mail: Mail) -> Iterator[Message]:
    """Small firms without SPF behind shared providers: craftsmen, clubs, practices.

    They send by the relays of a line, a town or an association: twenty of those with two networks each, 3,000 firms
    each. Nothing is proven of any, and nothing is signed.
    """
    pools = [hosts_of([f"89.{100 + number}.{net}" for net in range(2)], 10, 13) for number in range(20)]
    provider, which = ranks(20, 0.6), ranks(3_000, 0.8)
    for at in mail.steadily():
        number = provider(mail.rng)
        sender = f"{person(mail.rng)}@{firm(2_500_000 + number * 3_000 + which(mail.rng))}"
        to = mail.mailboxes_of_a_letter()
        yield mail.message(at, pools[number], sender, zone=f"smtp.region{number}.net", spf="none", rcpt_to=to)


@kind(40, LETTERS)
def large_companies(mail: Mail) -> Iterator[Message]:
    """Groups with networks of their own and, beside the main name, hosts for orders, invoices, alerts.

    1,000 of them. Nine in ten sign.
    """
    which = ranks(1_000, 0.7)
    hosts = ("", "", "", "", "mail.", "orders.", "invoice.", "alerts.", "eu.", "us.", "service.mail.")
    for at in mail.steadily():
        number = which(mail.rng)
        name = f"group{number}.com"
        pool = hosts_of([f"82.{number % 250}.{number // 250}"], 10, 18)
        sender = f"{person(mail.rng)}@{mail.rng.choice(hosts)}{name}"
        to = mail.mailboxes_of_a_letter()
        yield mail.message(at, pool, sender, zone=name, rcpt_to=to, dkim=name if number % 10 else ())


@kind(0.5, LETTERS)
def letters_to_everybody(mail: Mail) -> Iterator[Message]:
    """Groups, authorities and unions that write to all their people here at once.

    A transaction has 20 to 500 recipients, as Exchange makes them; a letter needs one to eight.
    """
    for at, number in mail.at_once(1, 8, (0.2, 2)):
        name = f"group{number * 17 % 1_000}.com"
        pool = hosts_of([f"82.{number * 17 % 1_000 % 250}.{number * 17 % 1_000 // 250}"], 10, 18)
        to = mail.some_mailboxes(20, 500)
        yield mail.message(at, pool, f"communication@{name}", zone=name, rcpt_to=to, dkim=name, mailing=number)


@kind(20, LETTERS_OF_FIRMS)
def universities(mail: Mail) -> Iterator[Message]:
    """Universities, many departments under one name, each with its server somewhere in the campus's networks.

    400 universities with up to 250 departments. Every second signs, for all departments with its own name.
    """
    which, department = ranks(400, 0.7), ranks(250, 0.7)
    for at in mail.steadily():
        number, unit = which(mail.rng), department(mail.rng)
        zone = f"uni{number}.{'edu' if number % 3 else 'de'}"
        host = zone if unit < 3 else f"{'' if unit % 2 else 'mail.'}dept{unit % (20 + number % 230)}.{zone}"
        client = f"{130 + number // 250}.{number % 250}.{unit % 64}.{25 + unit % 7}"
        yield mail.message(
            at,
            (client,),
            f"{person(mail.rng)}{unit}@{host}",
            zone=host,
            spf="pass" if number % 2 else None,
            rcpt_to=mail.mailboxes_of_a_letter(),
            dkim=zone if number // 2 % 2 else (),
        )


@kind(10, LETTERS_OF_FIRMS)
def batv(mail: Mail) -> Iterator[Message]:
    """Firms that sign their return path: `prvs=tag=user@firm`, another tag each day and user."""
    which = ranks(5_000, 0.8)
    for at in mail.steadily():
        number = 3_000_000 + which(mail.rng)
        name = firm(number)
        address = f"{person(mail.rng)}@{name}"
        sender = f"prvs={mail.rng.getrandbits(40):010x}={address}"
        yield mail.message(at, rented(number), sender, zone=name, header_from=address, dkim=name)


@kind(10, LETTERS_OF_FIRMS)
def servers_with_ipv6(mail: Mail) -> Iterator[Message]:
    """Small servers with a /64 of their own: a hoster's /32 holds thousands of them, two or three in one /48.

    To a server without IPv6 by IPv4. Three in four sign.
    """
    which = ranks(20_000, 0.8)
    for at in mail.steadily():
        number = 3_100_000 + which(mail.rng)
        six = (f"2a01:4f8:{number % 9_000:x}:{number // 9_000:x}::2",)
        name = firm(number)
        yield mail.message(
            at,
            six if mail.ipv6 else rented(number),
            f"{person(mail.rng)}@{name}",
            zone=name,
            rcpt_to=mail.mailboxes_of_a_letter(),
            dkim=name if number % 4 else (),
        )


@kind(8, LETTERS_OF_FIRMS)
def customers_in_one_48(mail: Mail) -> Iterator[Message]:
    """A hoster's customers in one /48: virtual machines that share it, or a /64 of it, with thousands of others.

    Four hosters, 4,000 customers each. Two give each machine a /64 of its own, two put 250 machines into one. To a
    server without IPv6 they come from forty IPv4 /24, a hundred customers in each. Half have SPF, half of these
    sign.
    """
    which = ranks(4_000, 0.7)
    for at in mail.steadily():
        hoster, machine = mail.rng.randrange(4), which(mail.rng)
        number = 3_150_000 + hoster * 4_000 + machine
        name = firm(number)
        if mail.ipv6:
            site, host = (machine, 1) if hoster % 2 else (machine // 250, machine % 250 + 1)
            client = f"2a0{hoster}:7c80:12:{site:x}::{host:x}"
        else:
            client = f"91.{hoster}.{machine // 100}.{machine % 100 + 10}"
        yield mail.message(
            at,
            (client,),
            f"{person(mail.rng)}@{name}",
            zone=f"vps.host{hoster}.net" if machine % 3 else None,
            spf="pass" if machine % 2 else "none",
            rcpt_to=mail.mailboxes_of_a_letter(),
            dkim=name if machine % 4 == 1 else (),
        )


@kind(15, LETTERS_OF_FIRMS)
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


@kind(25, BOUNCES)
def bounces(mail: Mail) -> Iterator[Message]:
    """Reports to those who wrote from here, and vacation notes: the null sender, from anybody's server.

    The large providers' are among them. A report is from a program, a note, one in three, from a person. Every
    second server signs them.
    """
    which = ranks(100_000, 0.7)
    for at in mail.steadily():
        number = which(mail.rng)
        pool = hosts_of([f"40.107.{number % 30}"], 30, 60) if number % 4 == 0 else rented(1_000_000 + number)
        name = firm(number)
        author = person(mail.rng) if mail.rng.random() < 0.33 else "postmaster" if number % 4 == 0 else "MAILER-DAEMON"
        yield mail.message(
            at,
            pool,
            "" if number % 2 else "<>",
            zone=name,
            header_from=f"{author}@{name}",
            dkim=name if number % 4 < 2 else (),
        )


@kind(10, PLAIN_TEXTS)
def unsigned_appointments_and_tickets(mail: Mail) -> Iterator[Message]:
    """Doctors, railways, theatres: one organisation, one constant host, a local part for each message.

    Half of them have SPF, none signs.
    """
    which = ranks(3_000, 0.8)
    for at in mail.steadily():
        number = 3_300_000 + which(mail.rng)
        spf = "pass" if number % 2 else "softfail"
        name = firm(number)
        sender = f"ticket-{token(mail.rng, 10)}@book.{name}"
        booked = f"booking@{name}"
        yield mail.message(at, rented(number), sender, spf=spf, header_from=booked, reply_to=f"noreply@{name}")
