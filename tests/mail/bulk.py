"""Bulk senders: newsletters, notifications, and the services that send for others.

How a service makes its return paths decides what it looks like here: one constant host for all customers,
a subdomain of each customer's own, a host of
the sending machine, or a fresh host for every message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mail.kinds import Mail, kind, ranks
from mail.names import firm, hosts_of, person, rented, token

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


@kind(80)
def newsletters(mail: Mail) -> Iterator[Message]:
    """A shop's own system, one host and two addresses. A mailing goes to at most a tenth of the mailboxes here.

    It takes one to five minutes, or as long as one host needs for it. Mailings grow with the receiving server, but the
    speed of the shop's host does not. Without that bound the largest mailing at a million messages an hour sent 50,000
    messages in a minute from one host, and about every tenth seed met `pair-pace` under `scale = 5` (a burst of
    30,000).
    At 100,000 messages an hour the largest mailing has 5,000 messages, so the bound never applies there.
    """
    for at, number in mail.at_once(5, mail.mailboxes // 10, (1, 5), fastest_per_minute=ONE_HOST_PER_MINUTE):
        name = firm(400_000 + number)
        (address,) = rented(400_000 + number)
        pool = (address, f"{address.rpartition('.')[0]}.{255 - int(address.rpartition('.')[2])}")
        yield mail.message(at, pool, f"bounce-{at}@news.{name}", zone=f"news.{name}", reply_to=f"info@{name}")


@kind(80)
def notifications(mail: Mail) -> Iterator[Message]:
    """Shops, banks, networks of friends: sixty names, a constant host, a local part for each message,
    networks of their own.
    """
    pools = [hosts_of([f"66.{100 + number}.{net}" for net in range(6)], 1, 80) for number in range(60)]
    which = ranks(60, 0.9)
    for at in mail.steadily():
        number = which(mail.rng)
        yield mail.message(
            at, pools[number], f"{token(mail.rng)}@bounce.notify{number}.com", zone=f"notify{number}.com"
        )


@kind(20)
def amazon_ses(mail: Mail) -> Iterator[Message]:
    """Customers without a return path of their own: the region's host, `…@eu-west-1.amazonses.com`."""
    regions = ("eu-west-1", "us-west-2", "eu-central-1", "ap-northeast-1", "us-east-2", "ca-central-1", "sa-east-1")
    for at in mail.steadily():
        region = mail.rng.choice(regions)
        sender = f"0102{token(mail.rng, 28)}-000000@{region}.amazonses.com"
        answers = f"contact@{firm(500_000 + at % 9_973)}"
        yield mail.message(at, SES, sender, zone="smtp-out.amazonses.com", reply_to=answers)


@kind(20)
def amazon_ses_with_a_domain_of_ones_own(mail: Mail) -> Iterator[Message]:
    """The same networks, the return path a subdomain of the customer's; 15,000 customers."""
    which = ranks(15_000, 0.9)
    for at in mail.steadily():
        sender = f"0102{token(mail.rng, 28)}-000000@bounce.{firm(500_000 + which(mail.rng))}"
        yield mail.message(at, SES, sender, zone="smtp-out.amazonses.com")


