"""A server that is asked the same question twice names its transactions, and one that never learns when a client is gone
holds nothing for it.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from given_guards import REAL, guard, limit
from throttle import Envelope, Limit, ManualClock, Session, Throttle, ThrottleError

PAIR = limit("pair", "sender.org", "100/day")
MAILBOX = Limit(name="mailbox", per="rcpt.address", rate="100/day", count="recipients")
READER = limit("reader", "reply_to.mailbox", "100/day")
OCTETS = Limit(name="octets", per="client.ip", rate="1 MB/day")
OPEN = Limit(name="open", per="global", in_flight=2, count="messages")


def used(pace: Throttle, name: str, **fields: Any) -> int:
    """How much of a limit the key of an envelope has used."""
    envelope = Envelope(**{"client_ip": "192.0.2.1", "mail_from": "a@b.com", "rcpt_to": "u@x.com", "size": 1} | fields)
    (row,) = [row for row in pace.explain(envelope).limits if row.limit == name]
    assert row.used is not None
    return row.used


def whole(session: Session, name: str | bytes, times: int = 1) -> None:
    """The dialogue of one message as a service that is listed ``times`` times in each restriction is asked for it."""
    for number in range(3):
        for _ in range(times):
            assert session.mail("a@b.com", transaction=name)
            assert session.rcpt(f"u{number}@x.com", transaction=name)
    for _ in range(times):
        assert session.mail("a@b.com", transaction=name)
        assert session.data(size=1000, transaction=name)


@pytest.mark.parametrize("name", ["55f8.1", b"\xff\x00", ""])
def test_a_step_that_is_asked_again_is_charged_once(name: str | bytes) -> None:
    pace = guard(PAIR, MAILBOX, OCTETS)
    whole(pace.session(client_ip="192.0.2.1", hold=False), name, times=4)
    assert used(pace, "pair") == 1
    assert [used(pace, "mailbox", rcpt_to=f"u{number}@x.com") for number in range(3)] == [1, 1, 1]
    assert used(pace, "octets") == 1000


def test_another_name_is_another_message_and_so_is_none() -> None:
    pace = guard(PAIR)
    session = pace.session(client_ip="192.0.2.1", hold=False)
    for name in ("1", "2", None, None, "2"):
        assert session.mail("a@b.com", transaction=name)
    assert used(pace, "pair") == 5


def test_two_connections_of_the_same_session_may_ask_by_turns() -> None:
    """Two clients with their sessions, each asked about by turns: neither ends the other's transaction."""
    pace = guard(PAIR, MAILBOX)
    first, second = (pace.session(client_ip=f"192.0.2.{n}", hold=False) for n in (1, 2))
    for number in range(5):
        for session, name in ((first, "a.1"), (second, "b.1")):
            assert session.mail("a@b.com", transaction=name)
            assert session.rcpt(f"{name}-{number}@x.com", transaction=name)
    assert used(pace, "pair") == 2


def test_the_answer_of_a_message_that_has_ended_is_repeated() -> None:
    pace = guard(PAIR, Limit(name="octets", per="client.ip", rate="10 B/day"))
    session = pace.session(client_ip="192.0.2.1", hold=False)
    session.mail("a@b.com", transaction="1")
    session.rcpt("u@x.com", transaction="1")
    first = session.data(size=1000, transaction="1")
    assert first.limit == "octets"
    assert session.mail("a@b.com", transaction="1")
    again = session.data(size=1000, transaction="1")
    assert (again.limit, again.key, again.retry_after) == (first.limit, first.key, first.retry_after)
    assert used(pace, "pair") == 1


def test_a_refused_step_is_asked_again_and_passes_when_there_is_room() -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("pair", "sender.org", "1/hour"), clock=clock)
    assert pace.session(client_ip="192.0.2.1").mail("a@b.com")
    session = pace.session(client_ip="192.0.2.1", hold=False)
    refused = session.mail("a@b.com", transaction="1")
    assert refused.limit == "pair"
    assert session.rcpt("u@x.com", transaction="1").limit == "pair"
    clock.advance(refused.retry_after)
    assert session.mail("a@b.com", transaction="1")
    assert session.rcpt("u@x.com", transaction="1")
    assert not session.mail("a@b.com", transaction="2")


def test_a_step_of_another_transaction_is_a_mistake_of_the_server() -> None:
    session = guard(PAIR).session(client_ip="192.0.2.1")
    session.mail("a@b.com", transaction="1")
    for step in (lambda: session.rcpt("u@x.com", transaction="2"), lambda: session.data(transaction="2")):
        with pytest.raises(ValueError, match="transaction: found the name of another transaction"):
            step()
    assert session.rcpt("u@x.com")


