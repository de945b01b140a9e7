"""A policy in shadow mode: the report shows what would have been refused, and by what."""

from __future__ import annotations

import pytest

from throttle import Envelope, Limit, Policy, Throttle
from throttle.replay.notes import Notes
from throttle.replay.report import report
from throttle.replay.run import Replay
from throttle.replay.transaction import Transaction

START = 1_795_000_000.0
REPLY_TO = "case-1@flood.com"


def flood() -> list[Transaction]:
    return [
        Transaction(
            START + n / 20,
            Envelope(client_ip=f"198.51.{n % 64}.7", mail_from=f"b@h{n}.flood.com", rcpt_to="in@box.com"),
            REPLY_TO,
        )
        for n in range(3_000)
    ]


@pytest.mark.parametrize("how", ["file", "guard"])
def test_a_policy_in_shadow_mode_shows_what_would_have_been_refused(how: str) -> None:
    limit = Limit(name="hosts", per="sender.registered", distinct="sender.host", rate="200/10 minutes")
    enforced, shadow = (
        Replay(Throttle(Policy([limit]))),
        Replay(Throttle(Policy([limit], mode="shadow" if how == "file" else "enforce"))),
    )
    if how == "guard":
        shadow.guard.mode = "shadow"
    for replay in (enforced, shadow):
        for transaction in flood():
            replay.add(transaction)
        replay.close()
    guard = Throttle(Policy([limit]))
    before = next(n for n, one in enumerate(flood()) if not guard.check(one.envelope, now=one.time))
    hard, soft = report(enforced, Notes()), report(shadow, Notes())
    assert (soft["refused"], soft["refused_by"], soft["admitted"]) == (0, [], 3_000)
    assert hard["shadow"] == []
    (refused,), (told,) = hard["refused_by"], soft["shadow"]
    assert refused["count"] > 2_500
    for name in ("limit", "identity", "count", "first"):
        assert told[name] == refused[name], name
    (key,), (other,) = told["keys"], refused["keys"]
    assert (key["key"], key["count"], key["first"]) == ("flood.com", other["count"], other["first"])
    assert key["fan_out"] == other["fan_out"]
    assert key["admitted_before"] == other["admitted_before"] == before
    assert key["reply_to"] == [{"value": REPLY_TO, "count": other["count"]}]
    # What the one did not admit and the other would not have, neither remembers.
    assert [memory.seen.items() for memory in shadow.remembered] == [
        memory.seen.items() for memory in enforced.remembered
    ]
