"""The handler's own hooks keep working, no fault bounces mail, and what the handler finds out reaches the guard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from given_guards import guard, limit
from integrations.aiosmtpd.serving import (
    RECIPIENT,
    SENDER,
    Inbox,
    client,
    holds,
    line,
    open_guard,
    send,
)
from throttle import Limit, Throttle
from throttle.aiosmtpd import FAULT, SMTP, Controller

if TYPE_CHECKING:
    from collections.abc import Callable

    from integrations.aiosmtpd.serving import Loopback
    from throttle.types import Outcome


class Recording:
    """A handler with every hook of aiosmtpd; it answers each in its own words."""

    def __init__(self) -> None:
        self.called: list[str] = []

    async def handle_HELO(self, server: Any, session: Any, envelope: Any, hostname: str) -> str:
        self.called.append("HELO")
        session.host_name = hostname
        return "250 own HELO"

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        self.called.append("EHLO")
        session.host_name = hostname
        return [*responses[:-1], "250-OWN", responses[-1]]

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        self.called.append(f"MAIL {address} {options}")
        envelope.mail_from = address
        return "250 own MAIL"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        self.called.append(f"RCPT {address}")
        envelope.rcpt_tos.append(address)
        return "250 own RCPT"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.called.append("DATA")
        return "250 own DATA"

    async def handle_RSET(self, server: Any, session: Any, envelope: Any) -> str:
        self.called.append("RSET")
        return "250 own RSET"

    async def handle_NOOP(self, server: Any, session: Any, envelope: Any, arg: str) -> str:
        self.called.append("NOOP")
        return "250 own NOOP"

    async def handle_VRFY(self, server: Any, session: Any, envelope: Any, address: str) -> str:
        self.called.append("VRFY")
        return "252 own VRFY"

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        self.called.append("QUIT")
        return "221 own QUIT"


def test_every_hook_of_the_handler_is_called_and_its_answer_sent(serve: Callable[..., Loopback]) -> None:
    handler = Recording()
    with client(serve(Throttle(), handler)) as connection:
        assert line(connection.helo()) == "250 own HELO"
        assert "own" in connection.ehlo()[1].decode().lower().splitlines()
        assert line(connection.mail(SENDER, ["SIZE=5"])) == "250 own MAIL"
        assert line(connection.rset()) == "250 own RSET"
        connection.mail(SENDER)
        assert line(connection.rcpt(RECIPIENT)) == "250 own RCPT"
        assert line(connection.data(b"hi")) == "250 own DATA"
        assert line(connection.noop()) == "250 own NOOP"
        assert line(connection.verify("x")) == "252 own VRFY"
        assert line(connection.quit()) == "221 own QUIT"
    expected = ["HELO", "EHLO", f"MAIL {SENDER} ['SIZE=5']", "RSET", f"MAIL {SENDER} []", f"RCPT {RECIPIENT}", "DATA"]
    assert handler.called == [*expected, "NOOP", "VRFY", "QUIT"]


@pytest.mark.filterwarnings("ignore:Use the 5-argument handle_EHLO:DeprecationWarning")
def test_an_ehlo_hook_of_four_arguments_works_and_a_refused_name_sends_nothing_of_it(
    serve: Callable[..., Loopback],
) -> None:
    class Old(Inbox):
        async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str) -> str:
            session.host_name = hostname
            return "250 OLD"

    server = serve(guard(limit("names", "helo.host", "1/day", count="connections")), Old())
    with client(server) as connection:
        assert "OLD" in connection.ehlo()[1].decode().splitlines()
    with client(server) as connection:
        assert line(connection.ehlo()) == "421 4.7.0 mx.sender.net connects too often; retry in 86400 s"


@pytest.mark.filterwarnings("ignore:Use handler.handle_DATA:DeprecationWarning")
@pytest.mark.parametrize("is_coroutine", [False, True])
def test_a_handler_with_the_deprecated_process_message_is_guarded_at_data(
    serve: Callable[..., Loopback], is_coroutine: bool
) -> None:
    delivered: list[str] = []

    class Deprecated:
        def process_message(self, peer: Any, mail_from: str, rcpt_tos: list[str], content: bytes) -> Any:
            delivered.append(mail_from)

            async def answer() -> str:
                return "250 own"

            return answer() if is_coroutine else None

    with client(serve(guard(limit("once", "from.org", "1/day")), Deprecated())) as connection:
        connection.ehlo()
        assert [send(connection), send(connection)] == [[250, 250, 250], [250, 250, 451]]
    assert delivered == [SENDER]


def test_a_handler_without_hooks_is_guarded_at_data(serve: Callable[..., Loopback]) -> None:
    with client(serve(guard(limit("once", "from.org", "1/day")), object())) as connection:
        connection.ehlo()
        assert [send(connection), send(connection)] == [[250, 250, 250], [250, 250, 451]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"guard": "inbound"}, 'guard: found str; allowed: Throttle, as Throttle("inbound")'),
        ({"guard": None}, "guard: found NoneType; allowed: Throttle"),
        ({"outcome": "spam"}, "outcome: found str; allowed: a function"),
        ({"on_decision": 1}, "on_decision: found int; allowed: a function, or None"),
    ],
)
def test_a_wrong_type_is_told_before_the_first_client(wrong: dict[str, Any], message: str) -> None:
    arguments = {"guard": open_guard(), **wrong}
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        Controller(Recording(), hostname="127.0.0.1", port=0, **arguments)
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        SMTP(Recording(), **arguments)


class Faulty:
    """A guard whose session raises at one step."""

    def __init__(self, step: str) -> None:
        self.step = step

    def session(self, client_ip: str | None) -> Any:
        if self.step == "session":
            raise RuntimeError("fault \x1b[31m")
        return FaultySession(Throttle().session(client_ip=client_ip), self.step)


class FaultySession:
    def __init__(self, session: Any, step: str) -> None:
        self.__dict__.update(session=session, step=step)

    def __getattr__(self, name: str) -> Any:
        if name == self.step:
            raise RuntimeError("fault \x1b[31m")
        return getattr(self.session, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.session, name, value)


@pytest.mark.parametrize(
    ("step", "codes"),
    [
        ("session", [451]),
        ("connect", [250, 250, 250]),
        ("helo", [250, 250, 250]),
        ("mail", [451]),
        ("rcpt", [250, 451]),
        ("data", [250, 250, 451]),
    ],
)
def test_a_fault_of_the_guard_delays_the_message_and_is_logged(
    serve: Callable[..., Loopback], caplog: pytest.LogCaptureFixture, step: str, codes: list[int]
) -> None:
    inbox = Inbox()
    with client(serve(Faulty(step), inbox)) as connection:
        assert connection.ehlo()[0] == 250
        assert send(connection) == codes
        assert send(connection) == codes
    assert bool(inbox.senders) == (codes[-1] == 250)
    faults = [record.getMessage() for record in caplog.records if record.name == "throttle.aiosmtpd"]
    assert FAULT == "451 4.3.0 local fault; try again later"
    assert faults
    assert "RuntimeError('fault \\x1b[31m')" in faults[0]


def test_a_fault_at_each_message_writes_few_lines(
    serve: Callable[..., Loopback], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Inbox):
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            raise ValueError(f"a text of the client's: {envelope.mail_from}")

    with client(serve(Faulty("rcpt"))) as one, client(serve(Throttle(), Broken())) as other:
        for connection, codes in ((one, [250, 451]), (other, [250, 250, 451])):
            connection.ehlo()
            for number in range(20):
                assert send(connection, f"a{number}@sender.net") == codes
    logged = [record.getMessage().split(":")[0] for record in caplog.records if record.name == "throttle.aiosmtpd"]
    assert logged == ["fault at RCPT"] * 6 + ["fault at a handler"] * 6


@pytest.mark.parametrize(
    ("hook", "steps_until_then"),
    [("handle_MAIL", 1), ("handle_RCPT", 2), ("handle_DATA", 3)],
)
def test_a_fault_of_the_handler_delays_the_message_and_the_next_one_needs_no_rset(
    serve: Callable[..., Loopback], caplog: pytest.LogCaptureFixture, hook: str, steps_until_then: int
) -> None:
    faults = 1

    class Broken(Recording):
        pass

    works: Any = getattr(Recording, hook)

    async def broken(self: Any, *args: Any) -> Any:
        nonlocal faults
        if faults:
            faults -= 1
            raise ValueError(f"\x1b[31m {args[2].mail_from}\nforged line")
        return await works(self, *args)

    setattr(Broken, hook, broken)
    rules = open_guard()
    with client(serve(rules, Broken())) as connection:
        connection.ehlo()
        steps: list[Callable[[], tuple[int, bytes]]] = [
            lambda: connection.mail(SENDER),
            lambda: connection.rcpt(RECIPIENT),
            lambda: connection.data(b"hi"),
        ]
        said = [line(step()) for step in steps[:steps_until_then]]
        assert said[-1] == FAULT
        if hook != "handle_RCPT":  # there the transaction goes on: another recipient may do
            assert holds(rules, "open-messages") == 0
            assert connection.mail(SENDER)[0] == 250
        assert connection.rcpt(RECIPIENT)[0] == 250
        assert connection.data(b"hi")[0] == 250
    logged = [record.getMessage() for record in caplog.records if record.name == "throttle.aiosmtpd"]
    assert len(logged) == 1
    assert "\x1b" not in logged[0]
    assert "\nforged" not in logged[0]


def test_a_handlers_own_handle_exception_answers_and_its_fault_gets_451(serve: Callable[..., Loopback]) -> None:
    class Careful(Recording):
        async def handle_RCPT(self, *args: Any) -> str:
            raise ValueError("fault")

        async def handle_exception(self, error: Exception) -> str:
            return f"452 own {error}"

    class Careless(Careful):
        async def handle_exception(self, error: Exception) -> str:
            raise KeyError("another")

    for handler, reply in ((Careful(), "452 own fault"), (Careless(), FAULT)):
        with client(serve(Throttle(), handler)) as connection:
            connection.ehlo()
            connection.mail(SENDER)
            assert line(connection.rcpt(RECIPIENT)) == reply


def test_a_fault_of_on_decision_delays_the_message_and_leaves_nothing_held(serve: Callable[..., Loopback]) -> None:
    def on_decision(decision: object) -> None:
        raise RuntimeError("fault")

    rules = open_guard()
    with client(serve(rules, on_decision=on_decision)) as connection:
        connection.ehlo()
        assert line(connection.mail(SENDER)) == FAULT
        assert holds(rules, "open-messages") == 0


def harvest(outcome: Outcome) -> Throttle:
    return guard(Limit(name="harvest", per="client.ip", count="reports", reports=[outcome], rate="3/hour"))


class Knowing(Inbox):
    """A handler that knows one mailbox."""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address != RECIPIENT:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"


def test_unknown_recipients_are_reported_until_the_harvester_is_deferred(serve: Callable[..., Loopback]) -> None:
    with client(serve(harvest("unknown-recipient"), Knowing())) as connection:
        connection.ehlo()
        connection.mail(SENDER)
        guesses = [connection.rcpt(f"guess{number}@box.com")[0] for number in range(5)]
        assert guesses == [550, 550, 550, 451, 451]
        assert connection.rcpt(RECIPIENT)[0] == 451


def test_outcome_says_what_a_reply_reports(serve: Callable[..., Loopback]) -> None:
    asked: list[tuple[str, str]] = []

    class Scanning(Knowing):
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            return "554 5.7.1 spam"

    def outcome(step: str, reply: str) -> Any:
        asked.append((step, reply))
        return "spam" if reply.startswith("554") else None

    with client(serve(harvest("spam"), Scanning(), outcome=outcome)) as connection:
        connection.ehlo()
        assert [send(connection) for _ in range(4)] == [[250, 250, 554]] * 3 + [[451]]
    assert asked[:2] == [("RCPT", "250 OK"), ("DATA", "554 5.7.1 spam")]


def test_a_fault_of_outcome_is_logged_and_the_reply_stays(
    serve: Callable[..., Loopback], caplog: pytest.LogCaptureFixture
) -> None:
    def outcome(step: str, reply: str) -> Any:
        raise RuntimeError("fault")

    with client(serve(Throttle(), Knowing(), outcome=outcome)) as connection:
        connection.ehlo()
        connection.mail(SENDER)
        assert line(connection.rcpt("guess@box.com")) == "550 5.1.1 no such mailbox"
    assert "the report of RCPT" in caplog.text


def test_a_handler_can_report_refund_and_say_what_it_knows(serve: Callable[..., Loopback]) -> None:
    class Talking(Knowing):
        async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
            server.guard_session.spf = "pass"
            server.decision.refund()
            envelope.mail_from = address
            return "250 OK"

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            server.guard_session.report("virus")
            return "250 OK"

    rules = guard(
        limit("once", "sender.org", "1/day"),
        limit("claimed", ["sender.org", "rcpt.host"], "1/day", verified="claimed"),
        Limit(name="virus", per="client.ip", count="reports", reports=["virus"], rate="3/hour"),
    )
    with client(serve(rules, Talking())) as connection:
        connection.ehlo()
        assert [send(connection) for _ in range(4)] == [[250, 250, 250]] * 3 + [[451]]
