"""Quiet hours of ordinary mail, its mailings included: `diagnose` says each time that nothing is wrong."""

from __future__ import annotations

import pytest

from mail.kinds import MINUTE_US
from mail.mix import START_US, ordinary_mail
from surges import OPEN
from throttle import Throttle
from throttle.diagnosis import report


@pytest.mark.parametrize(
    ("per_hour", "hours", "every"), [(10_000, 20, 5), (100_000, 0.5, 1)], ids=["10,000 an hour", "100,000 an hour"]
)
def test_nothing_is_wrong_in_quiet_hours(per_hour: int, hours: float, every: int) -> None:
    guard = Throttle(OPEN, sample=True, seed=b"sixteen octets!!")
    asked = START_US + 65 * MINUTE_US
    wrong, times = [], 0
    for message in ordinary_mail("quiet", per_hour, hours + 65 / 60):
        while message.at_us >= asked:
            diagnosis = guard.diagnose(now=asked / 1e6)
            times += 1
            if diagnosis["state"] not in {"quiet", "mass-mail"}:
                wrong.append(((asked - START_US) // MINUTE_US, diagnosis["state"], diagnosis["findings"]))
            told = report(diagnosis, guard.notices(now=asked / 1e6), guard.policy)
            assert told.startswith("Nothing is wrong: ") or wrong
            assert "throttle ctl" not in told
            asked += every * MINUTE_US
        guard.check(message.envelope(), now=message.at_us / 1e6)
    assert times >= hours * 60 // every - 1
    assert wrong == []
