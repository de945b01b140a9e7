"""Services that write for many firms, and what all these firms share there: a signature, a mailbox for answers.

Nobody who looks at one such mark alone can tell a service's customers from a sender who invents organisations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mail.kinds import Mail, kind, ranks
from mail.names import firm, hosts_of, token
from mail.sizes import NEWSLETTERS, NOTIFICATIONS, PLAIN_TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mail.message import Message


@kind(12, NEWSLETTERS)
def services_that_sign_for_all(mail: Mail) -> Iterator[Message]:
    """An ESP that signs with its own `d=` for thousands of customers: return path and From are the customer's.

    Three of them, 9,000 customers each, of whom three in four have let the service into SPF. Mailings are small.
    """
    pools = [hosts_of([f"88.{number}.{net}" for net in range(24)], 1, 60) for number in range(3)]
    for at, number in mail.at_once(1, mail.mailboxes // 500, (1, 10)):
        service, customer = number % 3, number * 29 % 9_000
        name, zone = firm(6_000_000 + service * 9_000 + customer), f"esp{service}.com"
        yield mail.message(
            at,
            pools[service],
            f"bounce-{token(mail.rng, 10)}@{name}",
            zone=f"out.{zone}",
            spf="pass" if customer % 4 else "none",
            header_from=f"news@{name}",
            reply_to=f"info@{name}" if customer % 2 else None,
            list_id=f"<l{customer}.{zone}>",
            dkim=zone,
            mailing=number,
        )


@kind(6, NOTIFICATIONS)
def inboxes_for_answers(mail: Mail) -> Iterator[Message]:
    """Help desks, recruiters and sellers' tools that write as their customer and take the answers themselves.

    Each conversation has an address of the service, `case-…@inbox.desk0.com`. Five services, 8,000 customers each;
    half of these have let the service into SPF and published its keys.
    """
    which = ranks(8_000, 0.8)
    pools = [hosts_of([f"88.{10 + number}.{net}" for net in range(8)], 1, 40) for number in range(5)]
    for at in mail.steadily():
        number, customer = mail.rng.randrange(5), which(mail.rng)
        name, zone = firm(6_100_000 + number * 8_000 + customer), f"desk{number}.com"
        own = customer % 2 == 0
        yield mail.message(
            at,
            pools[number],
            f"support@{name}",
            zone=zone,
            spf="pass" if own else "softfail",
            reply_to=f"case-{token(mail.rng, 12)}@inbox.{zone}",
            dkim=name if own else zone,
        )


@kind(4, PLAIN_TEXTS)
def ticket_systems_with_one_reply_to(mail: Mail) -> Iterator[Message]:
    """Ticket systems with one Reply-To: a group's or an outsourcer's, for many firms that each write as themselves.

    The mailbox knows the answers by their subject. 60 systems with 120 firms each. A large incident writes to
    everybody at once. A third of the firms have no SPF.
    """
    for at, number in mail.at_once(1, 200, (2, 15)):
        system = number * 7 % 60
        firm_number = 6_200_000 + system * 120 + mail.rng.randrange(120)
        zone = f"tickets{system}.com"
        pool = (f"88.20.{system}.10", f"88.20.{system}.11")
        yield mail.message(
            at,
            pool,
            f"helpdesk@{firm(firm_number)}",
            zone=zone,
            spf="pass" if firm_number % 3 else None,
            reply_to=f"tickets@{zone}",
            dkim=zone if system % 2 else (),
        )