@kind(30)
def sendgrid(mail: Mail) -> Iterator[Message]:
    """`bounces+…@em1234.customer`: a customer has a subdomain and an address or two; the large ones send mailings."""
    for at, number in mail.at_once(1, mail.mailboxes // 100, (1, 10)):
        customer = number * 31 % 20_000
        first = customer * 4 % len(SENDGRID)
        name = f"em{customer * 13 % 9_000 + 1_000}.{firm(520_000 + customer)}"
        sender = f"bounces+{customer}-{token(mail.rng, 4)}-u{at % 9_973}=box.com@{name}"
        answers = f"support@{firm(520_000 + customer)}" if customer % 2 else None
        yield mail.message(at, SENDGRID[first : first + 2], sender, zone=name, reply_to=answers)


@kind(10)
def mailgun(mail: Mail) -> Iterator[Message]:
    """`bounce+…@mg.customer`; 8,000 customers share the pools."""
    which = ranks(8_000, 0.9)
    for at in mail.steadily():
        name = firm(550_000 + which(mail.rng))
        sender = f"bounce+{token(mail.rng, 6)}.{token(mail.rng, 6)}-u{at % 9_973}=box.com@mg.{name}"
        yield mail.message(at, MAILGUN, sender, zone="mailgun.net")


@kind(10)
def mailchimp(mail: Mail) -> Iterator[Message]:
    """`…@mail250.atl101.mcsv.net`: a host for each sending address, some 18,000 of them below three domains;
    a mailing uses a pool of sixteen.
    """
    for at, number in mail.at_once(2, mail.mailboxes // 50, (2, 20)):
        network, slot = MAILCHIMP_NETWORKS[number % len(MAILCHIMP_NETWORKS)], number * 7 % 15
        last = 1 + slot * 16 + int(mail.rng.random() * 16)
        place = network.replace("198.2.", "atl").replace("148.105.", "suw")
        host = f"mail{last}.{place}.{MAILCHIMP_DOMAINS[number % 3]}"
        sender = f"bounce-mc.us{number % 20}_{number}.{token(mail.rng, 8)}-u{at % 9_973}=box.com@{host}"
        answers = f"hello@{firm(555_000 + number % 20_000)}"
        yield mail.message(at, (f"{network}.{last}",), sender, zone=host, helo=host, reply_to=answers)


@kind(3)
def salesforce_tenants(mail: Mail) -> Iterator[Message]:
    """A fresh host for every message, below the tenant's name in production or one label deeper in sandboxes;
    3,000 tenants.
    """
    for at, number in mail.at_once(1, 60, (1, 10)):
        tenant = number * 17 % 3_000
        place = "bnc.sandbox" if tenant % 8 == 0 else "bnc"
        host = f"{token(mail.rng)}.t{tenant:x}mawy.8d-{tenant:x}trx3eag.um{tenant % 12}.{place}.salesforce.com"
        yield mail.message(at, SALESFORCE, f"{person(mail.rng)}={tenant}@{host}", zone="mta.salesforce.com")


@kind(10)
def marketing_cloud(mail: Mail) -> Iterator[Message]:
    """`bounce-…@bounce.customer` with the service's networks, or one of its own fifty hosts for those without a domain;
    a mailing at once.
    """
    for at, number in mail.at_once(5, mail.mailboxes // 20, (2, 15)):
        customer = number * 11 % 4_000
        host = f"bounce.s{customer % 50}.exacttarget.com" if customer % 4 == 0 else f"bounce.{firm(560_000 + customer)}"
        # the service reads the answers, each under an address of its own
        answers = f"reply-{at:x}-{number}_HTML@{host.replace('bounce.', 'reply.')}"
        sender = f"bounce-{at}_HTML-{number}@{host}"
        yield mail.message(at, MARKETING_CLOUD, sender, zone="mta.exacttarget.com", reply_to=answers)


@kind(10)
def help_desks(mail: Mail) -> Iterator[Message]:
    """Services that give each customer a name below their own: `support@customer.zendesk.com`; four of them,
    10,000 customers each.
    """
    which = ranks(10_000, 0.8)
    pools = [hosts_of([f"192.161.{number * 16 + net}" for net in range(16)], 1, 60) for number in range(4)]
    for at in mail.steadily():
        number = mail.rng.randrange(4)
        service = HELP_DESKS[number]
        host = f"c{which(mail.rng)}.{service}"
        # the ticket's number in the address
        answers = f"support+id{at % 99_991}@{host}"
        yield mail.message(at, pools[number], f"support@{host}", zone=f"mta.{service}", reply_to=answers)


@kind(5)
def services_that_write_in_their_customers_names(mail: Mail) -> Iterator[Message]:
    """Invoices, payslips, contracts, applications: the return path is the customer's, who let the service into SPF;
    all answers go to one mailbox of
    the service. 30 of them, 5,000 customers each.
    """
    service, which = ranks(30, 0.9), ranks(5_000, 0.7)
    pools = [hosts_of([f"86.{number}.{net}" for net in range(4)], 1, 20) for number in range(30)]
    for at in mail.steadily():
        number = service(mail.rng)
        sender = f"service@{firm(600_000 + number * 5_000 + which(mail.rng))}"
        zone = f"forms{number}.com"
        yield mail.message(at, pools[number], sender, zone=zone, reply_to=f"noreply@{zone}")


@kind(3)
def agencies(mail: Mail) -> Iterator[Message]:
    """Who looks after other firms' pages sends what these have to say by one server: `wordpress@customer`,
    answers to the agency. Reports of a month go out
    for many customers at once. 200 agencies with 300 customers each.
    """
    for at, number in mail.at_once(1, 60, (1, 10)):
        agency = 800_000 + number % 200
        customer = firm(810_000 + number % 200 * 300 + mail.rng.randrange(300))
        spf = "pass" if number % 3 else None
        answers = f"office@{firm(agency)}"
        yield mail.message(at, rented(agency), f"wordpress@{customer}", zone=firm(agency), spf=spf, reply_to=answers)
