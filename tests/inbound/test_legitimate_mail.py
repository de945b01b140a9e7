"""Ordinary mail from a cold start is hardly ever deferred by the policy `inbound`, and each of its limits does have
something to do with that mail.

`.venv/bin/python tests/legitimate_mail.py` prints the same runs as tables.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from legitimate_mail import guard_for, table, trial
from mail.kinds import KINDS
from mail.mix import START_US, ordinary_mail
from mail.trial import Trial
from throttle import Limit, Policy, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from mail.message import Message

ONE_IN_TEN_THOUSAND = 0.0001
ONE_IN_A_THOUSAND = 0.001


def seed_of(rng: random.Random) -> str:
    seed = str(rng.getrandbits(32))
    print(f"\n--seed {seed}")
    return seed


def check_volume(seen: Trial, per_hour: int, first_hour: float, second_hour: float) -> None:
    print(table(seen))
    for hour, allowed in enumerate((first_hour, second_hour)):
        assert 0.7 * per_hour < seen.sent(hour) < 1.4 * per_hour
        assert seen.share_deferred(hour) <= allowed
    # a mailing of a rare kind may not come at all in two hours of little mail
    assert len({kind for _, kind in seen.messages}) >= len(KINDS) - (5 if per_hour < 100_000 else 0)


@pytest.mark.parametrize("per_hour", [10_000, 100_000])
def test_from_a_cold_start_one_message_in_ten_thousand_is_deferred_at_most(per_hour: int, rng: random.Random) -> None:
    seen = trial(per_hour, seed_of(rng))
    check_volume(seen, per_hour, ONE_IN_TEN_THOUSAND, ONE_IN_TEN_THOUSAND)


@pytest.mark.slow
def test_a_million_an_hour_under_five_times_the_limits_loses_no_more_after_the_first_hour(rng: random.Random) -> None:
    check_volume(trial(1_000_000, seed_of(rng)), 1_000_000, ONE_IN_A_THOUSAND, ONE_IN_TEN_THOUSAND)


def test_a_server_that_is_reached_by_ipv6_defers_no_more(rng: random.Random) -> None:
    seen = trial(100_000, seed_of(rng), ipv6=True)
    check_volume(seen, 100_000, ONE_IN_TEN_THOUSAND, ONE_IN_TEN_THOUSAND)


def test_by_ipv6_it_is_the_quota_that_lets_the_customers_of_the_two_largest_providers_pass(rng: random.Random) -> None:
    limits = [Limit(**{k: v for k, v in limit.fields.items() if k != "quota"}) for limit in Policy.builtin().limits]
    seed = seed_of(rng)
    seen = Trial(Throttle(Policy(limits), seed=rng.randbytes(16)), seed).run(ordinary_mail(seed, 100_000, 1, ipv6=True))
    assert {(kind, limit) for _, kind, limit in seen.deferred} == {
        ("microsoft 365 customers", "net-org-fan-out"),
        ("google workspace customers", "client-org-fan-out"),
    }


#: Rates at which ordinary mail at 100,000 messages an hour does meet a limit: that `inbound` defers none of it is not
#: for want of such mail.
MET_AT = {
    "net-pace": "30/minute",
    "client-pace": "20/minute",
    "pair-pace": "20/minute",
    "host-pace": "60/minute",
    "org-fan-out": "20/10 minutes",
    "org-fresh": "20/10 minutes",
    "net-org-fan-out": "20/10 minutes",
    "client-org-fan-out": "10/10 minutes",
    "reply-to-fan-out": "4/10 minutes",
    "rcpt-pace": "2/minute",
}


@pytest.mark.parametrize("name", MET_AT)
def test_a_tighter_limit_would_be_met(name: str, rng: random.Random) -> None:
    seen = trial(100_000, seed_of(rng), hours=0.5, rates={name: MET_AT[name]})
    print(seen.limits())
    assert seen.limits().keys() == {name}


def test_a_deferred_message_comes_again_after_five_ten_and_twenty_minutes_from_its_senders_pool() -> None:
    guard = Throttle(
        Policy([Limit(name="pace", per="global", rate="1/35 minutes", algorithm="gcra", when_full="admit")])
    )
    first = next(ordinary_mail("retry", 1_000, 1))._replace(at_us=START_US, pool=("192.0.2.1", "192.0.2.2"))
    held = first._replace(at_us=START_US + 1)
    later = first._replace(at_us=START_US + 60 * 60_000_000)
    seen = Trial(guard, "retry").run([first, held, later])
    assert seen.longest_delay_us == 35 * 60_000_000
    assert sum(seen.deferred.values()) == 2  # the last finds the bucket full of the second's retry
    assert [due - later.at_us for due, *_ in seen.waiting] == [5 * 60_000_000]


def test_one_seed_is_one_traffic_in_order_of_time_and_another_seed_another() -> None:
    def mail(seed: str) -> list[Message]:
        return list(ordinary_mail(seed, 20_000, 0.25))

    one = mail("a")
    assert one == mail("a")
    assert one != mail("b")
    assert [message.at_us for message in one] == sorted(message.at_us for message in one)


def test_every_kind_brings_its_share_of_the_mail() -> None:
    hours, volume = 20, 20_000
    counts = Counter(message.kind for message in some_days(hours, volume))
    whole = sum(kind.share for kind in KINDS)
    for kind in KINDS:
        expected = hours * volume * kind.share / whole
        assert 0.5 * expected < counts[kind.name] < 1.6 * expected, kind.name
    assert len(KINDS) >= 20


def some_days(hours: int, volume: int) -> Iterator[Message]:
    return ordinary_mail("shares", volume, hours)


def test_the_guard_of_a_volume_has_its_scale() -> None:
    assert [guard_for(per_hour, "x").policy.scale for per_hour in (10_000, 100_000, 1_000_000)] == [1, 1, 5]
