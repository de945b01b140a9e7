"""A guard in shadow mode beside one that enforces: it refuses nothing, blocks nothing, gives back nothing that was not
charged, and tells what the other would refuse by.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from given_guards import REAL, SEED
from throttle import Envelope, Limit, ManualClock, Policy, Throttle

DAY: dict[str, Any] = {"algorithm": "sliding-window", "when_full": "refuse"}

LIMITS = [
    Limit(name="conns", per="client.ip", rate="9/day", count="connections", **DAY),
    Limit(name="blocks", per="client.ip", rate="5/day", action="block 1 hour", **DAY),
    Limit(name="messages", per="sender.org", rate="7/day", **DAY),
    Limit(name="hosts", per="sender.registered", distinct="sender.host", rate="4/day"),
    Limit(name="authors", per="from.org", rate="3/day", **DAY),
    Limit(name="open", per="client.ip", in_flight=2),
]

SENDS = st.tuples(st.integers(0, 2), st.sampled_from(["b.com", "c.com", "x.b.com", "y.b.com", "z.b.com", "v.b.com"]))
WORDS = st.sampled_from(
    ["block ip", "unblock ip", "block author", "allow org", "unblock org", "admit", "refund", "data"]
)


def made(how: str) -> Throttle:
    policy = Policy(LIMITS, mode="shadow") if how == "policy" else Policy(LIMITS)
    guard = Throttle(policy, memory="4 MiB", max_open=3, clock=ManualClock(REAL), seed=SEED)
    if how == "guard":
        guard.mode = "shadow"
    return guard


def envelope(sent: tuple[int, str]) -> Envelope:
    number, host = sent
    return Envelope(
        client_ip=f"192.0.2.{number}", helo="mx", mail_from=f"a@{host}", rcpt_to="p@q.net", header_from=[f"a@{host}"]
    )


@given(steps=st.lists(st.tuples(SENDS, WORDS), min_size=1, max_size=60), how=st.sampled_from(["guard", "policy"]))
def test_nothing_is_refused_and_all_that_would_be_is_told(steps: list[Any], how: str) -> None:
    shadow = made(how)
    permits: list[Any] = []
    for sent, word in steps:
        message = envelope(sent)
        if word == "block ip":
            shadow.block("client.ip", "192.0.2.1")
        elif word == "unblock ip":
            shadow.unblock("client.ip", "192.0.2.1")
        elif word == "block author":
            shadow.block("from.org", "c.com")
        elif word == "allow org":
            shadow.allow("sender.org", "c.com", unverified=True)
        elif word == "unblock org":
            shadow.unblock("sender.org", "c.com")
        # What it would say if it were to enforce, at this moment.
        shadow.mode = "enforce"
        would = shadow.peek(message)
        explained = shadow.explain(message)
        shadow.mode = "shadow"
        before = counted(shadow)
        peeked = shadow.peek(message)
        assert counted(shadow) == before
        if word == "admit":
            permit = shadow.admit(message)
            decision = permit.decision
            permits.append(permit)
        else:
            decision = shadow.check(message)
            assert decision == peeked
        assert decision.allowed
        assert (decision.limit, decision.reply, decision.retry_after) == (None, None, 0.0)
        refusing = {row.limit for row in explained.limits if row.verdict == "refuses"}
        lets_pass = any(row.action == "allow" for row in explained.covering)
        if lets_pass:
            refusing &= {"open"}
        if any(row.action == "block" for row in explained.covering):
            refusing.add("blocked")
        assert set(decision.shadow) - {"max-open"} == refusing
        assert would.allowed == (not refusing)
        assert would.allowed or would.limit in refusing
        assert ("max-open" in decision.shadow) == (word == "admit" and len(permits) > 3)
        assert [row for row in shadow.blocked() if row.by != "operator"] == []
        if word == "refund":
            charged = counted(shadow)
            gave = decision.refund()
            assert not decision.refund()
            after = counted(shadow)
            uncharged = set(decision.shadow) if not lets_pass else {limit.name for limit in LIMITS}
            for name in ("conns", "blocks", "messages", "authors"):
                gives = name not in uncharged
                assert after[name] <= charged[name]
                assert gives or after[name] == charged[name] == before[name], name
            assert gave == bool({"conns", "blocks", "messages", "authors"} - uncharged)
    for permit in permits:
        permit.release()
    assert {row.used for row in shadow.tables() if row.table in ("permits", "open")} == {0}


def counted(guard: Throttle) -> dict[str, int]:
    """What was counted, over all keys that these messages have."""
    total: dict[str, int] = {}
    for number in range(3):
        for host in ("b.com", "c.com"):
            for row in guard.explain(envelope((number, host))).limits:
                total[row.limit] = total.get(row.limit, 0) + (row.used or 0)
    return total


@pytest.mark.parametrize("how", ["guard", "policy"])
def test_a_session_in_shadow_mode_goes_on_whatever_would_refuse(how: str) -> None:
    guard = made(how)
    guard.block("client.ip", "192.0.2.1")
    guard.block("from.org", "c.com")
    told: list[tuple[str, ...]] = []
    sessions = []
    for number in range(12):
        session = guard.session(client_ip="192.0.2.1")
        sessions.append(session)
        steps = [session.connect(), session.helo("mx"), session.mail(f"a@h{number}.c.com"), session.rcpt("p@q.net")]
        if number < 9:
            steps.append(session.data(headers=b"From: a@c.com\r\n\r\n"))
        assert all(steps)
        told.append(tuple(sorted({name for step in steps for name in step.shadow})))
    assert told[0] == ("blocked",)
    assert {"blocked", "conns", "blocks", "messages", "hosts", "max-open"} <= set(told[-1])
    assert "authors" in told[8]
    assert {row.used for row in guard.tables() if row.table == "permits"} == {3}
    for session in sessions:
        session.close()
    assert {row.used for row in guard.tables() if row.table == "permits"} == {0}
    first = guard.session(client_ip="192.0.2.1").mail("a@c.com")
    assert {"blocked", "conns"} <= set(first.shadow), "and who does not call connect() is told with the first step"
    connect = guard.session(client_ip="192.0.2.1").connect()
    assert connect.shadow == ("blocked", "conns")
    assert not connect.refund(), "what was not charged is not given back"
    guard.mode = "enforce"
    assert guard.check(envelope((1, "c.com"))).limit == "blocked"
    guard.unblock("client.ip", "192.0.2.1")
    assert guard.check(envelope((1, "d.com")), stage="mail").limit == "blocks", "full, and not blocked by itself before"