# --- without slots ---


def test_a_session_that_holds_nothing_takes_no_slot_and_is_refused_none() -> None:
    pace = guard(PAIR, OPEN)
    holding = [pace.session(client_ip="192.0.2.1") for _ in range(3)]
    assert [bool(session.mail("a@b.com")) for session in holding] == [True, True, False]
    idle = [pace.session(client_ip="192.0.2.1", hold=False) for _ in range(30)]
    assert all(session.connect() and session.helo("mx") and session.mail("a@b.com") for session in idle)
    assert {table.table: table.used for table in pace.tables()}["permits"] == 5, "three connections, two messages"


# --- the header ---

HEADER = b"Reply-To: <joe@firm.com>\r\n\r\n"


def test_the_header_is_asked_before_the_size_is_known_and_once() -> None:
    pace = guard(PAIR, READER, OCTETS)
    with pace.session(client_ip="192.0.2.1") as session:
        session.mail("a@b.com")
        session.rcpt("u@x.com")
        assert session.headers(HEADER)
        assert session.headers(HEADER)
        assert used(pace, "octets") == 0
        assert session.data(size=1000)
    assert used(pace, "reader", reply_to="joe@firm.com") == 1
    assert used(pace, "octets") == 1000


def test_a_refused_header_ends_the_transaction_and_releases_it() -> None:
    pace = guard(PAIR, limit("reader", "reply_to.mailbox", "1/day"), OPEN)
    pace.session(client_ip="192.0.2.9").mail("a@b.com")
    session = pace.session(client_ip="192.0.2.1")
    for expected in (None, "reader"):
        assert session.mail("a@b.com")
        assert session.rcpt("u@x.com")
        assert session.headers(HEADER).limit == expected
    assert session.data(size=1).limit == "reader", "the refusal stands"
    assert {table.table: table.used for table in pace.tables()}["open"] == 0
    assert session.mail("a@b.com")


def test_the_size_that_was_declared_stays_held_until_the_data() -> None:
    pace = guard(PAIR, READER, Limit(name="octets", per="global", in_flight="1 MB"))
    session = pace.session(client_ip="192.0.2.1")
    session.mail("a@b.com", size=900_000)
    session.rcpt("u@x.com")
    assert session.headers(HEADER)
    other = pace.session(client_ip="192.0.2.2")
    assert other.mail("c@d.com", size=900_000).limit == "octets"
    assert session.data(size=900_000)
    assert other.mail("c@d.com", size=900_000)


def test_a_header_without_a_transaction_is_out_of_order() -> None:
    assert guard(READER).session(client_ip="192.0.2.1").headers(HEADER).limit == "out-of-order"


# --- the SPF result ---


def test_the_spf_result_may_come_until_the_first_recipient() -> None:
    mailbox = Limit(
        name="mailbox", per=["sender.org", "rcpt.host"], rate="1/day", count="recipients", verified="proven"
    )
    pace = guard(PAIR, mailbox)
    session = pace.session(client_ip="192.0.2.1")
    session.spf = "pass"  # there is no transaction, so it is of nothing
    session.mail("a@b.com")
    assert session.spf is None
    session.spf = "pass"
    assert session.spf == "pass"
    assert session.rcpt("u@x.com")
    assert session.rcpt("v@x.com").limit == "mailbox"
    with pytest.raises(ThrottleError, match="spf: found a transaction with recipients"):
        session.spf = "fail"
    session.reset()
    assert session.spf is None


STEPS = st.lists(st.tuples(st.sampled_from(["mail", "rcpt", "headers", "data", "reset", "helo"]), st.integers(0, 2)))


@given(STEPS)
def test_in_any_order_of_steps_each_named_message_is_charged_once(steps: list[tuple[str, int]]) -> None:
    pace = guard(PAIR, MAILBOX, READER, OCTETS)
    session, charged = pace.session(client_ip="192.0.2.1", hold=False), 0
    current: int | None = None
    ended: int | None = None
    for step, number in steps:
        if step == "mail":
            assert session.mail("a@b.com", transaction=str(number))
            if number not in (current, ended):
                charged, current = charged + 1, number
        elif step == "rcpt":
            session.rcpt("u@x.com")
        elif step == "headers":
            session.headers(HEADER)
        elif step == "data":
            session.data(size=10)
            ended, current = (ended if current is None else current), None
        else:
            session.reset() if step == "reset" else session.helo("mx")
            current = None
    assert used(pace, "pair") == charged
