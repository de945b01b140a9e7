"""`docs/stages.md`, row by row: which step a limit runs at, what it holds from when to when, and what is answered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from given_guards import REAL, SEED
from throttle import Decision, Limit, ManualClock, Policy, PolicyError, Session, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = (Path(__file__).parents[2] / "docs" / "stages.md").read_text(encoding="utf-8")

WINDOW: dict[str, Any] = {"algorithm": "sliding-window", "when_full": "refuse"}


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, its own head first."""
    below = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (.*) \|$", below, re.MULTILINE)
    return [line.split(" | ") for line in lines if not set(line) <= set("-| ")]


def guard(*limits: Limit) -> Throttle:
    return Throttle(Policy(limits), memory="2 MiB", max_open=99, clock=ManualClock(REAL), seed=SEED)


HEADER = b"From: Joe <joe@mail.b.com>\r\nReply-To: joe@b.com\r\nList-Id: <news.b.com>\r\n\r\nFrom: nobody"

STEPS: dict[str, Callable[[Session], Decision]] = {
    "connect": lambda session: session.connect(),
    "helo": lambda session: session.helo("mx.b.com"),
    "mail": lambda session: session.mail("a@b.com", size=600, auth_user="joe"),
    "rcpt": lambda session: session.rcpt(["p@q.net", "r@q.net"]),
    "data": lambda session: session.data(headers=HEADER, dkim=["mail.b.com"], size=700),
}


OF = {
    "client.*": ["client.ip", "client.net", "client.net/24/48", "client.host", "client.org"],
    "global": ["global"],
    "helo.*": ["helo.host", "helo.org"],
    "auth.user": ["auth.user"],
    "sender.*": ["sender.address", "sender.host", "sender.org", "sender.org+1", "sender.registered"],
    "rcpt.*": ["rcpt.address", "rcpt.host"],
    "from.*": ["from.address", "from.host", "from.org"],
    "reply_to.*": ["reply_to.address", "reply_to.org"],
    "list.id": ["list.id"],
    "dkim.org": ["dkim.org"],
}

# What one transaction to two mailboxes of one host comes to.
AMOUNT = {"connections": 1, "messages": 1, "recipients": 2, "bytes": 700, "reports": 1}


def counted() -> list[tuple[str, str, str]]:
    """Count, identity, step of every cell."""
    head, *counts = rows("Which step a limit runs at")
    cells = [
        (row[0], re.findall(r"`([^`]+)`", name), step)
        for row in counts
        for name, step in zip(head[1:], row[1:], strict=True)
    ]
    return [(count, identity, step) for count, groups, step in cells for group in groups for identity in OF[group]]


def limit_of(count: str, identity: str, most: int) -> Limit:
    of = count.partition(" in flight")[0]
    size = " B" if of == "bytes" else ""
    if of.startswith("reports of "):
        return Limit(name="it", per=identity, rate=f"{most}/day", count="reports", reports=outcomes_of(count), **WINDOW)
    counts: dict[str, Any] = {"count": of}
    if count.endswith("in flight"):
        return Limit(name="it", per=identity, in_flight=f"{most}{size}" if size else most, **counts)
    return Limit(name="it", per=identity, rate=f"{most}{size}/day", **counts, **WINDOW)


def outcomes_of(count: str) -> list[Any]:
    """The outcomes of a row of reports; of another row none."""
    return re.findall(r"`([^`]+)`", count)


def test_the_tables_are_there() -> None:
    assert len(counted()) == 10 * sum(map(len, OF.values()))
    steps = [re.findall(r"^`(\w+)\(", row[0]) for row in rows("The dialogue")[1:]]
    assert steps == [[step] for step in (*STEPS, "reset", "close")]


@pytest.mark.parametrize(("count", "identity", "step"), counted())
def test_a_limit_runs_at_its_step_and_at_no_other(count: str, identity: str, step: str) -> None:
    if step == "–":
        with pytest.raises(PolicyError, match=r'limit "it", (count|per): found'):
            Policy([limit_of(count, identity, 5)])
        return
    most = 1 if (count, identity) == ("recipients", "rcpt.address") else AMOUNT[count.split()[0]]
    pace = guard(limit_of(count, identity, most))
    assert pace.policy.limits[0].stage == step
    with pace.session(client_ip="192.0.2.1", client_name="mx.b.com") as first:
        assert all(do(first) for name, do in STEPS.items() if name != "data" or "in flight" not in count)
        for outcome in outcomes_of(count):
            first.report(outcome, "p@q.net")
        # As much as one transaction takes is gone, and not more: another connection meets the limit,
        # and at its step alone.
        told = [
            (name, do(second))
            for second in [pace.session(client_ip="192.0.2.1", client_name="mx.b.com")]
            for name, do in STEPS.items()
        ]
        refused = [name for name, decision in told if decision.limit == "it"]
        is_declared = count == "bytes" and not identity.startswith(("rcpt", "from", "reply_to", "list", "dkim"))
        assert refused[0] == ("mail" if is_declared else step)
        assert all(
            decision
            for name, decision in told
            if name not in refused and list(STEPS).index(name) < list(STEPS).index(refused[0])
        )


