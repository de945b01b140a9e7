"""Bulk senders: newsletters, notifications, and the large services that send for others.

How a service makes its return paths decides what it looks like here: one constant host for all customers,
a subdomain of each customer's own, a host of
the sending machine, or a fresh host for every message.

Who signs is a fact, too: a service signs with a customer's domain once the customer has published its keys, before
that with its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mail.kinds import Mail, kind, ranks
from mail.names import firm, hosts_of, person, rented, token
from mail.sizes import INVOICES, NEWSLETTERS, NOTIFICATIONS, PLAIN_TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mail.message import Message

SES = hosts_of([f"54.240.{net}" for net in range(60)], 1, 60)
SENDGRID = hosts_of([f"167.89.{net}" for net in range(128)] + [f"149.72.{net}" for net in range(200)], 1, 254)
MAILGUN = hosts_of([f"159.135.{net}" for net in range(224, 240)] + [f"69.72.{net}" for net in range(32, 48)], 1, 254)
MAILCHIMP_NETWORKS = [f"198.2.{net}" for net in range(128, 192)] + [f"148.105.{net}" for net in range(8, 16)]
MAILCHIMP_DOMAINS = ("mcsv.net", "mcdlv.net", "rsgsv.net")
SALESFORCE = hosts_of(
    [f"101.53.{net}" for net in range(160, 176)] + [f"96.43.{net}" for net in range(144, 160)], 130, 150
)
MARKETING_CLOUD = hosts_of([f"13.111.{net}" for net in range(64)], 1, 120)
HELP_DESKS = ("zendesk.com", "freshdesk.com", "atlassian.net", "hubspotemail.net")


#: What one host sends to one server: 20 connections, Postfix's default for a destination,
#: with five messages a second on
#: each. A message needs three round trips and the receiver's content checks, so a fifth of a second is short.
ONE_HOST_PER_MINUTE = 20 * 5 * 60


@kind(80, NEWSLETTERS)
def newsletters(mail: Mail) -> Iterator[Message]:
    """Shops with a system of their own, one host and two addresses each, that send a mailing at once.

    A mailing goes to at most a tenth of the mailboxes here. It takes one to five minutes, or as long as one host
    needs for it. Mailings grow with the receiving server, but the speed of the shop's host does not. Without that
    bound the largest mailing at a million messages an hour sent 50,000 messages in a minute from one host, and
    about every tenth seed met `pair-pace` under `scale = 5` (a burst of 30,000). At 100,000 messages an hour the
    largest mailing has 5,000 messages, so the bound never applies there. Half of the systems are list managers that
    write a List-Id.
    """
    for at, number in mail.at_once(5, mail.mailboxes // 10, (1, 5), fastest_per_minute=ONE_HOST_PER_MINUTE):
        name = firm(400_000 + number)
        (address,) = rented(400_000 + number)
        pool = (address, f"{address.rpartition('.')[0]}.{255 - int(address.rpartition('.')[2])}")
        host = f"news.{name}"
        yield mail.message(
            at,
            pool,
            f"bounce-{at}@{host}",
            zone=host,
            header_from=f"newsletter@{name}",
            reply_to=f"info@{name}",
            list_id=f"<{host}>" if number % 2 else None,
            dkim=name,
            mailing=number,
        )


@kind(80, NOTIFICATIONS)
def notifications(mail: Mail) -> Iterator[Message]:
    """Shops, banks and networks of friends that write to one person at a time: sixty names.

    A name has a constant host, a local part for each message, networks of its own, and one From for everybody. A
    third of them take answers.
    """
    pools = [hosts_of([f"66.{100 + number}.{net}" for net in range(6)], 1, 80) for number in range(60)]
    which = ranks(60, 0.9)
    for at in mail.steadily():
        number = which(mail.rng)
        zone = f"notify{number}.com"
        answers = f"reply+{token(mail.rng, 12)}@{zone}" if number % 3 == 0 else None
        yield mail.message(
            at,
            pools[number],
            f"{token(mail.rng)}@bounce.{zone}",
            zone=zone,
            header_from=f"no-reply@{zone}",
            reply_to=answers,
            dkim=zone,
        )


@kind(10, NEWSLETTERS)
def mass_mail_from_many_hosts(mail: Mail) -> Iterator[Message]:
    """One owner's mass mail from many hosts: airlines, large shops, networks of friends with 190 machines each.

    Each machine is a host of its own below the owner's name, in one of sixteen networks. A list of millions goes
    out in an hour or so whatever the machines could do, and a server gets its part of it all that time. 40 owners.
    """
    pools = [hosts_of([f"87.{number}.{net}" for net in range(16)], 10, 21)[:190] for number in range(40)]
    for at, number in mail.at_once(20, mail.mailboxes // 10, (10, 90)):
        owner = number * 7 % 40
        machine = int(mail.rng.random() * 190)
        name = f"brand{owner}.com"
        host = f"mta{machine}.mail.{name}"
        yield mail.message(
            at,
            pools[owner][machine : machine + 1],
            f"bounce-{token(mail.rng, 8)}@{host}",
            zone=f"mail.{name}",
            helo=host,
            header_from=f"news@{name}",
            reply_to=f"service@{name}" if owner % 2 else None,
            list_id=f"<mailing{number}.mail.{name}>" if owner % 3 == 0 else None,
            dkim=name,
            mailing=number,
        )


@kind(20, NOTIFICATIONS)
def amazon_ses(mail: Mail) -> Iterator[Message]:
    """Customers of Amazon SES without a return path of their own: `…@eu-west-1.amazonses.com`.

    The host is the region's. Amazon signs all with its own name. A quarter has verified an address only, which
    leaves it at that; for the others it signs with their domain, too.
    """
    regions = ("eu-west-1", "us-west-2", "eu-central-1", "ap-northeast-1", "us-east-2", "ca-central-1", "sa-east-1")
    for at in mail.steadily():
        region = mail.rng.choice(regions)
        sender = f"0102{token(mail.rng, 28)}-000000@{region}.amazonses.com"
        customer = at % 9_973
        name = firm(500_000 + customer)
        answers = f"contact@{name}"
        signed = (name, "amazonses.com") if customer % 4 else "amazonses.com"
        yield mail.message(
            at,
            SES,
            sender,
            zone="smtp-out.amazonses.com",
            header_from=f"app@{name}",
            reply_to=answers,
            dkim=signed,
        )


@kind(20, NOTIFICATIONS)
def amazon_ses_with_a_domain_of_ones_own(mail: Mail) -> Iterator[Message]:
    """Customers of Amazon SES whose return path is a subdomain of their own; 15,000 of them."""
    which = ranks(15_000, 0.9)
    for at in mail.steadily():
        name = firm(500_000 + which(mail.rng))
        sender = f"0102{token(mail.rng, 28)}-000000@bounce.{name}"
        yield mail.message(
            at, SES, sender, zone="smtp-out.amazonses.com", header_from=f"app@{name}", dkim=(name, "amazonses.com")
        )


@kind(30, NEWSLETTERS)
def sendgrid(mail: Mail) -> Iterator[Message]:
    """Customers of SendGrid: `bounces+…@em1234.customer`, an address or two each; the large ones send mailings."""
    for at, number in mail.at_once(1, mail.mailboxes // 100, (1, 10)):
        customer = number * 31 % 20_000
        first = customer * 4 % len(SENDGRID)
        name = firm(520_000 + customer)
        host = f"em{customer * 13 % 9_000 + 1_000}.{name}"
        sender = f"bounces+{customer}-{token(mail.rng, 4)}-u{at % 9_973}=box.com@{host}"
        answers = f"support@{name}" if customer % 2 else None
        yield mail.message(
            at,
            SENDGRID[first : first + 2],
            sender,
            zone=host,
            header_from=f"hello@{name}",
            reply_to=answers,
            dkim=name,
            mailing=number,
        )


@kind(10, NOTIFICATIONS)
def mailgun(mail: Mail) -> Iterator[Message]:
    """Customers of Mailgun: `bounce+…@mg.customer`; 8,000 of them share the pools."""
    which = ranks(8_000, 0.9)
    for at in mail.steadily():
        name = firm(550_000 + which(mail.rng))
        sender = f"bounce+{token(mail.rng, 6)}.{token(mail.rng, 6)}-u{at % 9_973}=box.com@mg.{name}"
        yield mail.message(at, MAILGUN, sender, zone="mailgun.net", header_from=f"no-reply@{name}", dkim=f"mg.{name}")


@kind(10, NEWSLETTERS)
def mailchimp(mail: Mail) -> Iterator[Message]:
    """Customers of Mailchimp: `…@mail250.atl101.mcsv.net`, a host for each sending address.

    There are some 18,000 hosts below three domains; a mailing uses a pool of sixteen. Two thirds of the customers
    have published keys. For the others the service signs with its own name.
    """
    for at, number in mail.at_once(2, mail.mailboxes // 50, (2, 20)):
        network, slot = MAILCHIMP_NETWORKS[number % len(MAILCHIMP_NETWORKS)], number * 7 % 15
        last = 1 + slot * 16 + int(mail.rng.random() * 16)
        place = network.replace("198.2.", "atl").replace("148.105.", "suw")
        host = f"mail{last}.{place}.{MAILCHIMP_DOMAINS[number % 3]}"
        sender = f"bounce-mc.us{number % 20}_{number}.{token(mail.rng, 8)}-u{at % 9_973}=box.com@{host}"
        customer = number % 20_000
        name = firm(555_000 + customer)
        yield mail.message(
            at,
            (f"{network}.{last}",),
            sender,
            zone=host,
            helo=host,
            header_from=f"hello@{name}",
            reply_to=f"hello@{name}",
            list_id=f"{customer:x}mc list <{customer:x}.{customer * 4}.list-id.mcsv.net>",
            dkim=name if customer % 3 else "mcsv.net",
            mailing=number,
        )


@kind(3, NOTIFICATIONS)
def salesforce_tenants(mail: Mail) -> Iterator[Message]:
    """Firms that write from Salesforce: a fresh host for every message, below the tenant's name; 3,000 tenants.

    In sandboxes the host is one label deeper. From is a person of the firm, who is answered. Half of the firms have
    a key there.
    """
    for at, number in mail.at_once(1, 60, (1, 10)):
        tenant = number * 17 % 3_000
        place = "bnc.sandbox" if tenant % 8 == 0 else "bnc"
        host = f"{token(mail.rng)}.t{tenant:x}mawy.8d-{tenant:x}trx3eag.um{tenant % 12}.{place}.salesforce.com"
        who, name = person(mail.rng), firm(565_000 + tenant)
        yield mail.message(
            at,
            SALESFORCE,
            f"{who}={tenant}@{host}",
            zone="mta.salesforce.com",
            header_from=f"{who}@{name}",
            dkim=name if tenant % 2 else (),
        )


@kind(10, NEWSLETTERS)
def marketing_cloud(mail: Mail) -> Iterator[Message]:
    """Customers of Marketing Cloud, whose return path is `bounce.customer` or one of the service's fifty hosts.

    The service's hosts are for those without a domain. A mailing comes at once.
    """
    for at, number in mail.at_once(5, mail.mailboxes // 20, (2, 15)):
        customer = number * 11 % 4_000
        own = customer % 4 != 0
        host = f"bounce.{firm(560_000 + customer)}" if own else f"bounce.s{customer % 50}.exacttarget.com"
        # the service reads the answers, each under an address of its own
        answers = f"reply-{at:x}-{number}_HTML@{host.replace('bounce.', 'reply.')}"
        sender = f"bounce-{at}_HTML-{number}@{host}"
        name = firm(560_000 + customer)
        yield mail.message(
            at,
            MARKETING_CLOUD,
            sender,
            zone="mta.exacttarget.com",
            header_from=f"offers@{name}",
            reply_to=answers,
            dkim=name if own else f"s{customer % 50}.exacttarget.com",
            mailing=number,
        )


@kind(10, NOTIFICATIONS)
def help_desks(mail: Mail) -> Iterator[Message]:
    """Firms at help desks that give each a name below their own: `support@customer.zendesk.com`.

    Four services, 10,000 customers each.
    """
    which = ranks(10_000, 0.8)
    pools = [hosts_of([f"192.161.{number * 16 + net}" for net in range(16)], 1, 60) for number in range(4)]
    for at in mail.steadily():
        number = mail.rng.randrange(4)
        service = HELP_DESKS[number]
        host = f"c{which(mail.rng)}.{service}"
        sender = f"support@{host}"
        # the ticket's number in the address
        answers = f"support+id{at % 99_991}@{host}"
        yield mail.message(at, pools[number], sender, zone=f"mta.{service}", reply_to=answers, dkim=service)


@kind(5, INVOICES)
def services_that_write_in_their_customers_names(mail: Mail) -> Iterator[Message]:
    """Services for invoices, payslips, contracts, applications that write as their customer.

    The return path is the customer's, who let the service into SPF; all answers go to one mailbox of the service.
    30 of them, 5,000 customers each. The service signs, for every third customer with his name, too.
    """
    service, which = ranks(30, 0.9), ranks(5_000, 0.7)
    pools = [hosts_of([f"86.{number}.{net}" for net in range(4)], 1, 20) for number in range(30)]
    for at in mail.steadily():
        number = service(mail.rng)
        customer = number * 5_000 + which(mail.rng)
        name = firm(600_000 + customer)
        zone = f"forms{number}.com"
        yield mail.message(
            at,
            pools[number],
            f"service@{name}",
            zone=zone,
            reply_to=f"noreply@{zone}",
            dkim=(zone, name) if customer % 3 == 0 else zone,
        )


@kind(3, PLAIN_TEXTS)
def agencies(mail: Mail) -> Iterator[Message]:
    """Agencies that look after other firms' pages: `wordpress@customer` by one server, answers to the agency.

    Reports of a month go out for many customers at once. 200 agencies with 300 customers each; half of them sign,
    with their own name.
    """
    for at, number in mail.at_once(1, 60, (1, 10)):
        agency = 800_000 + number % 200
        customer = firm(810_000 + number % 200 * 300 + mail.rng.randrange(300))
        spf = "pass" if number % 3 else None
        yield mail.message(
            at,
            rented(agency),
            f"wordpress@{customer}",
            zone=firm(agency),
            spf=spf,
            reply_to=f"office@{firm(agency)}",
            dkim=firm(agency) if number % 2 else (),
        )
