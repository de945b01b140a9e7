"""A fan-out that counts under one key what is new to another, against sets and numbers: random clients of a few
networks, whose organisations are new to the network or not.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from given_guards import REAL, SEED
from throttle import Envelope, Limit, ManualClock, Policy, Throttle

if TYPE_CHECKING:
    import random

NET, CLIENT = 12, 5

NETS, CLIENTS, ORGANISATIONS = 4, 5, 60

POLICY = Policy(
    [
        Limit(name="net", per="client.net", distinct="sender.org", rate=f"{NET}/day"),
        Limit(name="client", per="client.ip", distinct="sender.org", new_to="client.net", rate=f"{CLIENT}/day"),
    ]
)


class Exact:
    """What each network has brought, and what each key was charged; the trust levels are counted apart."""

    def __init__(self) -> None:
        self.known: set[tuple[int, int]] = set()
        self.charged: Counter[tuple[str, object, bool]] = Counter()

    def refusing(self, net: int, client: int, org: int, proven: bool) -> set[str]:
        if (net, org) in self.known:
            return set()
        over = {"net": self.charged["net", net, proven] >= NET}
        over["client"] = self.charged["client", (net, client), proven] >= CLIENT
        return {name for name, is_over in over.items() if is_over}

    def admit(self, net: int, client: int, org: int, proven: bool) -> None:
        if (net, org) not in self.known:
            self.known.add((net, org))
            self.charged["net", net, proven] += 1
            self.charged["client", (net, client), proven] += 1


def test_a_client_pays_for_what_is_new_to_its_network_and_for_nothing_else(rng: random.Random) -> None:
    told: set[str | None] = set()
    free = 0
    for _ in range(40):
        guard, exact = Throttle(POLICY, memory="1 MiB", clock=ManualClock(REAL), seed=SEED), Exact()
        for _ in range(300):
            net, client, org = rng.randrange(NETS), rng.randrange(CLIENTS), rng.randrange(ORGANISATIONS)
            proven = rng.random() < 0.5
            envelope = Envelope(
                client_ip=f"192.0.{net}.{client + 1}", mail_from=f"a@o{org}.com", spf="pass" if proven else None
            )
            refusing = exact.refusing(net, client, org, proven)
            assert bool(guard.peek(envelope)) == (not refusing)
            decision = guard.check(envelope)
            assert bool(decision) == (not refusing), (decision, refusing)
            told.add(decision.limit)
            if decision:
                free += (net, org) in exact.known
                exact.admit(net, client, org, proven)
                if rng.random() < 0.2:
                    decision.refund()  # what was admitted stays known, so its charge stays too
            else:
                assert decision.limit in refusing
                assert decision.key == (f"192.0.{net}.0/24" if decision.limit == "net" else f"192.0.{net}.{client + 1}")
    assert told == {None, "net", "client"}
    assert free > 1_000


def test_both_limits_share_one_memory_and_refuse_in_shadow_apart() -> None:
    guard = Throttle(POLICY, memory="1 MiB")
    assert [table.table for table in guard.tables()] == ["net", "client", "memory of net, client"]
    net, client = (limit.fields for limit in POLICY.limits)
    guard = Throttle(Policy([Limit(**net), Limit(**client, mode="shadow")]), clock=ManualClock(REAL))
    sent = [guard.check(Envelope(client_ip="192.0.2.1", mail_from=f"a@o{n}.com")) for n in range(NET + 1)]
    assert [bool(decision) for decision in sent] == [True] * NET + [False]
    assert [decision.shadow for decision in sent] == [()] * CLIENT + [("client",)] * (NET + 1 - CLIENT)