@pytest.mark.parametrize(
    ("count", "identity", "step"),
    [cell for cell in counted() if cell[2] != "–" and "in flight" not in cell[0] and not outcomes_of(cell[0])],
)
def test_a_limit_is_charged_once_and_exactly(count: str, identity: str, step: str) -> None:
    per_mailbox = (count, identity) == ("recipients", "rcpt.address")
    amount = 1 if per_mailbox else AMOUNT[count]
    pace = guard(limit_of(count, identity, 3 * amount))
    again = 1 if count == "connections" else 3
    sessions = [pace.session(client_ip="192.0.2.1", client_name="mx.b.com") for _ in range(3 if again == 1 else 1)]
    for session in sessions:
        for _ in range(again):
            for _ in range(2):  # said twice where a client may
                assert session.connect()
                assert session.helo("MX.b.com.")
            assert STEPS["mail"](session)
            assert session.rcpt("p@q.net")
            assert session.rcpt(["P@Q.net", "r@q.net"])
            assert session.rcpt("r@q.net")
            assert STEPS["data"](session)
            assert not session.data(), "once"
    last = pace.session(client_ip="192.0.2.1", client_name="mx.b.com")
    told = {name: do(last) for name, do in STEPS.items()}
    assert told[step].limit == "it" or told["mail"].limit == "it", "three times as much and no more"


def used(pace: Throttle) -> dict[str, int]:
    return {table.table: table.used for table in pace.tables() if "in flight per" not in table.table}


HOLDING = [
    Limit(name="connections", per="client.ip", in_flight=9, count="connections"),
    Limit(name="greeted", per="helo.host", in_flight=9, count="connections"),
    Limit(name="messages", per="global", in_flight=9),
    Limit(name="bytes", per="global", in_flight="9 kB"),
]

HELD = {
    "connect": {"connections": 1},
    "helo": {"connections": 1, "greeted": 1},
    "mail": {"connections": 1, "greeted": 1, "messages": 1, "bytes": 600},
    "rcpt": {"connections": 1, "greeted": 1, "messages": 1, "bytes": 600},
    "data": {"connections": 1, "greeted": 1},
    "reset": {"connections": 1, "greeted": 1},
    "close": {},
}


@pytest.mark.parametrize("step", HELD)
def test_what_is_held_after_a_step(step: str) -> None:
    pace = guard(*HOLDING)
    session = pace.session(client_ip="192.0.2.1")
    for name in list(HELD)[: list(HELD).index(step) + 1]:
        if name == "reset":
            STEPS["mail"](session)
            session.reset()
        elif name == "close":
            session.close()
        else:
            assert STEPS[name](session)
    held = {name: amount for name, amount in used(pace).items() if amount and name != "permits"}
    assert held == HELD[step]
    row = next(row for row in rows("The dialogue") if row[0].startswith(f"`{step}("))
    gained = (
        set(HELD[step]) - set(HELD[list(HELD)[max(0, list(HELD).index(step) - 1)]])
        if step != "connect"
        else {"connections"}
    )
    assert (row[3] != "–") == bool(gained), row


def refusing(step: str, by: str) -> list[Limit]:
    """Limits that refuse this step."""
    no: dict[str, Any] = {"rate": "1/day", **WINDOW}
    if by == "open":
        per = "helo.host" if step == "helo" else "client.ip"
        return [
            Limit(name="no", per=per, in_flight=1, count="connections" if step in ("connect", "helo") else "messages")
        ]
    return {
        "connect": [Limit(name="no", per="client.ip", count="connections", **no)],
        "helo": [Limit(name="no", per="helo.host", count="connections", **no)],
        "mail": [Limit(name="no", per="client.ip", **no)],
        "rcpt": [Limit(name="no", per="rcpt.address", count="recipients", **no)],
        "data": [Limit(name="no", per="client.ip", rate="1 kB/day", **WINDOW)],
    }[step]


