"""What is a message of the sample, and that its memory and its counts stay exact over reloads and threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from integrations.postfix.policy_client import DUNNO, PolicyClient
from integrations.postfix.policy_thread import PolicyThread
from surges import END_US, OPEN
from throttle import Envelope, Limit, ManualClock, Policy, Throttle

NOW = END_US / 1e6
REFUSING = Policy([Limit(name="none", per="rcpt.address", rate="1/day", burst=1)])


def of_host(number: int) -> Envelope:
    return Envelope(
        client_ip="192.0.2.7", helo="a.example.com", mail_from=f"a@h{number}.example.com", rcpt_to="u@box.com"
    )


def rows(guard: Throttle) -> dict[str, tuple[str | None, int]]:
    return {row["identity"]: (row["value"], row["sampled"]) for row in guard.diagnose(now=NOW)["rows"]}


def counts(guard: Throttle) -> tuple[int, int]:
    diagnosis = guard.diagnose(now=NOW)
    return diagnosis["messages"], diagnosis["refused"]


def test_a_check_is_a_message_and_a_peek_is_none() -> None:
    guard = Throttle(REFUSING, sample=True)
    for number in range(100):
        guard.check(of_host(number), now=NOW)
        guard.peek(of_host(number), now=NOW)
        guard.explain(of_host(number), now=NOW)
    guard.admit(Envelope(client_ip="192.0.2.8"), now=NOW).release()
    assert counts(guard) == (101, 99)


def test_a_session_is_a_message_for_each_mail_and_for_a_refused_connection() -> None:
    guard = Throttle(REFUSING, sample=True, clock=ManualClock(NOW))
    session = guard.session(client_ip="192.0.2.7")
    session.connect(now=NOW)
    session.helo("a.example.com", now=NOW)
    for refused in (0, 1, 2):
        session.mail("a@h.example.com", now=NOW)
        session.rcpt("u@box.com", now=NOW)
        session.rcpt("u@box.com", now=NOW)
        if not refused:
            session.headers(b"From: a@author.com\r\nReply-To: Case <case@desk.com>\r\n\r\n", now=NOW)
        session.data(now=NOW)
        assert counts(guard) == (refused + 1, refused)
    guard.block("client.ip", "192.0.2.9")
    other = guard.session(client_ip="192.0.2.9")
    assert not other.connect(now=NOW)
    assert counts(guard) == (4, 3)
    found = rows(guard)
    assert found["rcpt.address"] == ("u@box.com", 3)
    assert found["sender.host"] == ("h.example.com", 3)
    assert found["reply_to.address"] == ("case@desk.com", 1)
    assert found["client.net/24/48"] == ("192.0.2.0/24", 4)


def test_a_policy_service_sees_no_header() -> None:
    guard = Throttle(OPEN, sample=True, clock=ManualClock(NOW))
    with PolicyThread({"": guard}) as service, PolicyClient(service.address) as client:
        for state in ("RCPT", "END-OF-MESSAGE"):
            assert client.ask(protocol_state=state, sender="a@example.com", recipient="u@box.com") == DUNNO
    assert counts(guard) == (1, 0)
    found = rows(guard)
    assert found["rcpt.address"] == ("u@box.com", 1)
    assert found["from.address"] == (None, 0)


def test_a_reload_keeps_the_samples() -> None:
    guard = Throttle(REFUSING, sample=True)
    for number in range(100):
        guard.check(of_host(number), now=NOW)
    before = guard.diagnose(now=NOW)
    guard.reload(OPEN)
    assert guard.diagnose(now=NOW) == before
    guard.check(of_host(1), now=NOW)
    assert counts(guard) == (101, 99)


def test_counts_of_threads_sum_up_and_the_memory_is_constant() -> None:
    guard = Throttle(REFUSING, sample=True)
    memory = guard.memory_bytes, guard.sample_bytes
    assert memory[1] == pytest.approx(6e6, rel=0.1)

    def check(first: int) -> int:
        return sum(not guard.check(of_host(number), now=NOW).allowed for number in range(first, first + 5_000))

    with ThreadPoolExecutor(8) as threads:
        refused = threads.map(check, range(0, 40_000, 5_000))
        states = [guard.diagnose(now=NOW)["messages"] for _ in range(20)]
        total = sum(refused)
    assert states == sorted(states)
    assert counts(guard) == (40_000, total)
    assert total == 39_999
    assert guard.diagnose(now=NOW)["sampled"] == 1 + 32, "all that were admitted, and the most of the refused ones"
    assert (guard.memory_bytes, guard.sample_bytes) == memory
