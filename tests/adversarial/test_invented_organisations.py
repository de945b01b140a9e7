"""Organisations invented for each message, from two hundred networks: nothing ties the messages together.

Gain at the first attempt, after three hours of ordinary mail at 100,000 an hour: 13 % where SPF is checked
(`all-org-fan-out-spf`), 26 % where it is not (`all-org-fan-out`). In the first two hours after a cold start, and under
names that were sent before, everything. Innocents lose nothing: a new organisation that is deferred meanwhile is
admitted when its server tries again for the first time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import FLOOD, SPAN_US, beside_ordinary_mail, flood, held, networks, run
from mail.kinds import HOUR_US, MINUTE_US, Verdicts
from mail.mix import START_US, ordinary_mail

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot
    from mail.trial import Trial

VOLUME = 100_000
HOURS = 3
ATTACK_US = START_US + HOURS * HOUR_US
#: Both limits: amount, seconds, burst.
UNPROVEN = (3_000, 600, 3_000)
CLAIMED = (6_000, 600, 6_000)
#: New organisations of ordinary mail that take a part of it meanwhile, about.
NEW_INNOCENTS = {"none": 80, None: 600}
BY = {"all-org-fan-out", "all-org-fan-out-spf"}


def invented(
    spf: str | None, *, start_us: int = ATTACK_US, span_us: int = SPAN_US, count: int = FLOOD, of: int = 200
) -> list[Shot]:
    """Messages, each in another name, from ``of`` networks."""
    return flood(
        lambda n: f"news@invented-{n}.com", networks(of), count=count, start_us=start_us, span_us=span_us, spf=spf
    )


@pytest.mark.parametrize("hours", [HOURS, pytest.param(24, marks=pytest.mark.soak)])
@pytest.mark.parametrize("spf", ["none", None], ids=["SPF is checked", "SPF is not checked"])
def test_they_are_held_together_and_new_innocents_pass_at_their_first_retry(
    spf: str | None, hours: int, seed: str, rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """After a day, many more organisations have come back, and fill the memory."""
    verdicts = Verdicts(spf=spf is not None, dkim=True)
    attack = invented(spf, start_us=START_US + hours * HOUR_US)
    mail = ordinary_mail(seed, VOLUME, hours + 0.5, verdicts=verdicts)
    seen, trial = beside_ordinary_mail(mail, attack, seed, rng)
    checked = "checked" if spf else "not checked"
    write_down(f"invented organisations that share nothing, {hours} hours after a cold start: SPF is {checked}", seen)
    assert seen.limits.keys() <= BY
    assert seen.share <= (0.15 if spf else 0.28)
    assert abs(seen.admitted + NEW_INNOCENTS[spf] - held(attack, UNPROVEN if spf else CLAIMED)) < 300
    assert sum(seen.lost.values()) <= (0.05 if spf else 0.17) * sum(seen.innocent.values()), "who waits"
    assert_passed_at_the_first_retry(seen, trial)


def assert_passed_at_the_first_retry(seen: Figures, trial: Trial) -> None:
    assert sum(seen.lost.values()) > 300, "the flood does meet ordinary mail"
    assert {limit for _, limit in seen.lost} <= BY
    assert trial.refused_again == {}
    assert trial.longest_delay_us == 5 * MINUTE_US
    assert trial.still_waiting == 0


def test_a_flood_ten_times_as_large_gains_no_more_but_lets_new_innocents_wait_longer(
    seed: str, rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    """Its notes evict one another, and those of innocents, in three minutes: before the first retry."""
    attack = invented("none", count=10 * FLOOD, of=2_000)
    seen, trial = beside_ordinary_mail(ordinary_mail(seed, VOLUME, HOURS + 0.5), attack, seed, rng)
    write_down(
        "invented organisations that share nothing, 3 hours after a cold start: 400,000 from 2,000 networks", seen
    )
    print(f"  deferred twice {trial.refused_again.total()}, longest delay {trial.longest_delay_us / MINUTE_US} min")
    assert seen.admitted < 6_000
    assert {limit for _, limit in seen.lost} <= BY
    assert trial.refused_again.total() < sum(seen.lost.values()) / 2
    assert trial.longest_delay_us <= 15 * MINUTE_US
    assert trial.still_waiting == 0


def test_names_that_were_sent_before_pass(rng: random.Random, write_down: Callable[[str, Figures], None]) -> None:
    """It is what the innocents' retries look like. Listed in docs/algorithms.md."""
    begin = flood(lambda n: "y@other.com", networks(1), count=1, start_us=START_US)
    before = invented("none", start_us=ATTACK_US - HOUR_US)
    attack = invented("none")
    seen = run([], [*begin, *before, *attack], rng, since_us=ATTACK_US)
    write_down("invented organisations that share nothing, 3 hours after a cold start: each sent an hour before", seen)
    assert seen.share == 1


def test_the_first_two_hours_after_a_cold_start_only_learn(
    rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    begin = flood(lambda n: "y@other.com", networks(1), count=1, start_us=START_US)
    attack = invented("none", start_us=START_US + 110 * MINUTE_US)
    seen = run([], [*begin, *attack], rng, since_us=attack[0].at_us)
    write_down("invented organisations that share nothing: 200 networks, within two hours of a cold start", seen)
    assert seen.share == 1
