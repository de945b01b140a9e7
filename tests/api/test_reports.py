"""`Throttle.report` and `Session.report`: what the server finds out, and what of it a session knows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exact_buckets import ExactBuckets
from given_guards import REAL, guard
from strategies import TEXT
from throttle import Envelope, Limit, ManualClock, Session, Throttle

if TYPE_CHECKING:
    from throttle.types import Outcome

OUTCOMES: list[Outcome] = ["unknown-recipient", "auth-failure", "spam", "virus"]


def reports(per: str | list[str], *outcomes: Outcome, rate: str = "1/hour", **fields: Any) -> Limit:
    """A limit that one report fills."""
    return Limit(name="reports", per=per, count="reports", reports=outcomes or OUTCOMES, rate=rate, **fields)


def used(pace: Throttle, **fields: Any) -> int:
    """How many reports are counted for an envelope."""
    told = pace.explain(Envelope(**fields)).limits[0]
    assert (told.counts[:11], told.adds) == ("reports of ", 0)
    return told.used or 0


def test_an_unknown_outcome_is_a_value_error_and_another_type_a_type_error() -> None:
    pace = guard(reports("client.ip"))
    session = pace.session(client_ip="192.0.2.1")
    allowed = '"unknown-recipient", "auth-failure", "spam", "virus"'
    wrong: list[tuple[type[Exception], Any, str]] = [
        (ValueError, "unknown-recipients", "'unknown-recipients'"),
        (ValueError, "Spam", "'Spam'"),
        (ValueError, "\ud800", "'\\ud800'"),
        (TypeError, b"spam", "bytes"),
        (TypeError, None, "None"),
    ]
    for error, outcome, found in wrong:
        for call in (lambda of: pace.report(Envelope(), of), session.report):
            with pytest.raises(error) as raised:
                call(outcome)
            assert str(raised.value) == f"outcome: found {found}; allowed: {allowed}"
    with pytest.raises(TypeError, match="recipient: found int"):
        session.report("spam", 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="now: found NaN"):
        session.report("spam", now=float("nan"))
    assert used(pace, client_ip="192.0.2.1", mail_from="a@b.com") == 0


@given(TEXT, TEXT, st.sampled_from(OUTCOMES))
def test_nothing_that_a_sender_writes_raises(sender: str | bytes, recipient: str | bytes, outcome: Outcome) -> None:
    pace = guard(reports(["client.net", "sender.org", "rcpt.address"]))
    session = pace.session(client_ip=sender)
    session.mail(sender)
    session.rcpt(recipient)
    session.report(outcome, recipient)
    pace.report(Envelope(mail_from=sender, rcpt_to=[recipient, sender]), outcome)


def test_a_session_reports_the_client_the_sender_with_its_trust_and_the_named_recipient() -> None:
    pace = guard(reports(["client.ip", "sender.host", "rcpt.address"], rate="9/hour"))
    session = pace.session(client_ip="192.0.2.1")
    session.mail("a@mail.b.com", spf="pass")
    session.rcpt(["one@box.com", "two@box.com"])
    session.report("unknown-recipient", "nobody@box.com")
    known: dict[str, Any] = {"client_ip": "192.0.2.1", "mail_from": "a@mail.b.com"}
    assert used(pace, **known, rcpt_to="nobody@box.com", spf="pass") == 1
    assert used(pace, **known, rcpt_to="nobody@box.com") == 0, "the sender is proven"
    session.report("spam")
    assert used(pace, **known, rcpt_to="one@box.com", spf="pass") == 0, "recipients that are not named are not reported"


def after_data(session: Session) -> None:
    assert session.mail("a@b.com")
    assert session.rcpt("in@box.com")
    assert session.data(headers=b"From: x@c.com\r\nReply-To: r@d.com\r\n\r\n")


def test_after_the_data_a_report_is_about_the_message_that_has_ended() -> None:
    for per in ("sender.org", "from.org", "reply_to.address", "client.ip"):
        pace = guard(reports(per))
        session = pace.session(client_ip="192.0.2.1")
        after_data(session)
        session.data()  # out of order: it changes nothing
        session.report("spam")
        assert {session.mail("a@b.com").limit, session.data(headers=b"Reply-To: r@d.com\nFrom: x@c.com\n\n").limit} >= {
            "reports"
        }, per


@pytest.mark.parametrize("step", ["mail", "helo", "reset", "close"])
def test_a_later_step_ends_what_is_known_of_the_message(step: str) -> None:
    pace = guard(reports("sender.org", rate="9/hour"))
    session = pace.session(client_ip="192.0.2.1")
    after_data(session)
    {
        "mail": lambda: session.mail("a@other.com"),
        "helo": lambda: session.helo("mx"),
        "reset": session.reset,
        "close": session.close,
    }[step]()
    session.report("virus")
    told = [used(pace, mail_from="a@b.com"), used(pace, mail_from="a@other.com")]
    assert told == {"mail": [0, 1], "close": [1, 0]}.get(step, [0, 0])


def test_a_refused_data_leaves_the_sender_known_and_a_refused_mail_does_not() -> None:
    once = Limit(name="once", per="from.org", rate="1/day")
    pace = guard(reports("sender.org", rate="9/hour"), once, Limit(name="net", per="client.ip", rate="2/day"))
    session = pace.session(client_ip="192.0.2.1")
    after_data(session)
    assert session.mail("a@b.com")
    assert session.data(headers=b"From: x@c.com\n\n").limit == "once"
    session.report("spam")
    assert used(pace, mail_from="a@b.com") == 1
    assert session.mail("a@b.com").limit == "net"
    session.report("spam")
    assert used(pace, mail_from="a@b.com") == 1


def test_unknown_recipients_are_refused_within_the_transaction_that_asks_for_them() -> None:
    pace = guard(reports(["client.net", "sender.org"], "unknown-recipient", rate="5/hour"))
    with pace.session(client_ip="192.0.2.1") as session:
        assert session.mail("a@b.com")
        answered = 0
        for number in range(100):
            if session.rcpt(f"guess{number}@box.com"):
                session.report("unknown-recipient", f"guess{number}@box.com")
                answered += 1
        refused = session.rcpt("in@box.com")
    assert answered == 5
    assert (refused.limit, refused.stage, refused.key) == ("reports", "rcpt", "192.0.2.0/24 + b.com")
    assert refused.reply == "451 4.7.1 192.0.2.0/24 + b.com was reported too often; retry in 720 s"


def test_who_failed_to_authenticate_is_refused_at_connect_and_what_is_open_is_blocked_with_it() -> None:
    pace = guard(reports("client.ip", "auth-failure", rate="3/hour", action="block 1 hour"))
    with pace.session(client_ip="192.0.2.1") as session, pace.session(client_ip="192.0.2.1") as later:
        assert session.connect()
        for _ in range(9):
            session.report("auth-failure")
        assert later.connect().reply == "421 4.7.0 192.0.2.1 was reported too often; retry in 3600 s"
        assert session.mail("a@b.com").reply == "451 4.7.1 192.0.2.1 is blocked; retry in 3600 s"
    assert pace.session(client_ip="192.0.2.2").connect()


def test_the_time_may_be_stated_and_moves_the_clock_of_the_guard() -> None:
    pace = guard(reports("client.ip"), clock=ManualClock(REAL))
    client = Envelope(client_ip="192.0.2.1", mail_from="a@b.com")
    pace.report(client, "spam", now=REAL - 3600)
    assert pace.check(client, now=REAL + 1)
    pace.report(client, "spam", now=REAL + 1)
    assert pace.check(client, now=REAL).retry_after == pytest.approx(3601, abs=0.001), "charged at the latest time"
    assert pace.check(client, now=REAL + 3601)


@pytest.mark.parametrize("algorithm", ["gcra", "sliding-window"])
def test_reports_of_many_threads_are_all_counted(algorithm: Any) -> None:
    pace = guard(reports("client.ip", rate="1000/day", algorithm=algorithm))
    start = threading.Barrier(8)

    def run(thread: int) -> None:
        session = pace.session(client_ip="192.0.2.1")
        start.wait()
        for number in range(100):
            session.report("spam")
            pace.report(Envelope(client_ip=f"198.51.100.{thread}"), OUTCOMES[number % 4])

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert used(pace, client_ip="192.0.2.1", mail_from="a@b.com") == 800
    assert [used(pace, client_ip=f"198.51.100.{n}", mail_from="a@b.com") for n in range(8)] == [100] * 8


@given(st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 2), st.booleans()), max_size=200))
def test_a_session_agrees_with_an_exact_bucket(steps: list[tuple[int, int, bool]]) -> None:
    """Reports and steps of several clients: a step is refused exactly while there is no room for one more report."""
    pace = guard(reports("client.ip", rate="1000/second", burst=3), memory="1 MiB")
    bucket, now_us = ExactBuckets(1000, 1, 3), int(REAL * 1_000_000)
    sessions = [pace.session(client_ip=f"192.0.2.{number}") for number in range(3)]
    for pause, who, is_report in steps:
        now_us += pause
        if is_report:
            sessions[who].report("spam", now=now_us / 1e6)
            bucket.charge_up_to_full(who, now_us)
        else:
            assert bool(sessions[who].mail("a@b.com", now=now_us / 1e6)) == (bucket.excess(who, now_us) <= 0)
