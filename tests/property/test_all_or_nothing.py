"""P5 from outside: a refused check leaves what every other envelope is told, at that time and later, as it was."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from given_guards import REAL, guard, limit
from throttle import Decision, Envelope, Limit, ManualClock

if TYPE_CHECKING:
    from throttle import Throttle

HOSTS = st.sampled_from(
    ["a.b.org", "c.a.b.org", "d.a.b.org", "b.org", "x.net", "y.x.net", "z.github.io", "[192.0.2.9]"]
)

ENVELOPES = st.builds(
    Envelope,
    client_ip=st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
    mail_from=HOSTS.map(lambda host: f"u@{host}") | st.just(""),
    rcpt_to=st.lists(st.sampled_from(["p@q.net", "r@q.net", "s@q.net"]), max_size=3),
    spf=st.sampled_from([None, "pass"]),
    size=st.sampled_from([None, 100, 900]),
)

LIMITS = (
    limit("net", "client.net", "7/minute"),
    limit("pair", ["client.ip", "sender.org"], "3/minute", when_full="refuse"),
    limit("rcpt", "rcpt.address", "4/minute", count="recipients"),
    limit("bytes", "client.ip", "1 kB/minute", burst=2000),
    Limit(
        name="fan",
        per="sender.registered",
        distinct="sender.host",
        rate="2/minute",
        remember="5 minutes",
        settle="1 minute",
    ),
    Limit(
        name="orgs", per="client.net", distinct="sender.org", rate="3/minute", remember="5 minutes", when_full="refuse"
    ),
)

PROBES = [
    Envelope(client_ip=ip, mail_from=f"u@{host}" if host else "", rcpt_to=["p@q.net"], spf=spf, size=1900)
    for ip in ("192.0.2.1", "2001:db8::1")
    for host in ("a.b.org", "new.b.org", "x.net", "w.y.x.net", "")
    for spf in (None, "pass")
]


@dataclasses.dataclass
class Told:
    """All that a guard says of other envelopes: now, and when what is remembered now is about to be forgotten."""

    decisions: list[Decision]

    @classmethod
    def by(cls, pace: Throttle, now: float) -> Told:
        later = (now, now + 30.0, now + 250.0)
        return cls([pace.peek(probe, now=at) for probe in PROBES for at in later])


Step = tuple[Envelope, float]


@given(steps=st.lists(st.tuples(ENVELOPES, st.sampled_from([0.0, 0.0, 0.001, 1.0, 61.0])), min_size=10, max_size=60))
def test_a_refused_check_changes_nothing(steps: list[Step]) -> None:
    clock = ManualClock(REAL)
    pace = guard(*LIMITS, clock=clock)
    for envelope, pause in steps:
        clock.advance(pause)
        if pace.peek(envelope):
            assert pace.check(envelope)
            continue
        before = Told.by(pace, clock.now)
        told = pace.peek(envelope)
        used = [table.used for table in pace.tables()]
        assert pace.check(envelope) == told
        assert Told.by(pace, clock.now) == before
        if pause == 0.0:  # a check moves engine time, and what drained since the last is no longer in use
            assert [table.used for table in pace.tables()] == used


@given(steps=st.lists(st.tuples(ENVELOPES, st.sampled_from([0.0, 0.5, 61.0])), max_size=40))
def test_peek_says_what_check_does_and_charges_nothing(steps: list[Step]) -> None:
    clock, asked = ManualClock(REAL), ManualClock(REAL)
    pace, twin = guard(*LIMITS, clock=clock), guard(*LIMITS, clock=asked)
    for envelope, pause in steps:
        clock.advance(pause)
        asked.advance(pause)
        peeked = [twin.peek(envelope) for _ in range(3)]
        assert [_told(one) for one in (*peeked, twin.check(envelope))] == [_told(pace.check(envelope))] * 4


def _told(decision: Decision) -> Any:
    return decision.limit, decision.identity, decision.key, decision.retry_after, decision.reply
