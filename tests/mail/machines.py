"""Mail that no person and no mail server's keeper wrote: alerts, web forms, devices, tenants of platforms.

From is what the return path is, and hardly anything is signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mail.kinds import Mail, kind, ranks
from mail.names import TLDS, firm, hosts_of, person, rented, token
from mail.sizes import LETTERS_OF_FIRMS, NOTIFICATIONS, PLAIN_TEXTS, SCANS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mail.message import Message

#: Public suffixes whose names are given away: by the list's private section, or by their keepers only.
PLATFORMS = (
    "myshopify.com",
    "herokuapp.com",
    "azurewebsites.net",
    "netlify.app",
    "github.io",
    "workers.dev",
    "web.app",
    "vercel.app",
)
NAMES_FOR_LINES = ("duckdns.org", "dyndns.org", "no-ip.org", "ddns.net", "synology.me", "myfritz.net")


@kind(15, PLAIN_TEXTS)
def monitoring(mail: Mail) -> Iterator[Message]:
    """Systems that watch others: one constant host writes to one mailbox.

    When a line breaks, 400 alerts come in a few minutes.
    """
    for at, number in mail.at_once(1, 400, (1, 6)):
        host = f"monitor.{firm(5_000_000 + number % 2_000)}"
        sender = f"nagios@{host}"
        to = f"alerts{number % 2_000}@d{number % 97}.box.com"
        yield mail.message(at, rented(5_000_000 + number % 2_000), sender, zone=host, spf=None, rcpt_to=to)


@kind(10, PLAIN_TEXTS)
def web_forms(mail: Mail) -> Iterator[Message]:
    """Web forms that write as `www-data@` the name that a hoster gave the machine.

    Eight hosters with 5,000 machines each. The reverse name proves half of them. Answers go to the form's visitor.
    """
    for at in mail.steadily():
        hoster, machine = mail.rng.randrange(8), mail.rng.randrange(5_000)
        zone = f"cloud{hoster}.net"
        client = f"84.{hoster}.{machine // 250}.{1 + machine % 250}"
        named = machine % 2 == 0
        sender = f"www-data@{client.replace('.', '-')}.{zone}" if named else f"www-data@vps{machine}.{zone}"
        # the form's visitor
        answers = f"visitor{at % 49_999}@{('gmail.com', 'gmx.net', 'yahoo.com')[at % 3]}"
        yield mail.message(at, (client,), sender, zone=zone if named else None, spf=None, reply_to=answers)


@kind(2, PLAIN_TEXTS)
def web_forms_in_their_visitors_names(mail: Mail) -> Iterator[Message]:
    """Web forms that write as their visitor: return path and From are his, the machine is a hoster's.

    The visitor is at a large provider more often than not, and SPF fails or nearly. 4,000 machines in 1,000
    networks.
    """
    which = ranks(4_000, 0.5)
    for at in mail.steadily():
        machine = which(mail.rng)
        place = mail.rng.random()
        if place < 0.7:
            name, spf = ("gmail.com", "softfail") if place < 0.4 else ("gmx.net", "fail")
        else:
            name, spf = firm(int(place * 100_000)), "fail"
        client = f"91.{100 + machine // 1_000}.{machine % 1_000 // 4}.{10 + machine % 4}"
        yield mail.message(at, (client,), f"v{token(mail.rng, 3)}{person(mail.rng)}@{name}", spf=spf)


@kind(3, PLAIN_TEXTS)
def internal_names(mail: Mail) -> Iterator[Message]:
    """Machines that were never told their name outside: `root@web01`, `backup@nas.local`, `app@srv7.corp`; 10,000."""
    which = ranks(10_000, 0.7)
    for at in mail.steadily():
        number = which(mail.rng)
        host = (
            f"web{number}",
            f"nas{number}.local",
            f"srv{number}.corp",
            f"db{number}.internal",
            f"h{number}.localdomain",
            "localhost",
        )[number % 6]
        yield mail.message(at, rented(5_100_000 + number), f"root@{host}", spf=None)


@kind(0.3, SCANS)
def address_literals(mail: Mail) -> Iterator[Message]:
    """Printers and scanners in branch offices: `scan@[192.0.2.1]`, of their own address; 500 of them."""
    which = ranks(500, 0.6)
    for at in mail.steadily():
        pool = rented(5_200_000 + which(mail.rng))
        yield mail.message(at, pool, f"scan@[{pool[0]}]", helo=f"[{pool[0]}]", spf=None)


@kind(1, LETTERS_OF_FIRMS)
def servers_with_a_dynamic_name(mail: Mail) -> Iterator[Message]:
    """Servers at home, below a public suffix that gives names away.

    Six suffixes, 1,500 users each who write here.
    """
    which = ranks(1_500, 0.6)
    for at in mail.steadily():
        number, suffix = which(mail.rng), mail.rng.randrange(len(NAMES_FOR_LINES))
        host = f"home{number}.{NAMES_FOR_LINES[suffix]}"
        client = f"85.{suffix}.{number // 250}.{1 + number % 250}"
        yield mail.message(at, (client,), f"{person(mail.rng)}@{host}", spf=None)


@kind(3, NOTIFICATIONS)
def tenants_of_platforms(mail: Mail) -> Iterator[Message]:
    """Shops and programs below a private suffix, by their platform's relays; eight platforms, 3,000 tenants each.

    The platform signs with its own name, answers go to the keeper's address at a large provider.
    """
    which = ranks(3_000, 0.7)
    pools = [hosts_of([f"23.{number}.{net}" for net in range(4)], 1, 40) for number in range(len(PLATFORMS))]
    for at in mail.steadily():
        number = mail.rng.randrange(len(PLATFORMS))
        shop = which(mail.rng)
        platform = PLATFORMS[number]
        host, zone = f"shop{shop}.{platform}", f"mta.{platform}"
        spf = "pass" if number % 2 else None
        answers = f"shop{shop}.{number}@gmail.com"
        yield mail.message(at, pools[number], f"mailer@{host}", zone=zone, spf=spf, reply_to=answers, dkim=platform)


@kind(3, LETTERS_OF_FIRMS)
def tenants_without_a_domain(mail: Mail) -> Iterator[Message]:
    """Firms at Microsoft that have not set up a name, and its systems' notes: `…@tenant.onmicrosoft.com`.

    20,000 tenants.
    """
    which = ranks(20_000, 0.7)
    pool = hosts_of([f"40.107.{net}" for net in range(10, 40)], 30, 110)
    for at in mail.steadily():
        host = f"tenant{which(mail.rng)}.onmicrosoft.com"
        sender = f"{person(mail.rng)}@{host}"
        yield mail.message(at, pool, sender, zone="outbound.protection.outlook.com", dkim=host)


@kind(2, PLAIN_TEXTS)
def cron(mail: Mail) -> Iterator[Message]:
    """Jobs on the full hour: hundreds of machines of one keeper write to one mailbox, each under a host of its own."""
    for at, number in mail.at_once(10, 150, (1, 2)):
        machine = mail.rng.randrange(150)
        keeper = 5_300_000 + number % 300
        name = f"keeper{number % 300}.{TLDS[number % len(TLDS)]}"
        client = f"{rented(keeper)[0].rpartition('.')[0]}.{1 + machine}"
        to = f"root{number % 300}@d{number % 97}.box.com"
        yield mail.message(at, (client,), f"root@node{machine}.{name}", spf=None, rcpt_to=to)
