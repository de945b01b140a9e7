"""Each step of the dialogue is asked at its own command, and a refused step reaches no handler."""

from __future__ import annotations

import smtplib
from typing import TYPE_CHECKING, Any

import pytest

from given_guards import guard, limit
from integrations.aiosmtpd.serving import (
    MESSAGE,
    RECIPIENT,
    SENDER,
    Inbox,
    client,
    held,
    holds,
    line,
    once,
    open_guard,
    read_all,
    send,
)
from integrations.loopback import wait_until
from throttle import Decision, Limit, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from integrations.aiosmtpd.serving import Loopback


def last_reply(server: Loopback) -> tuple[str, str]:
    """The last step that a message comes to, and its reply."""
    try:
        connection = client(server)
    except smtplib.SMTPConnectError as refused:
        return "connect", f"{refused.smtp_code} {_text(refused.smtp_error)}"
    with connection:
        step, reply = "EHLO", connection.ehlo()
        if reply[0] == 250:
            step, reply = "MAIL", connection.mail(SENDER)
        if reply[0] == 250 and step == "MAIL":
            step, reply = "RCPT", connection.rcpt(RECIPIENT)
        if reply[0] == 250 and step == "RCPT":
            step, reply = "DATA", connection.data(MESSAGE)
        return step, line(reply)


def _text(error: bytes | str) -> str:
    return error if isinstance(error, str) else error.decode()


@pytest.mark.parametrize(
    ("rule", "step", "code"),
    [
        # aiosmtpd's controller connects once by itself when it starts
        (limit("once", "client.ip", "2/day", count="connections"), "connect", "421 4.7.0"),
        (once("helo.host", count="connections"), "EHLO", "421 4.7.0"),
        (once("sender.org"), "MAIL", "451 4.7.1"),
        (once("rcpt.address"), "RCPT", "450 4.2.1"),
        (once("from.org"), "DATA", "451 4.7.1"),
        (limit("once", "client.ip", "20 B/day", count="bytes", burst="30 B"), "DATA", "451 4.7.1"),
    ],
    ids=["connect", "EHLO", "MAIL", "RCPT", "header", "bytes"],
)
def test_a_limit_refuses_at_its_step_and_the_handler_sees_nothing_of_it(
    serve: Callable[..., Loopback], rule: Limit, step: str, code: str
) -> None:
    inbox = Inbox()
    server = serve(guard(rule), inbox)
    assert last_reply(server) == ("DATA", "250 2.0.0 delivered")
    assert last_reply(server)[0] == step
    assert last_reply(server)[1].startswith(code + " ")
    assert inbox.senders == [SENDER]


def test_the_reply_is_the_decisions_own(serve: Callable[..., Loopback]) -> None:
    decisions: list[Decision] = []
    server = serve(guard(once("sender.org")), on_decision=decisions.append)
    last_reply(server)
    assert last_reply(server)[1] == decisions[-1].reply
    assert [decision.stage for decision in decisions if not decision] == ["mail"]


@pytest.mark.parametrize("command", ["EHLO", "HELO"])
def test_a_refused_name_is_answered_421_and_the_connection_closed_before_a_pipelined_command(
    serve: Callable[..., Loopback], command: str
) -> None:
    rules = guard(limit("names", "helo.host", "1/day", count="connections"), once("sender.org"))
    server = serve(rules)
    with client(server) as connection:
        assert connection.docmd(command, "mx.other.net")[0] == 250
    with client(server) as connection:
        assert connection.docmd("HELO", "mx.first.net")[0] == 250
        connection.send(f"{command} mx.other.net\r\nMAIL FROM:<{SENDER}>\r\n".encode())
        assert read_all(connection).splitlines() == [
            b"421 4.7.0 mx.other.net connects too often; retry in 86400 s",
        ]
    with client(server) as connection:
        connection.ehlo()
        assert connection.mail(SENDER)[0] == 250, "the pipelined MAIL was charged"


def test_a_name_that_is_found_late_is_refused_with_421_at_the_next_step_and_the_connection_closed(
    serve: Callable[..., Loopback],
) -> None:
    class Resolving(Inbox):
        async def handle_HELO(self, server: Any, session: Any, envelope: Any, hostname: str) -> str:
            server.guard_session.client_name = "mx.sender.net"
            session.host_name = hostname
            return "250 mx.box.com"

    server = serve(guard(once("client.host", count="connections")), Resolving())
    for replies in (
        b"250 OK\r\n250 OK\r\n221 Bye\r\n",
        b"421 4.7.0 mx.sender.net connects too often; retry in 86400 s\r\n",
    ):
        with client(server) as connection:
            assert connection.helo()[0] == 250
            connection.send(f"MAIL FROM:<{SENDER}>\r\nNOOP\r\nQUIT\r\n".encode())
            assert read_all(connection) == replies


def test_one_connection_too_many_is_answered_in_place_of_the_greeting_and_closed(
    serve: Callable[..., Loopback],
) -> None:
    rules = guard(Limit(name="open", per="client.ip", in_flight=2, count="connections"))
    server = serve(rules)
    wait_until(lambda: not held(rules))  # the controller's own connection
    with client(server), client(server):
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            client(server)
        assert (refused.value.smtp_code, _text(refused.value.smtp_error)) == (
            421,
            "4.7.0 127.0.0.1 has too many connections open; retry in 1 s",
        )
        assert holds(rules, "open") == 2
    wait_until(lambda: not held(rules))


