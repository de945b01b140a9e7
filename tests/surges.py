"""Twelve surges on top of ordinary mail, and what `diagnose` must name of each.

Each flood invents all that it does not share: names, addresses and networks.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from mail.kinds import MINUTE_US
from mail.mix import START_US
from throttle import Envelope, Limit, Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from throttle.types import EnvelopeFields


#: Ordinary messages an hour.
PER_HOUR = 10_000
#: When a guard is asked: half a minute after a full one.
END_US = START_US + 75 * MINUTE_US + MINUTE_US // 2
#: No limit of it refuses anything here.
OPEN = Policy([Limit(name="all", per="global", rate="1000000/minute")])


class Surge(NamedTuple):
    """A surge: the nth message of it, and the state and the findings that are expected."""

    name: str
    message: Callable[[random.Random, int], EnvelopeFields]
    state: str
    found: tuple[tuple[str, str], ...]


def network(rng: random.Random) -> str:
    """An address in a network that no other message comes from."""
    return f"{rng.randrange(11, 200)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def word(rng: random.Random) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=10))


def invented(rng: random.Random, **shared: object) -> EnvelopeFields:
    """A message that shares nothing but what is stated."""
    domain = f"{word(rng)}.com"
    author = f"{word(rng)}@{word(rng)}.net"
    fields: EnvelopeFields = {
        "client_ip": network(rng),
        "helo": f"mail.{word(rng)}.org",
        "mail_from": f"{word(rng)}@{domain}",
        "rcpt_to": f"u{rng.randrange(5000)}@d{rng.randrange(97)}.box.com",
        "spf": "none",
        "header_from": author,
        "reply_to": f"{word(rng)}@{word(rng)}.com",
        "dkim": f"{word(rng)}.com",
    }
    fields.update(shared)  # type: ignore[typeddict-item]
    return fields


def same_reply_to(rng: random.Random, n: int) -> EnvelopeFields:
    return invented(rng, reply_to=(f"Case {n} <Case@Desk.com>", "case@desk.com")[n % 2])


def same_from(rng: random.Random, n: int) -> EnvelopeFields:
    return invented(rng, header_from="Billing <billing@invoices.com>", reply_to=None)


def same_network(rng: random.Random, n: int) -> EnvelopeFields:
    return invented(rng, client_ip=f"203.0.113.{rng.randrange(1, 255)}")


def networks_of_one_provider(rng: random.Random, n: int) -> EnvelopeFields:
    address = network(rng)
    return invented(rng, client_ip=address, client_name=f"{address.replace('.', '-')}.static.cheap-hosting.com")


def same_organisation(rng: random.Random, n: int) -> EnvelopeFields:
    return invented(rng, mail_from=f"bounce@{word(rng)}.sender-inc.com")


def same_recipient(rng: random.Random, n: int) -> EnvelopeFields:
    return invented(rng, rcpt_to="victim@d7.box.com")


def same_helo(rng: random.Random, n: int) -> EnvelopeFields:
    return invented(rng, helo="WIN-K2J9QF")


def same_dkim(rng: random.Random, n: int) -> EnvelopeFields:
    return invented(rng, dkim=("bulk-signer.com", f"{word(rng)}.com"))


def tenants_of_a_private_suffix(rng: random.Random, n: int) -> EnvelopeFields:
    return invented(rng, mail_from=f"{word(rng)}@{word(rng)}.github.io")


def two_floods(rng: random.Random, n: int) -> EnvelopeFields:
    return same_reply_to(rng, n) if n % 2 else same_network(rng, n)


def newsletter(rng: random.Random, n: int) -> EnvelopeFields:
    return invented(
        rng,
        client_ip=f"192.0.2.{rng.randrange(1, 20)}",
        client_name=f"m{n % 19}.mailer.news-shop.com",
        helo=f"m{n % 19}.mailer.news-shop.com",
        mail_from=f"b-{n}@bounce.news-shop.com",
        spf="pass",
        header_from="News <news@news-shop.com>",
        reply_to=None,
        list_id="<weekly.news-shop.com>",
        dkim="news-shop.com",
    )


def nothing_in_common(rng: random.Random, n: int) -> EnvelopeFields:
    return invented(rng)


SURGES = (
    Surge("the same Reply-To", same_reply_to, "surge", (("reply_to.address", "case@desk.com"),)),
    Surge("the same From", same_from, "surge", (("from.address", "billing@invoices.com"),)),
    Surge("one network", same_network, "surge", (("client.net/24/48", "203.0.113.0/24"),)),
    Surge("networks of one provider", networks_of_one_provider, "surge", (("client.org", "cheap-hosting.com"),)),
    Surge("one organisation", same_organisation, "surge", (("sender.org", "sender-inc.com"),)),
    Surge("one recipient", same_recipient, "surge", (("rcpt.address", "victim@d7.box.com"),)),
    Surge("the same HELO", same_helo, "surge", (("helo.host", "win-k2j9qf"),)),
    Surge("the same signature", same_dkim, "surge", (("dkim.org", "bulk-signer.com"),)),
    Surge("tenants of a private suffix", tenants_of_a_private_suffix, "surge", (("sender.registered", "github.io"),)),
    Surge(
        "two floods at once",
        two_floods,
        "surge",
        (("client.net/24/48", "203.0.113.0/24"), ("reply_to.address", "case@desk.com")),
    ),
    Surge("a large harmless newsletter", newsletter, "mass-mail", (("sender.org", "news-shop.com"),)),
    Surge("nothing in common", nothing_in_common, "scattered", ()),
)


def flood(surge: Surge, minutes: float, times: float) -> list[tuple[int, Envelope]]:
    """The messages of a surge that lasts so long until the end, and brings `times` as many as ordinary mail does."""
    rng = random.Random(surge.name)
    span_us, count = int(minutes * MINUTE_US), int(PER_HOUR / 60 * minutes * times)
    return [(END_US - span_us + span_us * n // count, Envelope(**surge.message(rng, n))) for n in range(count)]
