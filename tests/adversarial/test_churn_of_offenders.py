"""Thousands of keys driven across half of their limit do not push out the name of who is really heavy.

The attacker knows how names are evicted: the lightest goes. So some of its keys keep sending to sit on slots,
and thousands of others take turns
in what is left, each with as few messages as it takes to cross half of the limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from given_guards import REAL, guard, limit
from throttle import Envelope, ManualClock

if TYPE_CHECKING:
    import random

    from throttle import Offender

SLOTS = 64
HEAVY = "heavy.com"
HEAVY_A_SECOND = 10
HEAVY_FROM = 70  # seconds: by then every slot is taken
SECONDS = 200


class Churn(NamedTuple):
    """What the attacker sends in a second."""

    sitters: int  # keys that send all the time, one message each
    keys: int  # fresh keys, each across half of its limit of ten: six messages, the last of which is named


def offender(name: str, top: list[Offender]) -> tuple[int, float] | None:
    """What it sent of late, and since when it has its name."""
    return next(((one.admitted + one.refused, one.first_seen) for one in top if one.value == name), None)


@pytest.mark.parametrize("churn", [Churn(0, 40), Churn(60, 40), Churn(63, 100)])
def test_the_heavy_one_is_named_once_and_for_all(churn: Churn, rng: random.Random) -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("pace", "sender.org", "10/hour"), clock=clock, memory="16 MiB")
    attacker = hot = fresh = 0
    since = None
    for second in range(SECONDS):
        clock.now = REAL + second
        due = [HEAVY] * (HEAVY_A_SECOND if second >= HEAVY_FROM else 0)
        due += [f"sitter{number}.com" for number in range(churn.sitters)]
        for _ in range(churn.keys):
            due += [f"churn{fresh}.com"] * 6
            fresh += 1
        rng.shuffle(due)
        for sender in due:
            pace.check(Envelope(mail_from=f"a@{sender}"))
        attacker += len(due) - due.count(HEAVY)
        hot += churn.sitters + churn.keys
        top = pace.top("sender.org", SLOTS)
        assert len(top) <= SLOTS
        if second < HEAVY_FROM:
            continue
        found = offender(HEAVY, top)
        assert found is not None, f"lost after {second} s"
        since = since or found[1]
        assert found[1] == since, f"lost and named again by {second} s"
        if second >= HEAVY_FROM + 80:  # every pane of the last minute lies after its first message
            assert found[0] == HEAVY_A_SECOND * (60 + (int(REAL) + second) % 15 + 1)
            assert top[0].value == HEAVY
    print(
        f"\n{churn}: {attacker * 60 // SECONDS} messages a minute of the attacker, {hot * 60 // SECONDS} of them "
        f"named, from {fresh * 60 // SECONDS} "
        f"fresh keys; {HEAVY} with {HEAVY_A_SECOND * 60} a minute keeps its name; to push it out takes more than "
        f"{SLOTS * HEAVY_A_SECOND * 60}"
    )


def test_who_sends_less_than_a_share_of_all_that_is_near_a_limit_may_lose_its_name_and_gets_it_again() -> None:
    """What is not promised: a light one among heavier ones. The message that follows brings its name back."""
    clock = ManualClock(REAL)
    pace = guard(limit("pace", "sender.org", "10/hour"), clock=clock, memory="16 MiB")

    def send(sender: str, count: int) -> None:
        for _ in range(count):
            pace.check(Envelope(mail_from=f"a@{sender}"))

    send("light.com", 6)
    for number in range(SLOTS):
        send(f"heavier{number}.com", 9)
    names = [one.value for one in pace.top("sender.org", SLOTS)]
    assert len(names) == SLOTS
    assert "light.com" not in names
    send("light.com", 1)
    assert "light.com" in [one.value for one in pace.top("sender.org", SLOTS)]
