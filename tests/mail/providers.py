"""Mailbox providers: few names, many networks, SPF passes.

Google sends to a server with an AAAA record from `2a00:1450:4864::/48` in Europe and `2607:f8b0:4864::/48` in America,
Microsoft from `2a01:111:f403::/48`:
all that each of them has for the server comes from one network of 48 bits. Over IPv4 Google uses some fifteen /24 of
`209.85.128.0/17`, Microsoft
many more of `40.92.0.0/15` and `40.107.0.0/16`. Mailbox providers make up about half of what businesses and persons
receive.

Both sign for a customer who has published no key with a name of their own: Google with
`firm-com.20230601.gappssmtp.com`, Microsoft with `firm.onmicrosoft.com`. How many have published one is an assumption:
every second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mail.kinds import Mail, kind, ranks
from mail.names import firm, hosts_of, person, token
from mail.sizes import INVITATIONS, LETTERS, LETTERS_OF_FIRMS, LETTERS_OF_GMAIL, PLAIN_TEXTS

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


def signature_at_google(number: int) -> str:
    """The domain that Google signs with for the firm of that number."""
    name = firm(number)
    return name if number % 2 else f"{name.replace('.', '-')}.20230601.gappssmtp.com"


def signature_at_microsoft(number: int) -> str:
    """The domain that Microsoft signs with for the firm of that number."""
    return firm(number) if number % 2 else f"firm{number}.onmicrosoft.com"


@kind(110, LETTERS_OF_GMAIL)
def gmail(mail: Mail) -> Iterator[Message]:
    """Persons at Gmail, the largest provider."""
    for at in mail.steadily():
        sender = f"{person(mail.rng)}{mail.rng.randrange(100_000)}@gmail.com"
        to = mail.mailboxes_of_a_letter()
        yield mail.message(at, google(mail), sender, zone="google.com", rcpt_to=to, dkim="gmail.com")


@kind(60, LETTERS)
def outlook_com(mail: Mail) -> Iterator[Message]:
    """Persons at Microsoft, the second largest provider, under four names."""
    names = ("outlook.com", "hotmail.com", "live.com", "msn.com")
    for at in mail.steadily():
        name = mail.rng.choice(names)
        sender = f"{person(mail.rng)}{mail.rng.randrange(100_000)}@{name}"
        to = mail.mailboxes_of_a_letter()
        yield mail.message(at, microsoft(mail), sender, zone="outbound.protection.outlook.com", rcpt_to=to, dkim=name)


@kind(60, LETTERS)
def other_mailbox_providers(mail: Mail) -> Iterator[Message]:
    """Persons at a dozen more providers, whose hosts carry the provider's name."""
    pools = [
        hosts_of([f"77.{10 + number}.{net}" for net in range(nets)], 20, 60) for number, (_, nets) in enumerate(OTHERS)
    ]
    which = ranks(len(OTHERS), 0.9)
    for at in mail.steadily():
        number = which(mail.rng)
        name = OTHERS[number][0]
        sender = f"{person(mail.rng)}{mail.rng.randrange(100_000)}@{name}"
        yield mail.message(at, pools[number], sender, zone=name, rcpt_to=mail.mailboxes_of_a_letter(), dkim=name)


@kind(140, LETTERS)
def microsoft_365_customers(mail: Mail) -> Iterator[Message]:
    """Firms with their mail at Microsoft: each an organisation of its own, all from the same networks.

    100,000 of them write here at all.
    """
    which = ranks(100_000, 0.9)
    for at in mail.steadily():
        number = which(mail.rng)
        yield mail.message(
            at,
            microsoft(mail),
            f"{person(mail.rng)}@{firm(number)}",
            zone="outbound.protection.outlook.com",
            rcpt_to=mail.mailboxes_of_a_letter(),
            dkim=signature_at_microsoft(number),
        )


@kind(80, LETTERS_OF_GMAIL)
def google_workspace_customers(mail: Mail) -> Iterator[Message]:
    """Firms with their mail at Google: each an organisation of its own, all from the same networks; 60,000 of them."""
    which = ranks(60_000, 0.9)
    for at in mail.steadily():
        number = 200_000 + which(mail.rng)
        yield mail.message(
            at,
            google(mail),
            f"{person(mail.rng)}@{firm(number)}",
            zone="google.com",
            rcpt_to=mail.mailboxes_of_a_letter(),
            dkim=signature_at_google(number),
        )


@kind(30, LETTERS_OF_FIRMS)
def customers_of_access_providers(mail: Mail) -> Iterator[Message]:
    """Persons who write by the relays of the company that brings them the line. Two in three of these sign."""
    pools = [hosts_of([f"78.{number}.{net}" for net in range(2)], 1, 6) for number in range(40)]
    which = ranks(40, 0.7)
    for at in mail.steadily():
        number = which(mail.rng)
        name = f"access{number}.net"
        sender = f"{person(mail.rng)}{mail.rng.randrange(10_000)}@{name}"
        yield mail.message(at, pools[number], sender, zone=name, dkim=name if number % 3 else ())


@kind(1, PLAIN_TEXTS)
def servers_on_customers_lines(mail: Mail) -> Iterator[Message]:
    """Boxes at home that send as root of the line's own reverse name.

    The name proves them, and each is a host of its own below the provider. 40 × 2,000.
    """
    for at in mail.steadily():
        number, line = mail.rng.randrange(40), mail.rng.randrange(2_000)
        zone = f"dyn.access{number}.net"
        client = f"79.{number}.{line // 200}.{1 + line % 200}"
        yield mail.message(at, (client,), f"root@{client.replace('.', '-')}.{zone}", zone=zone, spf=None)


@kind(1, LETTERS_OF_FIRMS)
def addresses_used_elsewhere(mail: Mail) -> Iterator[Message]:
    """Persons with an address at a large provider who send by the relays of their line, of a hotel or a firm.

    SPF does not pass, and nobody signs. 400 networks.
    """
    pools = [hosts_of([f"89.{number // 200}.{number % 200}"], 20, 23) for number in range(400)]
    which, provider = ranks(400, 0.5), ("gmail.com", "outlook.com", "yahoo.com", "gmx.net")
    for at in mail.steadily():
        number = which(mail.rng)
        sender = f"{person(mail.rng)}{mail.rng.randrange(10_000)}@{provider[int(mail.rng.random() * 4)]}"
        yield mail.message(at, pools[number], sender, zone=f"line{number}.net", spf="softfail")


@kind(5, INVITATIONS)
def calendars(mail: Mail) -> Iterator[Message]:
    """Invitations and reminders of a calendar at Google, more of them just before the full hour.

    A message has a local part of its own below the provider's constant host. From and Reply-To are the organiser.
    """
    for at, number in mail.at_once(1, 60, (1, 3)):
        sender = f"3{token(mail.rng, 40)}@calendar-server.bounces.google.com"
        organiser = f"u{number}@{firm(200_000 + number % 60_000)}"
        yield mail.message(
            at,
            google(mail),
            sender,
            zone="google.com",
            header_from=organiser,
            reply_to=organiser,
            dkim=("google.com", signature_at_google(200_000 + number % 60_000)),
        )
