"""Mailbox providers: few names, many networks, SPF passes.

Google sends to a server with an AAAA record from `2a00:1450:4864::/48` in Europe and `2607:f8b0:4864::/48` in America,
Microsoft from `2a01:111:f403::/48`:
all that each of them has for the server comes from one network of 48 bits. Over IPv4 Google uses some fifteen /24 of
`209.85.128.0/17`, Microsoft
many more of `40.92.0.0/15` and `40.107.0.0/16`. Mailbox providers make up about half of what businesses and persons
receive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mail.kinds import Mail, kind, ranks
from mail.names import firm, hosts_of, person, token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mail.message import Message

GOOGLE = hosts_of(
    [f"209.85.{net}" for net in (128, 160, 161, 166, 167, 208, 210, 214, 215, 216, 217, 218, 219, 221, 222)], 41, 54
)
GOOGLE_6 = hosts_of(["2a00:1450:4864:20::"], 0x131, 0x330)
MICROSOFT = hosts_of([f"40.{second}.{third}" for second in (92, 93, 107) for third in range(10, 40)], 30, 110)
MICROSOFT_6 = hosts_of([f"2a01:111:f403:26{net:02x}::" for net in range(0x20)], 0x600, 0x62F)

#: Mailbox providers beside the two largest, and how many networks each of them sends from.
OTHERS = (
    ("yahoo.com", 24), ("icloud.com", 12), ("gmx.net", 3), ("web.de", 3), ("aol.com", 6), ("t-online.de", 2),
    ("orange.fr", 4), ("libero.it", 3), ("mail.ru", 6), ("qq.com", 12), ("proton.me", 3), ("seznam.cz", 2),
)  # fmt: skip


def google(mail: Mail) -> tuple[str, ...]:
    return GOOGLE_6 if mail.ipv6 else GOOGLE


def microsoft(mail: Mail) -> tuple[str, ...]:
    return MICROSOFT_6 if mail.ipv6 else MICROSOFT


@kind(110)
def gmail(mail: Mail) -> Iterator[Message]:
    """Persons at the largest provider."""
    for at in mail.steadily():
        sender = f"{person(mail.rng)}{mail.rng.randrange(100_000)}@gmail.com"
        yield mail.message(at, google(mail), sender, zone="google.com")


@kind(60)
def outlook_com(mail: Mail) -> Iterator[Message]:
    """Persons at the second largest, under four names."""
    names = ("outlook.com", "hotmail.com", "live.com", "msn.com")
    for at in mail.steadily():
        sender = f"{person(mail.rng)}{mail.rng.randrange(100_000)}@{mail.rng.choice(names)}"
        yield mail.message(at, microsoft(mail), sender, zone="outbound.protection.outlook.com")


@kind(60)
def other_mailbox_providers(mail: Mail) -> Iterator[Message]:
    """A dozen more; their hosts carry their own name."""
    pools = [
        hosts_of([f"77.{10 + number}.{net}" for net in range(nets)], 20, 60) for number, (_, nets) in enumerate(OTHERS)
    ]
    which = ranks(len(OTHERS), 0.9)
    for at in mail.steadily():
        number = which(mail.rng)
        name = OTHERS[number][0]
        yield mail.message(at, pools[number], f"{person(mail.rng)}{mail.rng.randrange(100_000)}@{name}", zone=name)


@kind(140)
def microsoft_365_customers(mail: Mail) -> Iterator[Message]:
    """Firms with their mail at Microsoft: each an organisation of its own, all from the same networks.

    100,000 of them write here at all.
    """
    which = ranks(100_000, 0.9)
    for at in mail.steadily():
        sender = f"{person(mail.rng)}@{firm(which(mail.rng))}"
        yield mail.message(at, microsoft(mail), sender, zone="outbound.protection.outlook.com")


@kind(80)
def google_workspace_customers(mail: Mail) -> Iterator[Message]:
    """Firms with their mail at Google, as above; 60,000 of them."""
    which = ranks(60_000, 0.9)
    for at in mail.steadily():
        sender = f"{person(mail.rng)}@{firm(200_000 + which(mail.rng))}"
        yield mail.message(at, google(mail), sender, zone="google.com")


@kind(30)
def customers_of_access_providers(mail: Mail) -> Iterator[Message]:
    """Persons who write by the relays of the company that brings them the line."""
    pools = [hosts_of([f"78.{number}.{net}" for net in range(2)], 1, 6) for number in range(40)]
    which = ranks(40, 0.7)
    for at in mail.steadily():
        number = which(mail.rng)
        sender = f"{person(mail.rng)}{mail.rng.randrange(10_000)}@access{number}.net"
        yield mail.message(at, pools[number], sender, zone=f"access{number}.net")


@kind(1)
def servers_on_customers_lines(mail: Mail) -> Iterator[Message]:
    """Boxes at home that send as root of the line's own reverse name: proven by it, and each a host of its own below
    the provider. 40 × 2,000.
    """
    for at in mail.steadily():
        number, line = mail.rng.randrange(40), mail.rng.randrange(2_000)
        zone = f"dyn.access{number}.net"
        client = f"79.{number}.{line // 200}.{1 + line % 200}"
        yield mail.message(at, (client,), f"root@{client.replace('.', '-')}.{zone}", zone=zone, spf=None)


@kind(5)
def calendars(mail: Mail) -> Iterator[Message]:
    """Invitations and reminders: a fresh local part each, the provider's constant host, more of them just before the
    full hour.
    """
    for at, number in mail.at_once(1, 60, (1, 3)):
        sender = f"3{token(mail.rng, 40)}@calendar-server.bounces.google.com"
        organiser = f"u{number}@{firm(200_000 + number % 60_000)}"
        yield mail.message(at, google(mail), sender, zone="google.com", reply_to=organiser)
