"""Quiet hours of ordinary mail, its mailings included: `diagnose` says each time that nothing is wrong.

The mail of short runs is fixed, and `make soak` draws other mail. Hardest is a server that was held up for hours and
sends all it has at once, and many newsletters in the same minutes.
"""

from __future__ import annotations

import heapq
import random
from operator import itemgetter
from typing import TYPE_CHECKING

import pytest

from mail.kinds import MINUTE_US
from mail.mix import START_US, ordinary_mail
from surges import OPEN
from throttle import Envelope, Policy, Throttle
from throttle.diagnosis import report

if TYPE_CHECKING:
    from collections.abc import Iterable

SOAK = [pytest.param(10_000, 20, 5, None, id=f"20 hours, {n}", marks=pytest.mark.soak) for n in range(5)]


@pytest.mark.parametrize("policy", ["inbound", OPEN], ids=["inbound", "open"])
@pytest.mark.parametrize(
    ("per_hour", "hours", "every", "mail"),
    [
        pytest.param(10_000, 5, 5, "1", id="10,000 an hour"),
        pytest.param(10_000, 5, 5, "2", id="10,000 an hour, other mail"),
        pytest.param(100_000, 0.5, 1, "3", id="100,000 an hour"),
        pytest.param(300, 40, 5, "5", id="300 an hour"),
        *SOAK,
    ],
)
def test_nothing_is_wrong_in_quiet_hours(
    per_hour: int, hours: float, every: int, mail: str | None, policy: str | Policy, rng: random.Random
) -> None:
    mail = mail or str(rng.getrandbits(32))
    guard = Throttle(policy, sample=True, seed=random.Random(mail).randbytes(16))
    asked = START_US + 65 * MINUTE_US
    wrong, times = [], 0
    for message in ordinary_mail(mail, per_hour, hours + 65 / 60):
        while message.at_us >= asked:
            diagnosis = guard.diagnose(now=asked / 1e6)
            times += 1
            told = report(diagnosis, guard.notices(now=asked / 1e6), guard.policy)
            is_quiet = diagnosis["state"] in {"quiet", "mass-mail"} and told.startswith("Nothing is wrong: ")
            if not is_quiet or "throttle ctl" in told:
                wrong.append(((asked - START_US) // MINUTE_US, diagnosis["state"], told))
            asked += every * MINUTE_US
        guard.check(message.envelope(), now=message.at_us / 1e6)
    assert times >= hours * 60 // every - 1
    assert wrong == [], f"mail {mail}"


def states(messages: Iterable[tuple[int, Envelope]], asked_at: Iterable[int]) -> list[str]:
    """The states at these times, µs."""
    guard = Throttle("inbound", sample=True, seed=bytes(16))
    told: list[str] = []
    times = iter(asked_at)
    asked = next(times)
    for at_us, envelope in messages:
        while at_us >= asked:
            told.append(guard.diagnose(now=asked / 1e6)["state"])
            asked = next(times)
        guard.check(envelope, now=at_us / 1e6)
    return told


def test_minutes_with_next_to_no_mail_make_no_other_minute_loud() -> None:
    """Mail was interrupted for 16 minutes, but for some. That much is a surge for some askings; not all of them."""
    rng = random.Random("trickle")
    few = range(45, 61)
    mail = (
        (message.at_us, message.envelope())
        for message in ordinary_mail("6", 10_000, 2)
        if (message.at_us - START_US) // MINUTE_US not in few or rng.random() < 0.01
    )
    told = states(mail, (START_US + minute * MINUTE_US for minute in range(66, 1000, 5)))
    assert len(told) > 9
    assert sum(state == "scattered" for state in told) <= 3


@pytest.mark.parametrize("count", [90, 95, 99, 105])
def test_a_cron_job_of_about_a_hundred_messages_is_mass_mail(count: int) -> None:
    """The surge has a hundred messages, with ordinary ones, and the value that nearly all of it shares has fewer."""
    job = [
        (
            START_US + minute * MINUTE_US + 500_000 * n,
            Envelope(
                client_ip="192.0.2.77",
                mail_from="cron@app.firm.com",
                header_from="cron@app.firm.com",
                rcpt_to=f"u{n}@box.com",
                spf="pass",
                dkim="firm.com",
            ),
        )
        for minute in range(0, 660, 15)
        for n in range(count)
    ]
    mail = ((message.at_us, message.envelope()) for message in ordinary_mail("cron", 1_000, 11))
    asked_at = (START_US + minute * MINUTE_US + 90_000_000 for minute in range(75, 10_000, 15))
    told = states(heapq.merge(mail, job, key=itemgetter(0)), asked_at)
    assert len(told) > 30
    assert set(told) <= {"quiet", "mass-mail"}


@pytest.mark.parametrize("minutes", [12, 20, 45])
def test_a_gap_without_mail_makes_no_surge_of_the_mail_after_it(minutes: int) -> None:
    mail, gap = "6", range(75, 75 + minutes)
    guard = Throttle("inbound", sample=True, seed=bytes(16))
    asked, states = START_US + (gap.stop + 5) * MINUTE_US, []
    for message in ordinary_mail(mail, 10_000, 3):
        if (message.at_us - START_US) // MINUTE_US in gap:
            continue
        while message.at_us >= asked:
            states.append(guard.diagnose(now=asked / 1e6)["state"])
            asked += 5 * MINUTE_US
        guard.check(message.envelope(), now=message.at_us / 1e6)
    assert len(states) > 8
    assert set(states) <= {"quiet", "mass-mail"}
