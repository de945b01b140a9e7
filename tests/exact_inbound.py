"""The policy `inbound` in its plainest words: sets, dictionaries, exact arrival times, unbounded memory.

Written from the policy's file and from the ladder's rule, not from the code: a host that nobody has seen is charged to
the closest part of its name that came back an hour after its first admission and ten minutes ago, at worst to the
organisation.
It knows only what the floods need: one recipient a message, names that need no normalisation, organisations of two
labels, no header and no SPF verdict but a pass. So it has no `pair-rcpt-pace` and the like, which with one recipient a
message allow what `pair-pace` does, and no `all-org-fan-out-spf`.

Times of known elements are coarse, as documented: a unit is a 32,000th of `remember`, and a part is settled at
whichever moment of its unit the return was. Nothing is forgotten here: a run lasts hours, the shortest `remember` a
day.

Invariant: :meth:`ExactInbound.judge` writes nothing; :meth:`ExactInbound.admit` follows what was decided,
so that one difference stays one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from exact_buckets import ExactBuckets

if TYPE_CHECKING:
    from collections.abc import Hashable

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
WARM_UP_US = 2 * HOUR_US
DEEPEST = 5  # labels below the organisation that a part may have


class Message(NamedTuple):
    """One transaction of the play."""

    at_us: int
    group: str
    client_ip: str
    host: str
    proven: bool = False


class Charge(NamedTuple):
    """What one limit wants."""

    limit: str
    buckets: ExactBuckets
    key: Hashable
    told: str  # the key as a refusal would tell it
    excess: int


class Verdict(NamedTuple):
    """What all limits say. ``refusing`` are surely over, ``close`` are over by less than a tick."""

    charges: list[Charge]
    refusing: list[Charge]
    close: list[Charge]


class Known:
    """Elements, and the times that the memory keeps of them, in units of a 32,000th of ``remember``."""

    def __init__(self, remember_us: int) -> None:
        self.unit_us = -(-remember_us // 32_000)
        self.hour = -(-HOUR_US // self.unit_us)
        self.wait = -(-(HOUR_US // 6) // self.unit_us)
        self.first: dict[Hashable, int] = {}
        self.last: dict[Hashable, int] = {}
        self.returned_at: dict[Hashable, int] = {}

    def __contains__(self, element: Hashable) -> bool:
        return element in self.first

    def settled(self, element: Hashable, now_us: int) -> bool:
        """Whether a part of a name came back an hour after its first admission, and ten minutes ago."""
        at = self.returned_at.get(element)
        return at is not None and now_us // self.unit_us > at + self.wait

    def returned(self, element: Hashable) -> bool:
        """Whether an element was admitted again an hour after its first admission."""
        return element in self.returned_at

    def comes_again(self, element: Hashable, now_us: int) -> bool:
        """Whether an admission at ``now_us`` is the second, in a later unit than the first."""
        first = self.first.get(element)
        return first is not None and self.last[element] == first and now_us // self.unit_us > first

    def returns(self, element: Hashable, now_us: int) -> bool:
        """Whether an admission at ``now_us`` is the first after an hour."""
        first = self.first.get(element)
        return first is not None and not self.returned(element) and now_us // self.unit_us - first >= self.hour

    def add(self, element: Hashable, now_us: int) -> None:
        if self.returns(element, now_us):
            self.returned_at[element] = now_us // self.unit_us
        self.first.setdefault(element, now_us // self.unit_us)
        self.last[element] = now_us // self.unit_us


class ExactInbound:
    """The limits of `inbound` that a flood on one mailbox meets."""

    def __init__(self) -> None:
        self.net_pace = ExactBuckets(3000, 60)
        self.client_pace = ExactBuckets(1000, 60)
        self.net_claimed_pace = ExactBuckets(300, 60, 3000)
        self.client_claimed_pace = ExactBuckets(100, 60, 1000)
        self.pair_pace = ExactBuckets(600, 60, 6000)
        self.owner_pace = ExactBuckets(600, 60, 6000)
        self.host_pace = ExactBuckets(600, 60, 6000)
        self.org_fan_out = ExactBuckets(200, 600)
        self.org_fan_out_rcpt = ExactBuckets(1000, 600)
        self.org_fresh = ExactBuckets(2200, 600, 800)
        self.org_net_fan_out = ExactBuckets(1000, 600)
        self.net_org_fan_out = ExactBuckets(200, 600)
        self.client_org_fan_out = ExactBuckets(100, 600)
        self.all_org_fan_out = ExactBuckets(6000, 600)
        self.rcpt_pace = ExactBuckets(60, 60, 600)
        self.hosts = Known(8 * DAY_US)
        self.networks = Known(8 * DAY_US)
        self.organisations = Known(DAY_US)
        self.everybody = Known(DAY_US)
        #: When `all-org-fan-out` first refused an organisation, in units of its memory.
        self.noted: dict[str, int] = {}
        self.began_us: int | None = None

    def judge(self, message: Message) -> Verdict:
        """What every limit says of ``message``."""
        now, proven = message.at_us, message.proven
        if self.began_us is None:
            self.began_us = now
        net, org, parts = message.client_ip.rsplit(".", 1)[0], organisation(message.host), parts_of(message.host)
        told_net, told_client = f"{net}.0/24", f"{message.client_ip}/32"
        is_warm = now >= self.began_us + WARM_UP_US
        charges: list[Charge] = []

        def ask(limit: str, buckets: ExactBuckets, key: Hashable, told: str) -> None:
            charges.append(Charge(limit, buckets, key, told, buckets.excess(key, now)))

        ask("pair-pace", self.pair_pace, (net, org, proven), f"{told_net} + {org}")
        if proven:
            ask("net-pace", self.net_pace, net, told_net)
            ask("client-pace", self.client_pace, message.client_ip, told_client)
            ask("owner-pace", self.owner_pace, org, org)
            ask("host-pace", self.host_pace, message.host, message.host)
        else:
            ask("net-claimed-pace", self.net_claimed_pace, net, told_net)
            ask("client-claimed-pace", self.client_claimed_pace, message.client_ip, told_client)
            if is_warm and not self.networks.returned((org, net)):
                ask("org-net-fan-out", self.org_net_fan_out, org, f"{org} + {org}")
        if message.host != org:
            is_new = message.host not in self.hosts
            if is_new:
                target = next((part for part in parts if self.hosts.settled((org, part), now)), org)
                ask("org-fan-out", self.org_fan_out, (target, proven), target)
                ask("org-fan-out-rcpt", self.org_fan_out_rcpt, (target, proven), target)
            if is_new or self.hosts.comes_again(message.host, now):
                ask("org-fresh", self.org_fresh, (org, proven), org)
        if (net, org) not in self.organisations:
            ask("net-org-fan-out", self.net_org_fan_out, (net, proven), told_net)
            ask("client-org-fan-out", self.client_org_fan_out, (message.client_ip, proven), told_client)
        if not proven and is_warm and org not in self.everybody and not self.is_readmitted(org, now):
            ask("all-org-fan-out", self.all_org_fan_out, None, "global")
        ask("rcpt-pace", self.rcpt_pace, net, f"{told_net} + in@box.com")
        over = [charge for charge in charges if charge.excess > 0]
        refusing = [charge for charge in over if charge.excess >= charge.buckets.tick]
        return Verdict(charges, refusing, [charge for charge in over if charge.excess < charge.buckets.tick])

    def is_readmitted(self, org: str, now_us: int) -> bool:
        """Whether an organisation was refused a minute ago. When the bucket has room, it is charged as usual."""
        unit_us, noted = self.everybody.unit_us, self.noted.get(org)
        has_room = self.all_org_fan_out.excess(None, now_us) <= 0
        return not has_room and noted is not None and now_us >= (noted - (-MINUTE_US // unit_us) + 1) * unit_us

    def refuse(self, message: Message, verdict: Verdict) -> None:
        """Notes what will be let through: what no other limit refuses."""
        if {charge.limit for charge in verdict.refusing} == {"all-org-fan-out"}:
            self.noted.setdefault(organisation(message.host), message.at_us // self.everybody.unit_us)

    def admit(self, message: Message, verdict: Verdict) -> None:
        """Charges every limit, and lets the memories know."""
        now, org, net = message.at_us, organisation(message.host), message.client_ip.rsplit(".", 1)[0]
        for charge in verdict.charges:
            charge.buckets.charge(charge.key, now)
        if message.host != org:
            self.hosts.add(message.host, now)
        for part in parts_of(message.host):
            self.hosts.add((org, part), now)
        if not message.proven:
            self.networks.add((org, net), now)
            self.everybody.add(org, now)
        self.organisations.add((net, org), now)


def organisation(host: str) -> str:
    """The last two labels."""
    return ".".join(host.rsplit(".", 2)[-2:])


def parts_of(host: str) -> list[str]:
    """Proper parts of the name below the organisation, the closest to the host first; a label that cannot be one ends
    the name.
    """
    labels = host.split(".")
    below = len(labels) - 2
    parts = [".".join(labels[-2 - more :]) for more in range(min(below - 1, DEEPEST), 0, -1)]
    return [part for part in parts if all(len(label) <= 63 for label in part.split("."))]
