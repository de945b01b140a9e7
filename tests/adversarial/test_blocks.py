"""Blocks as a weapon: a forger who wants somebody else blocked, and a flood that wants to be rid of the blocks or to
fill what operators list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import OWNER, flood, held, networks, run
from given_guards import REAL, SEED, guard, limit
from throttle import Envelope, ManualClock, Policy, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot

FLOOD = 4_000


def test_a_forger_has_nobody_blocked_but_himself() -> None:
    clock = ManualClock(REAL)
    pace = guard(
        limit("owner", "sender.org", "60/minute", verified="proven", action="block 1 day"),
        limit("network", "client.net/24/48", "60/minute", action="block 1 day"),
        limit("spread", "client.net/24/48", "60/minute", distinct="sender.org", action="block 1 day"),
        clock=clock,
    )
    provider = Envelope(client_ip="198.51.100.7", client_name="mx.salesforce.com", mail_from="a@um8.salesforce.com")
    passed = 0
    for number in range(FLOOD):
        forged = Envelope(
            client_ip=f"203.{number % 4}.113.9",
            client_name=f"host{number}.evil.net",
            helo="mx.salesforce.com",
            mail_from=f"a@h{number}.salesforce.com" if number % 2 else f"a@made{number}.com",
            rcpt_to=["a@salesforce.com"],
            auth_user=None,
        )
        pace.check(forged)
        if number % 20 == 0:
            passed += bool(pace.check(provider))
            clock.advance(1)
    assert passed == FLOOD // 20
    told = sorted((entry.by, entry.value) for entry in pace.blocked())
    networks = [("network", f"203.{number}.113.0/24") for number in range(4)]
    assert told == [*networks, ("spread", "203.0.113.0/24"), ("spread", "203.2.113.0/24")], "its own networks, no other"


def test_a_flood_neither_evicts_a_block_nor_fills_what_operators_list() -> None:
    clock = ManualClock(REAL)
    policy = Policy([limit("once", "client.ip", "1/hour", action="block 1 hour", memory="128 KiB")])
    pace = Throttle(policy, memory="256 KiB", clock=clock, seed=SEED)
    pace.block("sender.org", "ex.com", seconds=3600)
    listed = [entry for entry in pace.blocked() if entry.by == "operator"]

    def twice(number: int) -> None:
        envelope = Envelope(client_ip=f"10.{number // 65536}.{number // 256 % 256}.{number % 256}", mail_from="a@b.com")
        for _ in range(2):
            pace.check(envelope)

    for number in range(100):
        twice(number)
    first = [entry.until for entry in pace.blocked() if entry.by == "once"]
    assert len(first) >= 95, "a table of a page, half full"
    assert set(first) == {REAL + 3600}
    clock.advance(60)
    for number in range(100, FLOOD):
        twice(number)
    after = [entry for entry in pace.blocked() if entry.by == "once"]
    assert [entry.until for entry in after].count(REAL + 3600) == len(first), "evicted"
    [blocks] = [table for table in pace.tables() if table.table == "blocks"]
    assert blocks.used == len(after) <= blocks.slots
    assert blocks.untracked >= FLOOD - blocks.slots
    assert [entry for entry in pace.blocked() if entry.by == "operator"] == listed
    assert pace.check(Envelope(client_ip="192.0.2.1", mail_from="a@ex.com")).limit == "blocked"
    # Whose block found no room is refused by the limit itself: every one of them that the limit's own table tracks.
    last = Envelope(client_ip=f"10.0.{(FLOOD - 1) // 256}.{(FLOOD - 1) % 256}", mail_from="a@b.com")
    assert not pace.check(last)
    clock.advance(3600)
    assert [entry.by for entry in pace.blocked()] == []
    twice(FLOOD)
    assert len(pace.blocked()) == 1, "what is over makes room"


@pytest.mark.parametrize("spf", [None, "pass"], ids=["the reverse name alone", "SPF"])
def test_a_customer_of_an_access_provider_has_his_provider_blocked_only_with_its_spf(
    spf: str | None, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """The policy is `inbound`, whose `owner-pace` blocks here. A customer's reverse name is below his provider's name,
    so his mail is `named`. It has the limits of proven mail, but counters of its own, and it never blocks.
    """
    policy = Policy.parse('extends = "inbound"\n[[limit]]\nname = "owner-pace"\naction = "block 10 minutes"\n')
    provider = flood(
        lambda n: "news@isp.com",
        lambda n: f"198.51.{n % 20}.9",
        count=400,
        spf="pass",
        kind="the provider itself",
        rng=rng,
    )
    attack = [
        shot._replace(envelope=shot.envelope.replace(client_name=f"line{n}.pool.isp.com"))
        for n, shot in enumerate(flood(lambda n: "news@isp.com", networks(1_000), spf=spf))
    ]
    seen = run(sorted([*innocents, *provider], key=lambda shot: shot.at_us), attack, rng, policy=policy)
    if spf:
        assert seen.lost_of("the provider itself") > 0.8, "the SPF record of the provider proves its customers"
        return
    write_down("reverse names of customers against a limit that blocks their provider", seen)
    assert seen.innocent["the provider itself"] == 400
    assert seen.lost == {}
    assert seen.limits.keys() == {"owner-pace"}, "never `blocked`"
    assert abs(seen.admitted - held(attack, OWNER)) <= 1
