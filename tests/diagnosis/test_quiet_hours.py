"""Quiet hours of ordinary mail, its mailings included: `diagnose` says each time that nothing is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mail.kinds import MINUTE_US
from mail.mix import START_US, ordinary_mail
from surges import OPEN
from throttle import Policy, Throttle
from throttle.diagnosis import report

if TYPE_CHECKING:
    import random

TWENTY_HOURS_OF_FIVE_SEEDS = [
    pytest.param(10_000, 20, 5, id=f"20 hours, seed {number}", marks=pytest.mark.soak) for number in range(5)
]


@pytest.mark.parametrize("policy", ["inbound", OPEN], ids=["inbound", "open"])
@pytest.mark.parametrize(
    ("per_hour", "hours", "every"),
    [
        pytest.param(10_000, 4, 5, id="10,000 an hour"),
        pytest.param(100_000, 0.5, 1, id="100,000 an hour"),
        *TWENTY_HOURS_OF_FIVE_SEEDS,
    ],
)
def test_nothing_is_wrong_in_quiet_hours(
    per_hour: int, hours: float, every: int, policy: str | Policy, rng: random.Random
) -> None:
    guard = Throttle(policy, sample=True, seed=rng.randbytes(16))
    asked = START_US + 65 * MINUTE_US
    wrong, times = [], 0
    for message in ordinary_mail(str(rng.getrandbits(32)), per_hour, hours + 65 / 60):
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
    assert wrong == []