@pytest.mark.parametrize("by", ["rate", "open"])
@pytest.mark.parametrize("step", STEPS)
def test_what_a_refusal_is_answered_with(step: str, by: str) -> None:
    row = next(row for row in rows("The dialogue") if row[0].startswith(f"`{step}("))
    codes = re.findall(r"`(\d{3} [\d.]+)`", row[5 if by == "rate" else 6])
    if not codes:
        assert (step, by) == ("rcpt", "open")
        return
    if step == "data" and by == "open":
        pace = guard(Limit(name="no", per="global", in_flight="1 kB"))
        with pace.session() as other, pace.session() as session:
            assert other.mail("a@b.com", size=600)
            assert [bool(session.mail("a@b.com")), str(session.data(size=600).reply)[:9]] == [True, codes[0]]
            assert [bool(session.mail("a@b.com")), str(session.data(size=1001).reply)[:9]] == [True, codes[1]]
        assert not any(used(pace).values())
        return
    pace = guard(*refusing(step, by))
    with pace.session(client_ip="192.0.2.1") as other, pace.session(client_ip="192.0.2.1") as session:
        for name in list(STEPS)[: list(STEPS).index(step) + 1]:
            assert STEPS[name](other)
        before = used(pace)
        for name in list(STEPS)[: list(STEPS).index(step)]:
            if name != "mail" or step != "data":
                assert STEPS[name](session)
            else:
                assert session.mail("a@b.com", auth_user="joe")
        decision = STEPS[step](session)
        assert (decision.limit, str(decision.reply)[:9]) == ("no", codes[0])
        assert used(pace) | {"permits": 0} == before | {"permits": 0}, "it charged nothing and holds nothing"


def test_a_fan_out_and_too_many_recipients_have_answers_of_their_own() -> None:
    by_rate = {row[0]: re.findall(r"`(\d{3} [\d.]+)`", row[5]) for row in rows("The dialogue")[1:]}
    pace = guard(
        Limit(name="new", per="sender.registered", distinct="sender.host", rate="1/day"),
        Limit(name="many", per="client.ip", count="recipients", rate="2/day", **WINDOW),
    )
    session = pace.session(client_ip="192.0.2.1")
    assert session.mail("a@one.b.com")
    assert session.rcpt("a@b.com")
    assert str(session.rcpt(["c@b.com", "d@b.com"]).reply).startswith(by_rate["`rcpt(recipients)`"][1])
    assert session.rcpt("c@b.com"), "none of the two was charged"
    assert str(session.mail("a@two.b.com").reply).startswith(by_rate["`mail(address)`"][1])


def test_more_than_could_ever_be_open_is_told_at_mail() -> None:
    code = re.findall(r"`(\d{3} [\d.]+)`", rows("The dialogue")[3][6])[1]
    assert str(guard(HOLDING[3]).session().mail("a@b.com", size=9001).reply).startswith(code)


def test_out_of_order_every_row() -> None:
    answers = {row[0].partition(",")[0].partition(";")[0]: row[1] for row in rows("Commands out of order")[1:]}
    pace = guard(
        *HOLDING,
        Limit(name="once", per="sender.org", rate="1/day", **WINDOW),
        limit_of("recipients", "rcpt.address", 1),
    )

    def state() -> dict[str, int]:
        return used(pace)

    session = pace.session(client_ip="192.0.2.1")
    assert session.connect()
    nothing = state()
    answers.pop("connect twice")
    assert session.connect()
    assert state() == nothing
    early: list[Callable[[], Decision]] = [lambda: session.rcpt("p@q.net"), session.data, session.data]
    for step in early:
        refused = step()
        assert (refused.limit, str(refused.reply)[:9], refused.retry_after) == (
            "out-of-order",
            "451 4.5.1",
            float("inf"),
        )
        assert str(refused.limit) in answers["RCPT or data without a MAIL"]
    assert state() == nothing
    answers.pop("RCPT or data without a MAIL")

    assert session.mail("a@b.com", size=100)
    assert session.rcpt("p@q.net")
    answers.pop("RCPT of a recipient that the transaction has got")
    assert session.rcpt("p@q.net")
    answers.pop("MAIL within a transaction")
    assert session.mail("a@c.com", size=50)
    assert (state()["messages"], state()["bytes"]) == (1, 50)
    assert session.rcpt("p@q.net").limit == "it", "another transaction's recipient is another charge"
    answers.pop("HELO within a transaction")
    assert session.helo("mx")
    assert (state()["messages"], state()["bytes"]) == (0, 0)
    greeted = state()
    answers.pop("HELO again")
    assert session.helo("MX.")
    assert state() == greeted

    refused = session.mail("a@b.com")
    assert (refused.limit, session.rcpt("x@q.net").reply) == ("once", refused.reply)
    answers.pop("RCPT or data after a refused MAIL")
    assert session.data().limit == "once"
    session.reset()
    assert session.data().limit == "out-of-order"

    assert session.mail("a@d.com")
    answers.pop("data without a recipient")
    assert session.data()
    assert session.mail("a@e.com", size=10)
    session.close()
    after = answers.pop("anything after `close()`")
    assert not any(state()[name] for name in ("connections", "greeted", "messages", "bytes", "permits"))
    steps: list[Callable[[], Decision]] = [
        session.connect,
        lambda: session.helo("mx"),
        lambda: session.mail("a@f.com"),
        lambda: session.rcpt("p@q.net"),
        session.data,
    ]
    for step in steps:
        assert str(step().limit) in after
    assert not any(state()[name] for name in ("connections", "greeted", "messages", "bytes", "permits"))
    assert not answers, "every row"