def test_the_declared_size_is_refused_at_mail_and_held_until_the_data_ends(serve: Callable[..., Loopback]) -> None:
    rules = guard(Limit(name="bytes", per="global", in_flight="10 KiB", count="bytes"))
    server = serve(rules)
    with client(server) as connection:
        connection.ehlo()
        assert line(connection.mail(SENDER, ["SIZE=20000"])).startswith("552 5.3.4 ")
        assert connection.mail(SENDER, ["size=8000"])[0] == 250
        assert holds(rules, "bytes") == 8000
        with client(server) as other:
            other.ehlo()
            assert line(other.mail(SENDER, ["SIZE=8000"])).startswith("451 4.3.2 ")
        connection.rcpt(RECIPIENT)
        connection.data(MESSAGE)
        assert holds(rules, "bytes") == 0


def test_pipelined_commands_after_a_refused_mail_are_refused_and_nothing_arrives(
    serve: Callable[..., Loopback],
) -> None:
    inbox = Inbox()
    server = serve(guard(once("sender.org")), inbox)
    with client(server) as connection:
        connection.ehlo()
        for expected in ([250, 250, 354, 250], [451, 503, 503, 500]):
            connection.send(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n.\r\n".encode())
            assert [connection.getreply()[0] for _ in expected] == expected
    assert len(inbox.senders) == 1


def test_the_null_sender_is_admitted(serve: Callable[..., Loopback]) -> None:
    inbox = Inbox()
    with client(serve(Throttle(), inbox)) as connection:
        connection.ehlo()
        assert send(connection, "") == [250, 250, 250]
    assert inbox.senders == ["<>"]


@pytest.mark.parametrize("how", ["drop", "half", "QUIT", "RSET", "EHLO mx", "HELO mx"])
def test_whatever_ends_a_message_releases_it(serve: Callable[..., Loopback], how: str) -> None:
    rules = open_guard()
    server = serve(rules)
    wait_until(lambda: not held(rules))
    with client(server) as connection:
        connection.ehlo()
        connection.mail(SENDER, ["SIZE=5000"])
        connection.rcpt(RECIPIENT)
        assert (holds(rules, "open-messages"), holds(rules, "open-bytes")) == (1, 5000)
        if how in ("drop", "half"):
            connection.docmd("DATA")
            connection.send(b"Subject: half of a")
            if how == "drop":
                connection.close()
            else:
                connection.sock.shutdown(1)  # type: ignore[union-attr]
        else:
            connection.docmd(how)
        wait_until(lambda: not holds(rules, "open-messages") and not holds(rules, "open-bytes"))
        wait_until(lambda: holds(rules, "open-connections") == (how in ("RSET", "EHLO mx", "HELO mx")))
    wait_until(lambda: not held(rules))


def test_a_message_is_held_while_the_handler_delivers_it_and_released_with_the_reply(
    serve: Callable[..., Loopback],
) -> None:
    rules = open_guard()
    during: list[int] = []

    class Watching(Inbox):
        async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
            during.append(holds(rules, "open-messages"))
            envelope.mail_from = address
            return "250 OK"

    with client(serve(rules, Watching())) as connection:
        connection.ehlo()
        for _ in range(3):
            assert send(connection) == [250, 250, 250]
            assert holds(rules, "open-messages") == 0
    assert during == [1, 1, 1]


@pytest.mark.parametrize(
    ("parameters", "data", "reply"),
    [
        ({"data_size_limit": 100}, b"x" * 90 + b"\r\n" + b"x" * 90 + b"\r\n.\r\n", 552),
        ({}, b"x" * 5000 + b"\r\n.\r\n", 500),
    ],
    ids=["too much", "line too long"],
)
def test_what_aiosmtpd_refuses_in_data_is_released(
    serve: Callable[..., Loopback], parameters: dict[str, Any], data: bytes, reply: int
) -> None:
    rules = open_guard()
    with client(serve(rules, **parameters)) as connection:
        connection.ehlo()
        connection.mail(SENDER, ["SIZE=50"])
        connection.rcpt(RECIPIENT)
        assert connection.docmd("DATA")[0] == 354
        assert holds(rules, "open-bytes") == 50
        connection.send(data)
        assert connection.getreply()[0] == reply
        wait_until(lambda: not holds(rules, "open-messages") and not holds(rules, "open-bytes"))
        assert send(connection) == [250, 250, 250]


def test_what_aiosmtpd_refuses_at_mail_holds_nothing(serve: Callable[..., Loopback]) -> None:
    rules = open_guard()
    with client(serve(rules, data_size_limit=100)) as connection:
        connection.ehlo()
        assert connection.mail(SENDER, ["SIZE=101"])[0] == 552
        assert connection.docmd("MAIL", "FROM:<a@sender.net> WRONG=1")[0] == 555
        assert holds(rules, "open-messages") == 0


def test_a_message_that_the_handler_refuses_at_mail_is_released(serve: Callable[..., Loopback]) -> None:
    rules = open_guard()

    class Refusing(Inbox):
        async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
            return "550 5.7.1 not you"

    with client(serve(rules, Refusing())) as connection:
        connection.ehlo()
        assert connection.mail(SENDER, ["SIZE=50"])[0] == 550
        assert (holds(rules, "open-messages"), holds(rules, "open-bytes")) == (0, 0)


def test_a_server_that_stops_releases_what_its_clients_held(serve: Callable[..., Loopback]) -> None:
    rules = open_guard()
    server = serve(rules)
    with client(server) as connection:
        connection.ehlo()
        connection.mail(SENDER)
        assert holds(rules, "open-messages") == 1
        server.stop()
        assert not held(rules)
        connection.close()
