"""The outage as a play of messages: an organisation with many tenants, others, and a flood below the organisation in
one of several shapes.

It knows no guard and no limit; who plays it stands in tests/adversarial.
Tenants: 300 with one host each, 40 that write a fresh host a message below a name of their own,
and one more of those that will flood.
In the first 85 minutes the 40 write five messages a minute together, since an organisation that nobody knows may bring
200 hosts in ten minutes;
then, each of them being settled, five a minute each. While a flood runs all keep sending,
the others more often than before, so that a refusal is seen.

Invariant: every act is in order of time, and the acts follow one another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exact_inbound import Message

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

ORGANISATION = "bigmail.com"
START_US = 1_795_000_000_000_000  # November 2026
MINUTE_US = 60_000_000
QUIET_US = 180 * MINUTE_US
COLD_US = 85 * MINUTE_US
FLUSH_US = 2 * MINUTE_US
FLOOD_US = 8 * MINUTE_US
FRESH_HOST_PACE_US = MINUTE_US // 5

ONE_HOST_TENANTS = 300
FRESH_HOST_TENANTS = 40
OTHERS = 800
FLOOD = 40_000
FLUSHED = 60_000
NETWORKS = 200

INNOCENTS = ("tenants with one host", "tenants with fresh hosts", "others")

#: Where the nth message of a flood says it comes from, by the shape of the flood.
SHAPES: dict[str, Callable[[int], str]] = {
    "fresh hosts under one name": lambda n: f"x{n}.deep.name.sandbox.{ORGANISATION}",
    "fresh names two levels above": lambda n: f"mail.out.x{n}.deep.name.sandbox.{ORGANISATION}",
    "300 names with fresh hosts each": lambda n: f"x{n}.name{n % 300}.sandbox.{ORGANISATION}",
    "hosts directly under the organisation": lambda n: f"x{n}.{ORGANISATION}",
    "malformed hosts": lambda n: f"{n:a>64}.{'' if n % 2 else f'x{n}.'}{ORGANISATION}",
    "a settled tenant below its own name": lambda n: f"x{n}.{own_name(FRESH_HOST_TENANTS)}",
}


def own_name(tenant: int) -> str:
    """Where a tenant's fresh hosts lie: in production, or one label deeper in sandboxes."""
    return f"k{tenant}.8d-{tenant}.um8.bnc.{'sandbox.' if tenant % 2 else ''}{ORGANISATION}"


def flood_network(rng: random.Random) -> str:
    """An address in one of the flood's networks."""
    return f"100.64.{rng.randrange(NETWORKS)}.{rng.randrange(1, 255)}"


class Outage:
    """The messages of each act, from one source of random numbers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.fresh = 0

    def quiet(self) -> list[Message]:
        """Three hours in which everybody gets known."""
        end = START_US + QUIET_US
        cold, warm = (START_US, START_US + COLD_US), (START_US + COLD_US, end)
        together, each = 8 * MINUTE_US, FRESH_HOST_PACE_US
        acts = [
            self.one_host_tenants(START_US, end, 10 * MINUTE_US),
            self.others(START_US, end, 10 * MINUTE_US),
            self.fresh_host_tenants(*cold, together, range(FRESH_HOST_TENANTS), "tenants with fresh hosts"),
            self.fresh_host_tenants(*warm, each, range(FRESH_HOST_TENANTS), "tenants with fresh hosts"),
            self.fresh_host_tenants(
                START_US, end, together, range(FRESH_HOST_TENANTS, FRESH_HOST_TENANTS + 1), "flooder"
            ),
        ]
        return in_order(acts)

    def cold_start(self) -> list[Message]:
        """Three hours in which each tenant with fresh hosts sends five messages a minute from the first minute on."""
        end = START_US + QUIET_US
        fresh = self.fresh_host_tenants(
            START_US, end, FRESH_HOST_PACE_US, range(FRESH_HOST_TENANTS), "tenants with fresh hosts"
        )
        return in_order([self.one_host_tenants(START_US, end, 10 * MINUTE_US), fresh])

    def flush(self) -> list[Message]:
        """Two minutes of organisations that nobody has seen, each with a host so deep that it fills six places of a
        memory.

        Who was there before sends as rarely as in the quiet hours, so that a memory of the latest would lose nearly all
        of them.
        """
        start, end = START_US + QUIET_US, START_US + QUIET_US + FLUSH_US
        return in_order([*self.innocents(start, end, 10 * MINUTE_US, 10 * MINUTE_US), self.invented(start)])

    def flood(self, shape: str, start_us: int) -> list[Message]:
        """Eight minutes."""
        host = SHAPES[shape]
        step = FLOOD_US // FLOOD
        flood = (Message(start_us + n * step, "flood", flood_network(self.rng), host(n)) for n in range(FLOOD))
        return in_order([*self.innocents(start_us, start_us + FLOOD_US, MINUTE_US, FRESH_HOST_PACE_US), flood])

    def innocents(self, start_us: int, end_us: int, pace_us: int, fresh_pace_us: int) -> list[Iterator[Message]]:
        """All who were there before; each sends once in ``pace_us``, a tenant with fresh hosts in ``fresh_pace_us``."""
        tenants = range(FRESH_HOST_TENANTS)
        return [
            self.one_host_tenants(start_us, end_us, pace_us),
            self.others(start_us, end_us, pace_us),
            self.fresh_host_tenants(start_us, end_us, fresh_pace_us, tenants, "tenants with fresh hosts"),
        ]

    def one_host_tenants(self, start_us: int, end_us: int, pace_us: int) -> Iterator[Message]:
        for tenant in range(ONE_HOST_TENANTS):
            for at in self.times(start_us, end_us, pace_us):
                yield Message(at, "tenants with one host", tenant_network(tenant), f"t{tenant}.um8.bnc.{ORGANISATION}")

    def fresh_host_tenants(self, start_us: int, end_us: int, pace_us: int, who: range, group: str) -> Iterator[Message]:
        for tenant in who:
            for at in self.times(start_us, end_us, pace_us):
                self.fresh += 1
                yield Message(at, group, tenant_network(tenant), f"m{self.fresh:06d}.{own_name(tenant)}")

    def others(self, start_us: int, end_us: int, pace_us: int) -> Iterator[Message]:
        """A fifth of them from the flood's own networks, a fifth proven."""
        for number in range(OTHERS):
            inside, network = number % 5 == 0, number % 100
            client = f"100.64.{network}.7" if inside else f"203.0.{network}.7"
            for at in self.times(start_us, end_us, pace_us):
                yield Message(at, "others", client, f"mx.other{number}.com", proven=number % 5 == 1)

    def invented(self, start_us: int) -> Iterator[Message]:
        step = FLUSH_US // FLUSHED
        for n in range(FLUSHED):
            yield Message(start_us + n * step, "invented", flood_network(self.rng), f"a.b.c.d.e.f.inv{n}.com")

    def times(self, start_us: int, end_us: int, pace_us: int) -> range:
        """Evenly, from a random moment on; none when that moment lies behind the end."""
        return range(start_us + self.rng.randrange(pace_us), end_us, pace_us)


def tenant_network(tenant: int) -> str:
    """The organisation sends from twenty networks, five of them the flood's, too."""
    network = tenant % 20
    return f"100.64.{network}.9" if network < 5 else f"198.51.{network}.9"


def in_order(acts: list[Iterator[Message]]) -> list[Message]:
    return sorted((message for act in acts for message in act), key=lambda message: message.at_us)
