"""Those who pass on what others wrote: lists, forwarders, filters, the server's own second MX;
and those who come again.

A forwarder leaves the header as it is, so From and the signatures are the author's while the return path may be the
forwarder's. A list may replace From, or break the signature by its footer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mail.kinds import Mail, kind, ranks
from mail.names import PERSONS, firm, hosts_of, person, rented, token
from mail.providers import google, microsoft
from mail.sizes import LETTERS_OF_FIRMS, NEWSLETTERS, NOTIFICATIONS, POSTS_TO_LISTS

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from mail.message import Message

LIST_SERVERS, REWRITING_LISTS = 4_000_000, 4_050_000
REWRITING_FORWARDERS, PLAIN_FORWARDERS = 4_100_000, 4_200_000
LARGE_PROVIDERS = ("gmail.com", "gmail.com", "outlook.com", "yahoo.com", "gmx.net")
NOTIFIERS, FIRMS = ranks(60, 0.9), ranks(300_000, 0.8)


class Original(NamedTuple):
    """What somebody sent to an address that is forwarded."""

    mail_from: str
    header_from: str
    reply_to: str | None
    dkim: str | tuple[()]


def original(rng: random.Random) -> Original:
    """A quarter is from persons at large providers, a third notifications, a tenth newsletters, the rest from firms."""
    draw = rng.random()
    if draw < 0.25:
        name = LARGE_PROVIDERS[int(draw * 20)]
        address = f"{person(rng)}{rng.randrange(100_000)}@{name}"
        return Original(address, address, None, name)
    if draw < 0.55:
        name = f"notify{NOTIFIERS(rng)}.com"
        return Original(f"{token(rng)}@bounce.{name}", f"no-reply@{name}", None, name)
    if draw < 0.65:
        return newsletter(int(draw * 30_000), rng)
    number = FIRMS(rng)
    name = firm(number)
    address = f"{person(rng)}@{name}"
    return Original(address, address, None, name if number % 2 else ())


def newsletter(number: int, rng: random.Random) -> Original:
    name = firm(480_000 + number)
    return Original(f"bounce-{token(rng, 8)}@news.{name}", f"newsletter@{name}", f"info@{name}", name)


def forwarded_with_srs(rng: random.Random, mail_from: str, forwarder: int) -> str:
    """The return path that the forwarder makes of it."""
    local, _, host = mail_from.rpartition("@")
    return f"SRS0={token(rng, 4)}={token(rng, 2)}={host}={local}@{firm(forwarder)}"


def author(number: int) -> tuple[str, str]:
    """Address and domain of who wrote the post of that number."""
    who = PERSONS[number % len(PERSONS)]
    if number % 5 < 2:
        name = LARGE_PROVIDERS[number % len(LARGE_PROVIDERS)]
        return f"{who}{number % 9_973}@{name}", name
    name = firm(number * 7_919 % 300_000)
    return f"{who}@{name}", name


@kind(30, POSTS_TO_LISTS)
def mailing_lists(mail: Mail) -> Iterator[Message]:
    """Lists that leave From as it is: a post goes to all subscribers at once, each with a return path of its own.

    That is VERP: `list-bounces+user=box.com@lists.org`. 600 servers. Half take the answers themselves, three in
    five sign, a third leave the author's signature whole.
    """
    for at, number in mail.at_once(1, max(10, mail.mailboxes // 500), (0.5, 5)):
        server = number * 13 % 600
        name = firm(LIST_SERVERS + server)
        host = f"lists.{name}"
        to = mail.mailbox()
        group = f"list{number % 5}"
        sender = f"{group}-bounces+{to.replace('@', '=')}@{host}"
        wrote, domain = author(number)
        signed = (name,) if server % 5 < 3 else ()
        yield mail.message(
            at,
            rented(LIST_SERVERS + server),
            sender,
            zone=host,
            spf="pass" if server % 4 else None,
            rcpt_to=to,
            header_from=wrote,
            reply_to=f"{group}@{host}" if server % 2 else None,
            list_id=f"<{group}.{host}>",
            dkim=(*signed, domain) if server % 3 == 0 else signed,
            mailing=number,
        )


@kind(6, POSTS_TO_LISTS)
def lists_that_rewrite_from(mail: Mail) -> Iterator[Message]:
    """Lists that rewrite From to their own address, as DMARC makes them; answers go to the author.

    `Anna via list <list@lists.org>`. 200 servers, all signing. A transaction has up to fifty subscribers, Postfix's
    default.
    """
    for at, number in mail.at_once(1, max(10, mail.mailboxes // 2_000), (0.1, 3)):
        server = number * 11 % 200
        name = firm(REWRITING_LISTS + server)
        host = f"lists.{name}"
        group = f"list{number % 5}"
        wrote, _ = author(number)
        yield mail.message(
            at,
            rented(REWRITING_LISTS + server),
            f"{group}-bounces@{host}",
            zone=host,
            rcpt_to=mail.some_mailboxes(1, 50),
            header_from=f"{group}@{host}",
            reply_to=wrote,
            list_id=f"<{group}.{host}>",
            dkim=name,
            mailing=number,
        )


@kind(4, POSTS_TO_LISTS)
def groups_at_google(mail: Mail) -> Iterator[Message]:
    """Groups at Google, under its own name or, a third, under a customer's: `list+bncBC…@googlegroups.com`.

    From is rewritten for authors whose domain asks for it, one in three. Google signs each with the group's domain.
    """
    for at, number in mail.at_once(1, max(10, mail.mailboxes // 1_000), (0.2, 3)):
        customers = number % 3 == 0
        name = firm(200_000 + number * 31 % 60_000) if customers else "googlegroups.com"
        group = f"group{number % 40_000}"
        wrote, domain = author(number)
        rewritten = number % 3 == 1
        yield mail.message(
            at,
            google(mail),
            f"{group}+bnc{token(mail.rng, 20)}@{name}",
            zone="google.com",
            header_from=f"{group}@{name}" if rewritten else wrote,
            reply_to=wrote if rewritten else f"{group}@{name}" if number % 2 else None,
            list_id=f"<{group}.{name}>",
            dkim=name if rewritten else (name, domain),
            mailing=number,
        )


@kind(1, POSTS_TO_LISTS)
def posts_to_many_lists(mail: Mail) -> Iterator[Message]:
    """Authors of an announcement that goes to five to sixty lists at once, such as a call for papers.

    There is one From, no Reply-To, and the return paths of as many organisations.
    """
    for at, number in mail.at_once(5, 60, (2, 30)):
        server = int(mail.rng.random() * 600)
        name = firm(LIST_SERVERS + server)
        host = f"lists.{name}"
        to = mail.mailbox()
        wrote, domain = author(number)
        signed = (name,) if server % 5 < 3 else ()
        yield mail.message(
            at,
            rented(LIST_SERVERS + server),
            f"announce-bounces+{to.replace('@', '=')}@{host}",
            zone=host,
            spf="pass" if server % 4 else None,
            rcpt_to=to,
            header_from=wrote,
            list_id=f"<announce.{host}>",
            dkim=(*signed, domain) if server % 3 == 0 else signed,
            mailing=number,
        )


@kind(10, NOTIFICATIONS)
def forwarders_that_rewrite(mail: Mail) -> Iterator[Message]:
    """Forwarders whose return path is their own, `SRS0=hash=day=original=user@forwarder`; 400 of them.

    SPF passes for the forwarder.
    """
    which = ranks(400, 0.8)
    for at in mail.steadily():
        forwarder = REWRITING_FORWARDERS + which(mail.rng)
        of = original(mail.rng)
        yield mail.message(
            at,
            rented(forwarder),
            forwarded_with_srs(mail.rng, of.mail_from, forwarder),
            zone=firm(forwarder),
            header_from=of.header_from,
            reply_to=of.reply_to,
            dkim=of.dkim,
        )


@kind(10, NOTIFICATIONS)
def forwarders_that_do_not(mail: Mail) -> Iterator[Message]:
    """Forwarders that keep the return path: alumni addresses, old accounts; everybody's mail from one network.

    SPF fails. 300 of them, the originals from anywhere.
    """
    which = ranks(300, 0.8)
    for at in mail.steadily():
        forwarder = PLAIN_FORWARDERS + which(mail.rng)
        of = original(mail.rng)
        yield mail.message(
            at,
            rented(forwarder),
            of.mail_from,
            zone=firm(forwarder),
            spf="softfail" if of.mail_from.endswith("@gmail.com") else "fail",
            header_from=of.header_from,
            reply_to=of.reply_to,
            dkim=of.dkim,
        )


@kind(8, NEWSLETTERS)
def forwarded_newsletters(mail: Mail) -> Iterator[Message]:
    """Newsletters whose readers have them forwarded: 300 forwarders bring one mailing over two hours.

    That is the time that the mailing takes to be sent. From, Reply-To and the signature are one; the return paths
    are as many as forwarders that rewrite, every second.
    """
    for at, number in mail.at_once(100, max(300, mail.mailboxes // 50), (110, 130)):
        which = int(mail.rng.random() * 300)
        of = newsletter(number, mail.rng)
        rewrites = which % 2 == 1
        forwarder = (REWRITING_FORWARDERS if rewrites else PLAIN_FORWARDERS) + which
        yield mail.message(
            at,
            rented(forwarder),
            forwarded_with_srs(mail.rng, of.mail_from, forwarder) if rewrites else of.mail_from,
            zone=firm(forwarder),
            spf="pass" if rewrites else "fail",
            header_from=of.header_from,
            reply_to=of.reply_to,
            dkim=of.dkim,
            mailing=number,
        )


@kind(6, NOTIFICATIONS)
def forwarding_at_the_large_providers(mail: Mail) -> Iterator[Message]:
    """Mailboxes at Google and Microsoft that are forwarded to here.

    The return path is the mailbox's, `user+caf_=u7=box.com@gmail.com`, or its firm's, `bounces+SRS=…@firm.com`;
    everything else is the author's.
    """
    firms = ranks(60_000, 0.9)
    for at in mail.steadily():
        of, to, number = original(mail.rng), mail.mailbox(), firms(mail.rng)
        at_google = mail.rng.random() < 0.5
        if at_google:
            name = "gmail.com" if number % 2 else firm(200_000 + number)
            sender = f"{person(mail.rng)}{number}+caf_={to.replace('@', '=')}@{name}"
        else:
            sender = f"bounces+SRS={token(mail.rng, 5)}={token(mail.rng, 2)}@{firm(number)}"
        yield mail.message(
            at,
            google(mail) if at_google else microsoft(mail),
            sender,
            zone="google.com" if at_google else "outbound.protection.outlook.com",
            rcpt_to=to,
            header_from=of.header_from,
            reply_to=of.reply_to,
            dkim=of.dkim,
        )


@kind(40, LETTERS_OF_FIRMS)
def filters_in_the_cloud(mail: Mail) -> Iterator[Message]:
    """Firms whose mail leaves by a filter, each firm an organisation; 15,000 of them.

    There are three large filters with twenty networks each. Two in three firms sign, with their own name.
    """
    pools = [hosts_of([f"148.163.{number * 32 + net}" for net in range(20)], 1, 120) for number in range(3)]
    which = ranks(15_000, 0.8)
    for at in mail.steadily():
        number = which(mail.rng)
        name = firm(4_300_000 + number)
        yield mail.message(
            at,
            pools[number % 3],
            f"{person(mail.rng)}@{name}",
            zone=f"filter{number % 3}.com",
            rcpt_to=mail.mailboxes_of_a_letter(),
            dkim=name if number % 9 < 6 else (),
        )


@kind(2, NOTIFICATIONS)
def second_mx(mail: Mail) -> Iterator[Message]:
    """The server's own relay elsewhere: it passes on what came to it, all kinds of organisation from one network.

    SPF is not asked of it.
    """
    pool = ("203.0.113.25",)
    for at in mail.steadily():
        of = original(mail.rng)
        yield mail.message(
            at,
            pool,
            of.mail_from,
            zone="mx2.box.com",
            helo="mx2.box.com",
            spf=None,
            header_from=of.header_from,
            reply_to=of.reply_to,
            dkim=of.dkim,
        )


@kind(10, NOTIFICATIONS)
def retries_from_the_same_pool(mail: Mail) -> Iterator[Message]:
    """Senders deferred before for other reasons, a grey list or a full mailbox, who come again.

    Each message comes three times within half an hour, each time from another address and network of its sender's
    pool of 64.
    """
    pools = [hosts_of([f"83.{number}.{net}" for net in range(16)], 1, 4) for number in range(50)]
    which = ranks(50, 0.7)
    for at, message in mail.at_once(2, 4, (15, 30)):
        number = which(mail.rng)
        name = firm(4_400_000 + number)
        yield mail.message(
            at,
            pools[number],
            f"m{message}@out.{name}",
            zone=name,
            header_from=f"service@{name}",
            dkim=name,
            mailing=message,
        )


@kind(5, LETTERS_OF_FIRMS)
def several_recipients(mail: Mail) -> Iterator[Message]:
    """Letters to a whole department: three to fifty mailboxes in one transaction."""
    which = ranks(20_000, 0.8)
    for at in mail.steadily():
        number = 4_500_000 + which(mail.rng)
        to = [mail.mailbox() for _ in range(min(50, int(3 / (1 - mail.rng.random()))))]
        name = firm(number)
        dkim = name if number % 2 else ()
        yield mail.message(at, rented(number), f"{person(mail.rng)}@{name}", zone=name, rcpt_to=to, dkim=dkim)


@kind(3, LETTERS_OF_FIRMS)
def a_queue_that_was_held(mail: Mail) -> Iterator[Message]:
    """Firms whose server was cut off: what it has for this server comes within two minutes."""
    for at, number in mail.at_once(20, 300, (1, 2)):
        name = firm(4_600_000 + number)
        pool, dkim = rented(4_600_000 + number), name if number % 2 else ()
        yield mail.message(at, pool, f"{person(mail.rng)}@{name}", zone=name, dkim=dkim)
