"""Five million unique keys a minute neither take a quota from who keeps it (P3) nor give one to who does not (P4).

Each decision is laid beside an exact oracle: a dictionary of arrival times. A unique key is sent once,
so its own limit never matters.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import pytest

from crowd import INNOCENT_MESSAGES_A_MINUTE, START_US, Crowd
from exact_buckets import ExactBuckets
from throttle import Envelope, Limit, ManualClock, Policy, RateLimiter, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

PER_MINUTE = 100
FLOOD_A_MINUTE = 5_000_000
FLOOD_BETWEEN = FLOOD_A_MINUTE // INNOCENT_MESSAGES_A_MINUTE
MINUTES = 3
#: Who sends more than it may, and how much a minute: the table must not forget even one of them.
GREEDY = {f"greedy{number}.com": (300, 400, 500, 1_000, 2_000)[number % 5] for number in range(100)}


class Seen:
    """What a crowd was told while a flood ran."""

    def __init__(self) -> None:
        self.innocents = 0
        self.false_refusals = 0
        self.excess_admissions = 0
        self.needless_refusals = 0
        self.flood_admitted = 0
        self.greedy_admitted: dict[str, Counter[int]] = {name: Counter() for name in GREEDY}


def play(crowd: Crowd, minutes: int, clock: ManualClock, hit: Callable[[str], bool]) -> Seen:
    """Between two messages of the crowd stand 25 of the flood."""
    seen, oracle = Seen(), crowd.oracle
    unique = admitted = 0
    for message in crowd.minutes(minutes):
        clock.now = message.at_us / 1e6
        if message.greedy:
            excess = oracle.excess(message.key, message.at_us)
            if hit(message.key):
                oracle.charge(message.key, message.at_us)
                seen.greedy_admitted[message.key][(message.at_us - START_US) // 60_000_000] += 1
                seen.excess_admissions += excess >= oracle.tick
            else:
                seen.needless_refusals += excess <= 0
            continue
        seen.innocents += 1
        seen.false_refusals += not hit(message.key)
        for number in range(unique, unique + FLOOD_BETWEEN):
            if hit(f"u{number}.com"):
                admitted += 1
        unique += FLOOD_BETWEEN
    seen.flood_admitted = admitted
    return seen


def crowd_of(rng: random.Random) -> Crowd:
    return Crowd(rng, ExactBuckets(PER_MINUTE, 60), GREEDY)


def a_minute_after_the_first(seen: Seen) -> tuple[int, int]:
    """The least and the most that a greedy sender got in a minute; in the first it has its burst besides."""
    admitted = [minutes[minute] for minutes in seen.greedy_admitted.values() for minute in range(1, MINUTES)]
    return min(admitted), max(admitted)


def report(title: str, seen: Seen, limiter: RateLimiter) -> None:
    """For who reads the test's output."""
    least, most = a_minute_after_the_first(seen)
    print(
        f"\n{title}: {seen.innocents} innocent messages, {seen.false_refusals} refused; greedy {least}-{most} a "
        f"minute, "
        f"{seen.excess_admissions} in excess, {seen.needless_refusals} needlessly refused; flood admitted "
        f"{seen.flood_admitted}; "
        f"untracked {limiter.untracked}, load {limiter.load:.2f}"
    )


def limited(memory: str, when_full: Literal["admit", "refuse"], rng: random.Random) -> tuple[Seen, RateLimiter]:
    clock = ManualClock(START_US / 1e6)
    seed = rng.randbytes(16)
    limiter = RateLimiter(f"{PER_MINUTE}/minute", memory=memory, when_full=when_full, clock=clock, seed=seed)
    hit = limiter.hit
    seen = play(crowd_of(rng), MINUTES, clock, lambda key: hit(key).allowed)
    report(f"{memory}, {when_full}", seen, limiter)
    assert seen.innocents == MINUTES * INNOCENT_MESSAGES_A_MINUTE
    return seen, limiter


@pytest.mark.slow
def test_no_innocent_is_refused_and_the_greedy_are_held(rng: random.Random) -> None:
    seen, _ = limited("1 MiB", "admit", rng)
    least, most = a_minute_after_the_first(seen)
    assert (seen.false_refusals, seen.needless_refusals, seen.excess_admissions) == (0, 0, 0)
    assert least >= PER_MINUTE
    assert most <= PER_MINUTE * 11 // 10
    assert seen.flood_admitted == MINUTES * FLOOD_A_MINUTE


@pytest.mark.slow
def test_a_table_that_is_full_all_the_time_still_refuses_no_innocent(rng: random.Random) -> None:
    seen, limiter = limited("256 KiB", "admit", rng)
    assert limiter.untracked > FLOOD_A_MINUTE
    assert (seen.false_refusals, seen.needless_refusals) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["1 MiB", "256 KiB"])
def test_a_table_that_refuses_when_full_admits_nothing_in_excess(memory: str, rng: random.Random) -> None:
    seen, limiter = limited(memory, "refuse", rng)
    assert limiter.untracked == 0
    assert seen.excess_admissions == 0
    assert a_minute_after_the_first(seen)[1] <= PER_MINUTE * 11 // 10
    assert sum(sum(minutes.values()) for minutes in seen.greedy_admitted.values()) > MINUTES * PER_MINUTE


@pytest.mark.slow
def test_a_policy_of_one_limit_refuses_no_innocent_and_holds_the_greedy(rng: random.Random) -> None:
    clock = ManualClock(START_US / 1e6)
    policy = Policy([Limit(name="pace", per="sender.org", rate=f"{PER_MINUTE}/minute")])
    guard = Throttle(policy, memory="1 MiB", clock=clock, seed=rng.randbytes(16))
    check = guard.check
    seen = play(crowd_of(rng), MINUTES, clock, lambda key: check(Envelope(mail_from=f"m@{key}")).allowed)
    least, most = a_minute_after_the_first(seen)
    print(
        f"\npolicy: {seen.false_refusals} of {seen.innocents} innocent messages refused, greedy {least}-{most} a "
        f"minute; {guard.tables()}"
    )
    assert (seen.false_refusals, seen.needless_refusals, seen.excess_admissions) == (0, 0, 0)
    assert least >= PER_MINUTE
    assert most <= PER_MINUTE * 11 // 10
    assert seen.flood_admitted == MINUTES * FLOOD_A_MINUTE
