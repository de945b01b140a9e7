"""`Throttle.session` beside its table: what comes late, what is thrown away, what is no text; and `Decision.refund`."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import tracemalloc
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from given_guards import REAL, guard, is_sound, limit
from strategies import TEXT
from throttle import Decision, Envelope, Limit, ManualClock, Policy, Session, Throttle, ThrottleError

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS = Limit(name="open", per="client.ip", in_flight=9, count="connections")

MESSAGES = Limit(name="messages", per="global", in_flight=9)


def held(pace: Throttle) -> dict[str, int]:
    rows = {table.table: table.used for table in pace.tables()}
    return {name: used for name, used in rows.items() if used and name in ("open", "messages", "permits")}


BOTH = {"open": 1, "messages": 1, "permits": 2}


def open_session(pace: Throttle) -> Session:
    session = pace.session(client_ip="192.0.2.1")
    assert session.connect()
    assert session.mail("a@b.com")
    return session


def leave(session: Session) -> None:
    with session as same:
        assert same is session


def raise_inside(session: Session) -> None:
    with pytest.raises(ZeroDivisionError), session:
        raise ZeroDivisionError


def cancel(session: Session) -> None:
    async def wait() -> None:
        async with session as same:
            assert same is session
            await asyncio.Event().wait()

    async def run() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


@pytest.mark.parametrize("way", [leave, raise_inside, cancel, Session.close])
def test_on_any_path_everything_is_let_go_of_once(way: Callable[[Session], None]) -> None:
    pace = guard(CONNECTIONS, MESSAGES)
    other, session = open_session(pace), open_session(pace)
    assert held(pace) == {name: 2 * count for name, count in BOTH.items()}
    way(session)
    assert held(pace) == BOTH
    session.close()
    del session
    assert held(pace) == BOTH
    other.close()
    assert held(pace) == {}


def test_nobody_knows_it_any_more_and_everything_is_let_go_of() -> None:
    pace = guard(CONNECTIONS, MESSAGES)
    session: Session | None = open_session(pace)
    knot: list[Any] = [open_session(pace)]
    knot.append(knot)
    assert held(pace)["permits"] == 4
    session = None
    assert session is None
    assert held(pace) == BOTH
    del knot
    gc.collect()
    assert held(pace) == {}


class Owner:
    """Who owns a guard whose clock it is."""

    def __init__(self) -> None:
        self.guard = guard(CONNECTIONS, MESSAGES, clock=self.time)
        self.held: Any = None

    def time(self) -> float:
        return REAL


def test_a_cycle_through_the_clock_is_collected() -> None:
    owner = Owner()
    owner.held = open_session(owner.guard)
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_holds_nothing_and_its_sessions_take_nothing_of_the_parents() -> None:
    pace = guard(CONNECTIONS, MESSAGES)
    session = open_session(pace)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            begins = held(pace) == {}
            own = open_session(pace)
            session.close()
            os._exit(0 if begins and held(pace) == BOTH and repr(own) == "Session(in a transaction)" else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert held(pace) == BOTH
    session.close()
    assert held(pace) == {}


def test_a_late_name_runs_what_could_not_run_without_it_once() -> None:
    pace = guard(
        limit("ip", "client.ip", "1/day", count="connections"),
        limit("host", "client.host", "1/day", count="connections"),
        limit("org", "client.org", "1/day"),
        limit("pair", ["client.org", "rcpt.address"], "2/day", count="recipients"),
        Limit(name="open", per="client.host", in_flight=2, count="connections"),
    )
    session = pace.session(client_ip="192.0.2.1")
    assert session.connect()
    assert session.mail("a@b.com")
    assert session.rcpt(["p@q.net", "r@q.net"])
    assert held(pace) == {"permits": 2}
    session.client_name = "mx.b.com"
    assert session.client_name == "mx.b.com"
    assert session.rcpt("s@q.net")
    assert held(pace) == {"permits": 3, "open": 1}
    assert session.rcpt("t@q.net")
    named = Envelope(client_ip="192.0.2.2", client_name="mx.b.com", mail_from="a@c.com", rcpt_to="p@q.net")
    assert pace.peek(named, stage="connect").limit == "host"
    assert pace.peek(named, stage="mail").limit == "org"
    assert pace.check(named, stage="rcpt")
    assert pace.check(named, stage="rcpt").limit == "pair", "p@q.net was charged once, late"
    other = pace.session(client_ip="192.0.2.3", client_name="mx.b.com")
    assert other.connect().limit == "host"
    session.close()
    assert held(pace) == {}


def test_a_late_name_that_a_limit_refuses_refuses_the_next_step_and_is_asked_again() -> None:
    pace = guard(limit("host", "client.host", "1/day", count="connections"), CONNECTIONS)
    assert pace.session(client_name="mx.b.com").connect()
    session = open_session(pace)
    session.client_name = "mx.b.com"
    assert [session.rcpt("p@q.net").limit, session.rcpt("p@q.net").limit, session.mail("a@b.com").limit] == ["host"] * 3
    session.client_name = "mx.c.com"
    assert session.mail("a@b.com")


def test_a_helo_name_is_charged_once_a_connection_whatever_is_said_between() -> None:
    pace = guard(
        limit("greeted", "helo.host", "1/day", count="connections"),
        limit("named", ["client.host", "helo.host"], "1/day", count="connections"),
        Limit(name="open", per="helo.host", in_flight=1, count="connections"),
    )
    session, other = pace.session(client_name="mx.b.com"), pace.session()
    assert all(session.helo(name) for name in ("a.com", "b.com", "A.com.", "b.com"))
    assert other.helo("a.com").limit == "greeted"
    assert other.helo("b.com").limit in ("greeted", "open")
    session.client_name = "mx.b.com"
    assert session.mail("a@b.com"), "the name came late, and is asked nothing that was asked"
    assert session.helo("a.com")
    session.client_name = "mx.c.com"
    assert session.helo("b.com")


def test_the_slot_of_a_connection_under_a_name_goes_where_the_name_goes() -> None:
    pace = guard(Limit(name="open", per="helo.host", in_flight=1, count="connections"))
    session, other = pace.session(), pace.session()
    assert session.helo("a.com")
    assert other.helo("a.com").limit == "open"
    assert session.helo("b.com")
    assert other.helo("a.com")
    assert session.helo("a.com").limit == "open"
    assert held(pace) == {"open": 1, "permits": 3}, "who was refused holds no name"


def test_the_user_stays_for_the_connection() -> None:
    pace = guard(limit("user", "auth.user", "3/day"))
    session = pace.session()
    assert session.helo("mx")
    session.auth_user = "joe"
    assert session.mail("a@b.com")
    session.reset()
    assert session.mail("a@b.com")
    assert session.mail("a@b.com", auth_user="JOE").identities["auth.user"] == "joe"
    assert (session.auth_user, session.mail("a@b.com").limit) == ("JOE", "user")
    assert session.mail("a@b.com", auth_user="ann")


def test_identities_are_those_of_the_step() -> None:
    session = guard(CONNECTIONS).session(client_ip="192.0.2.1")
    assert set(session.connect().identities) == {"client.ip", "client.net", "global"}
    assert session.helo("mx.b.com").identities["helo.host"] == "mx.b.com"
    assert session.mail("a@b.com").identities["sender.org"] == "b.com"
    assert session.rcpt(["p@q.net", "P@q.net"]).identities["rcpt.address"] == ("p@q.net",)
    assert session.rcpt(["p@q.net", "r@q.net"]).identities["rcpt.address"] == ("r@q.net",)
    assert session.data(size=5).identities["rcpt.address"] == ("p@q.net", "r@q.net")
    assert "sender.org" not in session.helo("mx.b.com").identities


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (lambda session: session.helo(5), "name"),
        (lambda session: session.mail(None), "address"),
        (lambda session: session.mail("a@b.com", size="5"), "size"),
        (lambda session: session.mail("a@b.com", spf=5), "spf"),
        (lambda session: session.rcpt([5]), "recipients"),
        (lambda session: session.data(size=1.5), "size"),
    ],
)
def test_what_is_no_text_is_the_callers_mistake_and_changes_nothing(step: Callable[[Any], None], told: str) -> None:
    pace = guard(CONNECTIONS, MESSAGES)
    session = open_session(pace)
    with pytest.raises(TypeError, match=f"^{told}: found"):
        step(session)
    assert held(pace) == BOTH
    assert session.rcpt("p@q.net")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("connect")),
        st.tuples(st.just("helo"), TEXT),
        st.tuples(st.just("mail"), TEXT),
        st.tuples(st.just("rcpt"), TEXT | st.lists(TEXT, max_size=5)),
        st.tuples(st.just("data")),
        st.tuples(st.just("reset")),
        st.tuples(st.just("close")),
    ),
    max_size=20,
)


@given(STEPS, TEXT, TEXT)
def test_nothing_that_a_client_sends_in_any_order_raises(steps: Any, ip: Any, name: Any) -> None:
    with SHARED.session(client_ip=ip, client_name=name) as session:
        for step, *said in steps:
            decision = getattr(session, step)(*said)
            assert decision is None or is_sound(decision)
    assert {table.used for table in SHARED.tables() if table.table in ("permits", "all-open", "all-bytes")} == {0}


SHARED = Throttle(clock=ManualClock(REAL), memory="8 MiB")


def test_a_session_tells_where_it_is() -> None:
    session = guard(CONNECTIONS).session()
    told = [repr(session)]
    session.mail("a@b.com")
    told.append(repr(session))
    session.close()
    assert [*told, repr(session)] == ["Session(open)", "Session(in a transaction)", "Session(closed)"]


def test_steps_take_a_time() -> None:
    pace = guard(limit("pace", "client.ip", "1/minute"))
    session = pace.session(client_ip="192.0.2.1")
    assert session.mail("a@b.com", now=REAL + 10)
    assert session.mail("a@b.com", now=REAL + 69.999).retry_after == pytest.approx(0.001, abs=1e-5)
    assert session.mail("a@b.com", now=REAL + 70)
    with pytest.raises(ValueError, match="now: found"):
        session.mail("a@b.com", now=float("nan"))


# --- refund ---

SENDER = Envelope(client_ip="192.0.2.1", mail_from="a@b.com", rcpt_to=["p@q.net", "r@q.net"], size=100)


@pytest.mark.parametrize("algorithm", ["gcra", "sliding-window"])
@pytest.mark.parametrize("do", [Throttle.check, lambda pace, envelope: pace.admit(envelope).decision])
def test_a_charge_is_given_back_once(algorithm: str, do: Callable[[Throttle, Envelope], Decision]) -> None:
    pace = guard(
        limit("sender", "sender.org", "2/day", algorithm=algorithm),
        limit("mailbox", "rcpt.address", "2/day", algorithm=algorithm, count="recipients"),
    )
    first, second = do(pace, SENDER), do(pace, SENDER)
    assert not pace.peek(SENDER)
    assert first.refund()
    assert not first.refund()
    assert pace.check(SENDER)
    refused = pace.check(SENDER)
    assert not refused
    assert not refused.refund()
    assert not pace.peek(SENDER).refund()
    assert second.refund()
    assert pace.check(SENDER)


def test_fan_outs_keep_what_they_saw_and_shadow_limits_get_nothing_that_they_did_not_charge() -> None:
    pace = guard(
        limit("new", "client.ip", "1/day", distinct="sender.host"),
        limit("watched", "client.ip", "1/day", mode="shadow"),
        limit("watched-too", "client.net", "2/day", mode="shadow"),
    )
    first = pace.check(SENDER)
    again = pace.check(SENDER)
    assert (first.shadow, again.shadow) == ((), ("watched",))
    assert again.refund(), "`watched-too` was charged"
    assert pace.peek(SENDER).shadow == ("watched",)
    assert first.refund()
    assert pace.peek(SENDER).shadow == ()
    assert pace.peek(SENDER.replace(mail_from="a@c.com")).limit == "new"


def test_of_what_drained_since_nothing_is_given_back() -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("pace", "client.ip", "10/minute"), clock=clock)
    made = [pace.check(SENDER) for _ in range(10)]
    clock.advance(3)
    assert made[0].refund(), "half of it is left"
    assert pace.check(SENDER)
    assert not pace.check(SENDER)
    clock.advance(3)
    assert not made[1].refund(), "all of it has drained"


def test_a_decision_at_a_stated_time_is_refunded_at_the_latest_time_seen_whatever_the_clock() -> None:
    pace = guard(limit("pace", "client.ip", "1/minute"), clock=ManualClock(REAL))
    assert pace.check(SENDER, now=1000.0).refund()
    made = pace.check(SENDER, now=1000.0)
    assert made
    assert made.refund(now=1030.0)
    assert pace.check(SENDER, now=1030.0)
    with pytest.raises(ValueError, match="now: found"):
        made.refund(now=float("inf"))


def test_steps_of_a_session_are_refunded_each_by_itself() -> None:
    pace = guard(
        limit("connection", "client.ip", "1/day", count="connections"),
        limit("mail", "client.ip", "1/day"),
        limit("mailbox", "rcpt.address", "1/day", count="recipients"),
        limit("host", "rcpt.host", "1/day"),
        limit("octets", "client.ip", "1 kB/day"),
    )
    session = pace.session(client_ip="192.0.2.1")
    made = [session.connect(), session.mail("a@b.com", size=1000), session.rcpt("p@q.net")]
    second, twice = session.rcpt(["p@q.net", "r@q.net"]), session.rcpt("p@q.net")
    data = session.data(size=1000)
    assert all([*made, second, twice, data])
    assert not twice.refund(), "it charged nothing"
    assert second.refund(), "its own mailbox"
    stages: dict[str, Any] = {"connection": "connect", "mail": "mail", "host": "rcpt", "octets": "data"}
    envelope = SENDER.replace(rcpt_to="x@q.net", size=None)
    for name, stage in stages.items():
        sized = envelope.replace(size=1000) if stage == "data" else envelope
        assert pace.peek(sized, stage=stage).limit == name
    assert pace.peek(SENDER.replace(rcpt_to="r@x.net"), stage="rcpt")
    assert pace.peek(SENDER.replace(rcpt_to="p@q.net"), stage="rcpt").limit in ("mailbox", "host")
    for decision, name in zip([*made, data], stages, strict=True):
        assert decision.refund()
        stage = stages[name]
        assert pace.check(envelope.replace(size=1000) if stage == "data" else envelope, stage=stage)


def test_a_decision_without_its_guard_refunds_nothing_and_says_so() -> None:
    decision = pickle.loads(pickle.dumps(guard(limit("pace", "client.ip", "1/day")).check(SENDER)))
    with pytest.raises(ThrottleError, match="pickled"):
        decision.refund()


def test_what_a_permit_holds_is_not_refunded() -> None:
    pace = guard(MESSAGES, limit("pace", "client.ip", "1/day"))
    with pace.admit(SENDER) as permit:
        assert permit.decision.refund()
        assert held(pace) == {"messages": 1, "permits": 1}
    assert held(pace) == {}


def test_what_refuses_beside_a_policy_is_told_once_of_a_step_that_catches_up() -> None:
    policy = Policy([Limit(name="few", per="client.ip", rate="100/day")], mode="shadow")
    pace = Throttle(policy, memory="4 MiB", max_open=1, clock=ManualClock(0.0))
    pace.block("client.ip", "192.0.2.1")
    with pace.session(client_ip="198.51.100.1") as other:
        assert other.connect()
        decision = pace.session(client_ip="192.0.2.1").mail("x@a.com")
    assert decision.shadow == ("blocked", "max-open")


def test_a_header_that_is_text_is_named_with_what_is_allowed() -> None:
    with guard(limit("pace", "from.org", "1/day")).session(client_ip="192.0.2.1") as session:
        assert session.mail("a@b.com")
        assert session.rcpt("x@y.net")
        text: Any = "From: a@b.com"
        with pytest.raises(TypeError, match="headers: found str; allowed: bytes"):
            session.data(headers=text)
        assert session.data(headers=b"From: a@b.com"), "the transaction is still open"
    for call in (Envelope.from_message, Envelope().with_headers):
        with pytest.raises(TypeError, match="message: found str; allowed: bytes"):
            call(text)


def test_an_idle_session_keeps_no_long_header() -> None:
    """A field of 64 KB has up to eight readings; nothing of it is kept until the next command."""
    long = '"a""b""c""d""e""f""g""' + "x" * 65_000 + '"@e.com'
    headers = f"From: {long}\r\nReply-To: {long}\r\nList-Id: <{'y' * 60_000}>\r\n\r\n".encode()
    pace, idle = Throttle(), []
    tracemalloc.start()
    for number in range(50):
        session = pace.session(client_ip=f"203.0.{number}.1")
        session.helo("mx")
        session.mail(f"a@org{number}.com")
        session.data(headers=headers)
        idle.append(session)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 50 * 10_000


def test_a_report_counts_by_what_an_ordinary_header_said() -> None:
    spam = Limit(name="spam", per="dkim.org", rate="1/day", count="reports", reports=["spam"])
    pace = guard(spam)
    session = pace.session(client_ip="203.0.113.1")
    for _ in range(2):
        session.mail("a@b.com")
        session.data(headers=b"From: <a@b.com>\r\n\r\n", dkim="b.com")
        session.report("spam")
    refused = pace.check(Envelope(client_ip="203.0.113.2", mail_from="c@d.com", header_from="c@d.com", dkim="b.com"))
    assert refused.limit == "spam"
