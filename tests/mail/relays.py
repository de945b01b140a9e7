"""Those who pass on what others wrote: lists, forwarders, filters, the server's own second MX;
and those who come again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mail.kinds import Mail, kind, ranks
from mail.names import firm, hosts_of, person, rented, token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mail.message import Message


@kind(30)
def mailing_lists(mail: Mail) -> Iterator[Message]:
    """A post goes to all subscribers at once, each with a return path of its own (VERP):
    `list-bounces+user=box.com@lists.org`.
    """
    for at, number in mail.at_once(1, max(10, mail.mailboxes // 500), (0.5, 5)):
        server = number * 13 % 600
        host = f"lists.{firm(4_000_000 + server)}"
        to = mail.mailbox()
        sender = f"list{number % 5}-bounces+{to.replace('@', '=')}@{host}"
        # half of them take the answers themselves
        answers = f"list{number % 5}@{host}" if server % 2 else None
        spf = "pass" if server % 4 else None
        yield mail.message(at, rented(4_000_000 + server), sender, zone=host, spf=spf, rcpt_to=to, reply_to=answers)


@kind(10)
def forwarders_that_rewrite(mail: Mail) -> Iterator[Message]:
    """`SRS0=hash=day=original=user@forwarder`: the forwarder is the sender, SPF passes for it; 400 of them."""
    which = ranks(400, 0.8)
    for at in mail.steadily():
        forwarder = 4_100_000 + which(mail.rng)
        original = firm(mail.rng.randrange(300_000))
        sender = f"SRS0={token(mail.rng, 4)}={token(mail.rng, 2)}={original}={person(mail.rng)}@{firm(forwarder)}"
        yield mail.message(at, rented(forwarder), sender, zone=firm(forwarder))


@kind(10)
def forwarders_that_do_not(mail: Mail) -> Iterator[Message]:
    """Alumni addresses, old accounts: everybody's mail from one network, SPF fails.

    300 of them, the originals from anywhere.
    """
    which, original = ranks(300, 0.8), ranks(300_000, 0.8)
    for at in mail.steadily():
        forwarder = 4_200_000 + which(mail.rng)
        sender = f"{person(mail.rng)}@{firm(original(mail.rng))}"
        yield mail.message(at, rented(forwarder), sender, zone=firm(forwarder), spf="fail")


@kind(40)
def filters_in_the_cloud(mail: Mail) -> Iterator[Message]:
    """Firms whose mail leaves by a filter (three large ones, twenty networks each): each firm an organisation;
    15,000 of them.
    """
    pools = [hosts_of([f"148.163.{number * 32 + net}" for net in range(20)], 1, 120) for number in range(3)]
    which = ranks(15_000, 0.8)
    for at in mail.steadily():
        number = which(mail.rng)
        sender = f"{person(mail.rng)}@{firm(4_300_000 + number)}"
        yield mail.message(at, pools[number % 3], sender, zone=f"filter{number % 3}.com")


@kind(2)
def second_mx(mail: Mail) -> Iterator[Message]:
    """The server's own relay elsewhere passes on what came to it: all kinds of organisation from one network.

    SPF is not asked of it.
    """
    original = ranks(300_000, 0.8)
    pool = ("203.0.113.25",)
    for at in mail.steadily():
        sender = f"{person(mail.rng)}@{firm(original(mail.rng))}"
        yield mail.message(at, pool, sender, zone="mx2.box.com", helo="mx2.box.com", spf=None)


@kind(10)
def retries_from_the_same_pool(mail: Mail) -> Iterator[Message]:
    """Deferred before for other reasons, a grey list or a full mailbox: each message comes three times within half an
    hour, each time from another
    address and network of its sender's pool of 64.
    """
    pools = [hosts_of([f"83.{number}.{net}" for net in range(16)], 1, 4) for number in range(50)]
    which = ranks(50, 0.7)
    for at, message in mail.at_once(2, 4, (15, 30)):
        number = which(mail.rng)
        yield mail.message(
            at, pools[number], f"m{message}@out.{firm(4_400_000 + number)}", zone=firm(4_400_000 + number)
        )


@kind(5)
def several_recipients(mail: Mail) -> Iterator[Message]:
    """A letter to a whole department: three to fifty mailboxes in one transaction."""
    which = ranks(20_000, 0.8)
    for at in mail.steadily():
        number = 4_500_000 + which(mail.rng)
        to = [mail.mailbox() for _ in range(min(50, int(3 / (1 - mail.rng.random()))))]
        yield mail.message(at, rented(number), f"{person(mail.rng)}@{firm(number)}", zone=firm(number), rcpt_to=to)


@kind(3)
def a_queue_that_was_held(mail: Mail) -> Iterator[Message]:
    """A firm's server was cut off; what it has for this server comes within two minutes."""
    for at, number in mail.at_once(20, 300, (1, 2)):
        name = firm(4_600_000 + number)
        yield mail.message(at, rented(4_600_000 + number), f"{person(mail.rng)}@{name}", zone=name)
