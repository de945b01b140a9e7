"""Who takes part in the replay of the outage: organisations, a provider, mailing lists, tenants, the flood's networks.

It knows names and addresses, not messages.
Invariant: a pure function of the seed; the same in the servers' processes, which are fed the quiet hours, and in the
clients'.
"""

from __future__ import annotations

import random
import string
from dataclasses import dataclass

FLOODED = "salesforce.com"
PROVIDER = "lantern-post.net"

FLOOD_NETWORKS = 64
ORGANISATIONS = 560
LISTS = 30
PROVIDER_SENDERS = 50
TENANTS = 100
FRESH_TENANTS = 20

_FIRST = """
    amber birch cedar copper coral cobalt dawn delta ember fern flint garnet granite hazel heron indigo
    ivory juniper larch linden maple marble meadow north opal pine quartz river slate timber umber willow
""".split()  # noqa: SIM905  one word a line would fill a page
_SECOND = """
    bakery books bridge cargo chapel clinic college council dental design farm garden harbour hotel insurance kitchen
    legal library market museum music orchard print rail school shipping studio theatre tools travel works yard
""".split()  # noqa: SIM905  one word a line would fill a page
_TLDS = ("com", "net", "org", "de", "fr", "nl", "se", "ch", "co.uk", "com.au", "co.jp", "eu")


@dataclass(frozen=True, slots=True)
class Party:
    """A sender: its mailbox, its host, the address it writes from."""

    local: str
    host: str
    client_ip: str


@dataclass(frozen=True, slots=True)
class Cast:
    """All parties of one seed."""

    flood_networks: list[str]  # first three octets with their dot
    organisations: list[Party]
    lists: list[Party]
    provider: list[Party]  # writes from inside the flood's networks
    tenants: list[Party]  # one host each
    fresh_tenants: list[Party]  # `host` is the name below which each message has a fresh one

    @classmethod
    def of(cls, seed: int) -> Cast:
        """The cast of a seed."""
        rng = random.Random(f"cast {seed}")
        networks = [f"198.18.{third}." for third in rng.sample(range(256), FLOOD_NETWORKS)]
        pairs = rng.sample([(first, second) for first in _FIRST for second in _SECOND], ORGANISATIONS + LISTS)
        names = [f"{first}-{second}.{rng.choice(_TLDS)}" for first, second in pairs]
        return cls(
            networks,
            [Party("office", f"mail.{name}", _elsewhere(rng)) for name in names[:ORGANISATIONS]],
            [Party("bounces", f"lists.{name}", _elsewhere(rng)) for name in names[ORGANISATIONS:]],
            [Party(f"customer{n}", PROVIDER, _inside(rng, networks)) for n in range(PROVIDER_SENDERS)],
            [Party("crm", _tenant(rng), _inside(rng, networks)) for _ in range(TENANTS)],
            [Party("bounce", _tenant(rng), _inside(rng, networks)) for _ in range(FRESH_TENANTS)],
        )


def label(rng: random.Random) -> str:
    """A label that nobody has seen before."""
    return "".join(rng.choices(string.ascii_lowercase + string.digits, k=14))


def _tenant(rng: random.Random) -> str:
    return f"{rng.getrandbits(32):08x}.cs{rng.randint(14, 17)}.bnc.sandbox.{FLOODED}"


def _inside(rng: random.Random, networks: list[str]) -> str:
    return f"{rng.choice(networks)}{rng.randint(1, 254)}"


def _elsewhere(rng: random.Random) -> str:
    if rng.random() < 0.2:
        return f"2001:db8:{rng.getrandbits(16):x}::{rng.randint(1, 0xFFFF):x}"
    return f"198.19.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
