"""The suggested scale: each key has one vote, and a few keys that send as much as they can do not raise it."""

from __future__ import annotations

import io
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from mail.mix import START_US, ordinary_mail
from throttle import Envelope, Limit, ManualClock, Policy, Throttle
from throttle._replay import Counts
from throttle.replay import peaks
from throttle.replay.notes import Notes
from throttle.replay.peaks import SPARED, Peaks
from throttle.replay.report import report
from throttle.replay.run import Replay
from throttle.replay.tables import show
from throttle.replay.transaction import Transaction

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from throttle.types import Quota

HOUR_S = 3600
START_S = START_US / 1e6


def told(log: Iterable[Transaction], policy: Policy | None = None) -> dict[str, Any]:
    replay = Replay(Throttle(policy, clock=ManualClock(0.0), seed=b"16 secret bytes."))
    for transaction in sorted(log, key=lambda transaction: transaction.time):
        replay.add(transaction)
    replay.close()
    return report(replay, Notes())


@pytest.fixture(scope="module")
def honest(seed: str) -> list[Transaction]:
    """Six hours with 2,000 messages each, as Postfix logs them: without verdicts."""
    mail = ordinary_mail(seed, 2_000, 6)
    return [
        Transaction(
            message.at_us / 1e6,
            Envelope(
                client_ip=message.client_ip,
                client_name=message.client_name,
                mail_from=message.mail_from,
                rcpt_to=message.rcpt_to,
            ),
        )
        for message in mail
    ]


def bursts(addresses: int, count: int) -> list[Transaction]:
    """Three messages with a thousand recipients each, every five minutes: all that one address gets at once."""
    recipients = tuple(f"u{n}@d1.box.com" for n in range(1_000))
    return [
        Transaction(
            START_S + 2 * HOUR_S + 300 * burst + 13 * nth,
            Envelope(client_ip=f"100.64.{burst % addresses}.5", mail_from=f"a@own{burst % 7}.com", rcpt_to=recipients),
        )
        for burst in range(count)
        for nth in range(3)
    ]


@pytest.mark.parametrize(("addresses", "count"), [(2, 13), (SPARED, 40)])
def test_the_bursts_of_a_few_addresses_do_not_change_the_scale(
    addresses: int, count: int, honest: list[Transaction]
) -> None:
    without, found = told(honest), told([*honest, *bursts(addresses, count)])
    assert found["transactions"] == without["transactions"] + 3 * count
    assert found["refused"] == without["refused"] == 0, "the attack has a say"
    assert found["suggestions"]["scale"] == without["suggestions"]["scale"] == 1.0
    (row,) = (row for row in found["limits"] if row["limit"] == "client-claimed-rcpt-pace")
    assert row["max"] == 3_000


def test_one_address_more_is_named_and_doubles_the_scale_at_most(honest: list[Transaction]) -> None:
    found = told([*honest, *bursts(SPARED + 1, SPARED + 1)])
    scale = found["suggestions"]
    assert scale["scale"] == 1.9  # 3,000 of 3,300, twice
    assert scale["because"] == "client-claimed-rcpt-pace is used to 91% or more by 11 keys"
    assert {row["key"] for row in scale["used_by"]} == {f"100.64.{n}.5" for n in range(SPARED + 1)}
    printed = io.StringIO()
    show(found, Console(file=printed, width=1_000))
    assert "100.64.10.5 91%" in printed.getvalue()


RATE: dict[str, Any] = {"rate": "10/minute", "burst": 100}
SENDERS = 60


def senders(per_minute: float, at_once: int = 0) -> list[Transaction]:
    """An hour of honest senders."""
    each = [n * 60 / per_minute for n in range(int(60 * per_minute))] + [1_800.0] * at_once
    return [
        Transaction(START_S + at, Envelope(client_ip="192.0.2.1", mail_from=f"a@firm{firm}.com"))
        for at in each
        for firm in range(SENDERS)
    ]


@pytest.mark.parametrize(
    ("log", "scale"),
    [
        pytest.param(senders(8), 1.4, id="steady"),  # 480 of 700 in the hour
        pytest.param(senders(1, 80), 1.5, id="at-once"),  # 81 of 110 in a minute
        pytest.param(senders(1, 20), 1.0, id="with-room"),
    ],
)
def test_an_honest_log_gets_the_scale_at_which_its_senders_use_half(log: list[Transaction], scale: float) -> None:
    found = told(log, Policy([Limit(name="pace", per="sender.org", **RATE)]))
    assert found["refused"] == 0
    assert found["suggestions"]["scale"] == scale
    again = told(log, Policy([Limit(name="pace", per="sender.org", **RATE)], scale=scale))
    assert again["suggestions"]["scale"] == scale


def test_what_was_refused_has_no_say_in_the_scale() -> None:
    policy = Policy([Limit(name="pace", per="sender.org", **RATE)])
    found = told([*senders(1), *senders(1, 200)], policy)
    assert found["refused"] > 0
    assert found["suggestions"]["scale"] == 1.0


def test_what_has_a_quota_has_no_say_in_the_scale() -> None:
    quota: dict[str, Quota] = {f"firm{firm}.com": {"rate": "1000/minute"} for firm in range(SENDERS - SPARED)}
    log = senders(1, 80)
    assert told(log, Policy([Limit(name="pace", per="sender.org", **RATE)]))["suggestions"]["scale"] == 1.5
    found = told(log, Policy([Limit(name="pace", per="sender.org", **RATE, quota=quota)]))
    assert (found["refused"], found["suggestions"]["scale"]) == (0, 1.0)
    pair = ["client.net", "sender.org"]
    assert told(log, Policy([Limit(name="pace", per=pair, **RATE, quota=quota)]))["suggestions"]["scale"] == 1.0


def test_a_sliding_window_has_no_burst() -> None:
    policy = Policy([Limit(name="users", per="auth.user", rate="10/minute")])
    log = [
        Transaction(START_S + n, Envelope(mail_from="a@box.com", auth_user=f"user{user}"))
        for user in range(SPARED + 1)
        for n in range(8)
    ]
    assert told(log, policy)["suggestions"]["scale"] == 1.6


@pytest.mark.parametrize("left_out", [0, 200])
def test_the_keys_that_decide_are_those_of_a_model_that_keeps_all(
    left_out: int, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model has every key's amount in every period and hour."""
    monkeypatch.setattr(peaks, "_MOST_PEAKS", 50)
    refused = {f"k{n}" for n in range(left_out)}
    hours, shares = defaultdict[tuple[int, str], int](int), dict[str, float]()
    found = Peaks(10, 600, 30, lambda key: key not in refused)
    for pane in range(60):
        counts = Counts()
        for n in range(500):
            amount = min(40, int(rng.paretovariate(0.7)))
            key = f"k{n}"
            counts.add(key, amount)
            hours[pane // 6, key] += amount
            shares[key] = max(amount / 40, shares.get(key, 0.0))
        found.add(pane * 600.0, counts)
    found.close()
    for (_, key), amount in hours.items():
        shares[key] = max(amount / 90, shares[key])
    ranked = sorted((share for key, share in shares.items() if key not in refused), reverse=True)
    assert [share for _, share in found.deciding()] == ranked[: SPARED + 1]
    assert all(share == shares[key] for key, share in found.deciding())
