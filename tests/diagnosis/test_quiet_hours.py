"""Quiet hours of ordinary mail, its mailings included: `diagnose` says each time that nothing is wrong.

The mail of short runs is fixed, and `make soak` draws other mail. Hardest is a server that was held up for hours and
sends all it has at once, and many newsletters in the same minutes.
"""

from __future__ import annotations

import random

import pytest

from mail.kinds import MINUTE_US
from mail.mix import START_US, ordinary_mail
from surges import OPEN
from throttle import Policy, Throttle
from throttle.diagnosis import report

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
