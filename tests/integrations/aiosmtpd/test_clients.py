"""Clients of every kind: TLS, AUTH, behind a proxy, on a Unix socket, with addresses in UTF-8."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import AuthResult, LoginPassword

from given_guards import guard, limit
from integrations.aiosmtpd.serving import (
    MESSAGE,
    RECIPIENT,
    SENDER,
    Inbox,
    Loopback,
    client,
    client_tls,
    held,
    holds,
    line,
    once,
    open_guard,
    read_all,
    send,
    server_tls,
)
from integrations.loopback import wait_until
from throttle import Limit, Throttle
from throttle.aiosmtpd import SMTP, UnixSocketController, UnixSocketUnthreadedController, UnthreadedController

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_starttls_keeps_the_session_ends_the_transaction_and_charges_no_name_twice(
    serve: Callable[..., Loopback],
) -> None:
    rules = open_guard(limit("names", "helo.host", "1/day", count="connections"), once("sender.org"))
    with client(serve(rules, tls_context=server_tls())) as connection:
        connection.ehlo()
        assert connection.mail("a@other.net")[0] == 250
        assert connection.starttls(context=client_tls())[0] == 220
        assert connection.ehlo()[0] == 250
        assert (holds(rules, "open-messages"), holds(rules, "open-connections")) == (0, 1)
        assert [send(connection), send(connection)] == [[250, 250, 250], [451]]
    wait_until(lambda: not held(rules))


def test_a_server_that_requires_starttls_works(serve: Callable[..., Loopback]) -> None:
    with client(serve(guard(once("sender.org")), tls_context=server_tls(), require_starttls=True)) as connection:
        connection.ehlo()
        assert connection.mail(SENDER)[0] == 530
        connection.starttls(context=client_tls())
        connection.ehlo()
        assert [send(connection), send(connection)] == [[250, 250, 250], [451]]


def test_a_client_that_breaks_the_tls_handshake_leaves_nothing_and_is_no_fault(
    serve: Callable[..., Loopback], caplog: pytest.LogCaptureFixture
) -> None:
    rules = open_guard()
    with client(serve(rules, tls_context=server_tls())) as connection:
        connection.ehlo()
        connection.docmd("STARTTLS")
        connection.send(b"this is no handshake\r\n")
        read_all(connection)
        wait_until(lambda: not held(rules))
        connection.close()
    assert not [
        record for record in caplog.records if record.name == "throttle.aiosmtpd" and record.levelname == "ERROR"
    ]


def test_tls_from_the_start_works_and_a_refused_client_is_told(serve: Callable[..., Loopback]) -> None:
    rules = guard(Limit(name="open", per="client.ip", in_flight=1, count="connections"))
    server = serve(rules, ssl_context=server_tls())
    wait_until(lambda: not held(rules))

    def connect() -> smtplib.SMTP:
        return smtplib.SMTP_SSL("127.0.0.1", server.port, "mx.sender.net", timeout=10, context=client_tls())

    with connect() as connection:
        connection.ehlo()
        assert send(connection) == [250, 250, 250]
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            connect()
        assert refused.value.smtp_code == 421
    wait_until(lambda: not held(rules))


# --- AUTH -------------------------------------------------------------------------------------------------------------


def authenticator(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=data.password == b"right", handled=False, auth_data=data)


AUTH: dict[str, Any] = {"authenticator": authenticator, "auth_require_tls": False}


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_the_user_of_auth_is_the_guards_user(serve: Callable[..., Loopback], mechanism: str) -> None:
    server = serve(guard(once("auth.user")), **AUTH)

    def codes(user: str) -> list[int]:
        with client(server) as connection:
            connection.ehlo()
            connection.user, connection.password = user, "right"
            assert connection.auth(mechanism, getattr(connection, f"auth_{mechanism.lower()}"))[0] == 235
            return send(connection)

    assert [codes("joe"), codes("joe"), codes("ann")] == [[250, 250, 250], [451], [250, 250, 250]]


def test_a_user_of_a_handlers_own_mechanism_or_of_auth_callback_is_the_guards_user(
    serve: Callable[..., Loopback],
) -> None:
    class Tokens(Inbox):
        async def auth_TOKEN(self, server: Any, args: list[str]) -> Any:  # the older way to return a user
            return args[1]

        async def handle_AUTH(self, server: Any, session: Any, envelope: Any, args: list[str]) -> Any:
            if args[0] != "OWN":
                from aiosmtpd.smtp import MISSING

                return MISSING
            session.authenticated, session.auth_data = True, LoginPassword(args[1].encode(), b"")
            return "235 2.7.0 own"

        async def auth_OWN(self, server: Any, args: list[str]) -> Any:
            raise AssertionError("handle_AUTH has answered")

    server = serve(guard(once("auth.user")), Tokens(), auth_require_tls=False, auth_callback=lambda *_: True)
    for commands in (["AUTH TOKEN joe"], ["AUTH OWN ann"], ["AUTH PLAIN AGJvYgB4"]):
        for expected in ([250, 250, 250], [451]):
            with client(server) as connection:
                connection.ehlo()
                assert connection.docmd(commands[0])[0] == 235
                assert send(connection) == expected


def test_a_user_from_before_starttls_is_forgotten(serve: Callable[..., Loopback]) -> None:
    server = serve(guard(once("auth.user")), tls_context=server_tls(), **AUTH)
    with client(server) as connection:
        connection.ehlo()
        assert connection.docmd("AUTH PLAIN", "AGpvZQByaWdodA==")[0] == 235
        assert send(connection) == [250, 250, 250]
        connection.starttls(context=client_tls())
        connection.ehlo()
        assert [send(connection), send(connection)] == [[250, 250, 250]] * 2


def test_wrong_passwords_are_reported_and_their_client_is_refused_its_next_connection(
    serve: Callable[..., Loopback],
) -> None:
    rules = guard(Limit(name="guesses", per="client.ip", count="reports", reports=["auth-failure"], rate="3/hour"))
    server = serve(rules, **AUTH)
    with client(server) as connection:
        connection.ehlo()
        for mechanism in ("PLAIN AGpvZQB3cm9uZw==", "PLAIN AGpvZQB3cm9uZw==", "PLAIN broken", "NONE"):
            connection.docmd("AUTH", mechanism)
        with client(server) as other:
            assert other.ehlo()[0] == 250, "two failures so far: what is no password is no failure"
        connection.docmd("AUTH", "LOGIN am9l")
        assert connection.docmd("d3Jvbmc=")[0] == 535
    with pytest.raises(smtplib.SMTPConnectError) as refused:
        client(server)
    assert refused.value.smtp_code == 421


# --- PROXY ------------------------------------------------------------------------------------------------------------


class Behind(Inbox):
    """A handler behind a proxy; aiosmtpd asks it whether the proxy may."""

    may = True

    async def handle_PROXY(self, server: Any, session: Any, envelope: Any, proxy: Any) -> bool:
        return self.may


def version1(address: str) -> bytes:
    return f"PROXY {'TCP6' if ':' in address else 'TCP4'} {address} {address} 50000 25\r\n".encode()


def version2(address: str) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    addresses = socket.inet_pton(family, address) * 2 + struct.pack("!HH", 50000, 25)
    head = b"\r\n\r\n\x00\r\nQUIT\n" + (b"\x21\x21" if family == socket.AF_INET6 else b"\x21\x11")
    return head + struct.pack("!H", len(addresses)) + addresses


LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
UNIX = b"\r\n\r\n\x00\r\nQUIT\n\x21\x31" + struct.pack("!H", 216) + b"/a".ljust(108, b"\0") + b"/b".ljust(108, b"\0")


@contextmanager
def proxied(server: Loopback, header: bytes) -> Iterator[smtplib.SMTP]:
    connection = smtplib.SMTP(timeout=10, local_hostname="mx.sender.net")
    connection.sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.send(header)
    try:
        yield connection
    finally:
        connection.close()


@pytest.fixture
def behind_proxy(serve: Callable[..., Loopback]) -> Callable[[Throttle], Loopback]:
    def start(rules: Throttle) -> Loopback:
        return serve(rules, Behind(), proxy_protocol_timeout=5.0)

    return start


@pytest.mark.parametrize("version", [version1, version2])
@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db8::7"])
def test_behind_a_proxy_the_client_is_the_one_that_the_proxy_names_and_is_asked_about_before_the_greeting(
    behind_proxy: Callable[[Throttle], Loopback], version: Callable[[str], bytes], address: str
) -> None:
    rules = guard(Limit(name="open", per="client.ip", in_flight=1, count="connections"))
    server = behind_proxy(rules)
    other = {"198.51.100.7": "198.51.100.8", "2001:db8::7": "2001:db8:1::7"}[address]
    with proxied(server, version(address)) as first:
        assert first.getreply()[0] == 220
        with proxied(server, version(address)) as second:
            assert read_all(second).startswith(b"421 4.7.0 ")
        with proxied(server, version(other)) as third:
            assert third.getreply()[0] == 220
            third.ehlo()
            assert send(third) == [250, 250, 250]
    wait_until(lambda: not held(rules))


@pytest.mark.parametrize(
    ("header", "ip"),
    [(b"PROXY UNKNOWN\r\n", "127.0.0.1"), (LOCAL, "127.0.0.1"), (UNIX, None)],
    ids=["v1 UNKNOWN", "v2 LOCAL", "v2 UNIX"],
)
def test_a_proxy_that_names_nobody_is_the_client_itself(
    serve: Callable[..., Loopback], header: bytes, ip: str | None
) -> None:
    seen: list[str | None] = []

    class Watching:
        def session(self, client_ip: str | None) -> Any:
            seen.append(client_ip)
            return Throttle().session(client_ip=client_ip)

    server = serve(Watching(), Behind(), proxy_protocol_timeout=5.0)
    with proxied(server, header) as connection:
        assert connection.getreply()[0] == 220
    assert seen == [ip]


@pytest.mark.parametrize("header", [version1("198.51.100.7"), b"PROXY nonsense\r\n", b"EHLO mx\r\n"])
def test_a_proxy_that_is_wrong_or_that_the_handler_refuses_asks_nothing(
    serve: Callable[..., Loopback], header: bytes
) -> None:
    handler = Behind()
    handler.may = False
    rules = guard(once("client.ip", count="connections"))
    server = serve(rules, handler, proxy_protocol_timeout=5.0)
    with proxied(server, header) as connection:
        assert connection.sock is not None
        assert connection.sock.recv(100) == b""
    assert not [table for table in rules.tables() if table.used]


# --- sockets, text and other controllers ------------------------------------------------------------------------------


def test_clients_of_a_unix_socket_are_guarded_and_share_the_address_unknown(tmp_path: Path) -> None:
    rules = open_guard(once("sender.org"), limit("net", "client.net/0/0", "2/day"))
    server = UnixSocketController(Inbox(), unix_socket=tmp_path / "smtp", guard=rules)
    server.start()
    try:
        assert talk_over_unix(tmp_path / "smtp") == [[250, 250, 250], [451], [250, 250, 250]]
        assert talk_over_unix(tmp_path / "smtp") == [[451], [451], [451]]
    finally:
        server.stop()
    assert not held(rules)


def talk_over_unix(path: Path) -> list[list[int]]:
    connection = smtplib.SMTP(timeout=10, local_hostname="mx.sender.net")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    connection.sock.connect(str(path))
    connection.getreply()
    with connection:
        connection.ehlo()
        return [send(connection), send(connection), send(connection, "a@other.net")]


@pytest.mark.parametrize("kind", ["inet", "unix"])
def test_the_unthreaded_controllers_are_guarded(tmp_path: Path, kind: str) -> None:
    loop = asyncio.new_event_loop()
    rules = open_guard(once("sender.org"))
    server: Any
    if kind == "inet":
        server = UnthreadedController(Inbox(), hostname="127.0.0.1", port=0, loop=loop, guard=rules)
    else:
        server = UnixSocketUnthreadedController(Inbox(), unix_socket=tmp_path / "smtp", loop=loop, guard=rules)
    server.begin()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        if kind == "unix":
            assert talk_over_unix(tmp_path / "smtp") == [[250, 250, 250], [451], [250, 250, 250]]
        else:
            port = server.server.sockets[0].getsockname()[1]
            with smtplib.SMTP("127.0.0.1", port, "mx.sender.net", timeout=10) as connection:
                connection.ehlo()
                assert [send(connection), send(connection)] == [[250, 250, 250], [451]]
        wait_until(lambda: not held(rules))
    finally:
        loop.call_soon_threadsafe(server.end)
        assert server.ended.wait(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_lmtp_is_guarded_when_the_guarded_class_comes_second() -> None:
    class GuardedLMTP(LMTP, SMTP):
        pass

    rules = guard(limit("names", "helo.host", "1/day", count="connections"), once("sender.org"))

    class LMTPController(Loopback):
        def factory(self) -> SMTP:
            return GuardedLMTP(self.handler, guard=self.guard, **self.SMTP_kwargs)

    server = LMTPController(Inbox(), hostname="127.0.0.1", port=0, guard=rules)
    server.start()
    try:
        with client(server) as connection:
            assert connection.docmd("EHLO mx")[0] == 500
            assert connection.docmd("LHLO mx")[0] == 250
            assert [send(connection), send(connection)] == [[250, 250, 250], [451]]
        with client(server) as connection:
            assert connection.docmd("LHLO mx")[0] == 421
    finally:
        server.stop()


def test_addresses_in_utf8_and_bytes_that_are_none_are_counted(serve: Callable[..., Loopback]) -> None:
    inbox = Inbox()
    server = serve(guard(once("sender.address")), inbox, enable_SMTPUTF8=True)
    with client(server) as connection:
        connection.ehlo()
        for address in ("jörg@bücher.example".encode(), b"j\xff@sender.net"):
            for expected in (250, 451):
                connection.send(b"MAIL FROM:<" + address + b"> SMTPUTF8\r\n")
                assert connection.getreply()[0] == expected
                connection.rset()
    with client(server) as connection:
        connection.send("EHLO mx.bücher.example\r\n".encode())
        assert connection.getreply()[0] == 250
        connection.send(b"EHLO \xff\r\n")
        assert connection.getreply()[0] == 250
        assert send(connection, message="From: jörg@bücher.example\r\n\r\nhü".encode()) == [250, 250, 250]


@pytest.mark.parametrize("utf8", [False, True])
def test_no_malformed_command_is_a_fault(
    serve: Callable[..., Loopback], caplog: pytest.LogCaptureFixture, utf8: bool
) -> None:
    with client(serve(Throttle(), enable_SMTPUTF8=utf8)) as connection:
        connection.ehlo()
        for command, code in (
            (b"MAIL FROM:<", 553),  # an IndexError in Python's parser of addresses
            (b"MAIL FROM:<\t", 553),
            (b'MAIL FROM:"', 553),
            (b"VRFY <", 502),
            (b"VRFY )\xff", 502 if utf8 else 500),
        ):
            connection.send(command + b"\r\n")
            assert (command, connection.getreply()[0]) == (command, code)
    assert not [record for record in caplog.records if record.name == "throttle.aiosmtpd"]


@pytest.mark.parametrize("utf8", [False, True])
def test_with_decode_data_the_guard_reads_the_header_and_counts_the_octets(
    serve: Callable[..., Loopback], utf8: bool
) -> None:
    inbox = Inbox()
    rules = guard(once("from.org"))
    with client(serve(rules, inbox, decode_data=True, enable_SMTPUTF8=utf8)) as connection:
        connection.ehlo()
        assert [send(connection), send(connection)] == [[250, 250, 250], [250, 250, 451]]
    assert inbox.contents == [MESSAGE.decode()]


def test_a_server_without_smtputf8_keeps_its_strict_ascii(serve: Callable[..., Loopback]) -> None:
    rules = open_guard()
    with client(serve(rules, decode_data=True, enable_SMTPUTF8=False)) as connection:
        connection.ehlo()
        assert send(connection, message=b"From: a@b.com\r\n\r\nh\xff") == [250, 250, 500]
        assert holds(rules, "open-messages") == 0, "after RSET"
        connection.send(b"MAIL FROM:<\xff@sender.net>\r\n")
        assert line(connection.getreply()) == "500 Error: strict ASCII mode"


def test_the_call_limit_of_aiosmtpd_ends_a_connection_and_its_session(serve: Callable[..., Loopback]) -> None:
    rules = open_guard()
    with client(serve(rules, command_call_limit={"NOOP": 1})) as connection:
        connection.ehlo()
        connection.mail(SENDER)
        connection.rcpt(RECIPIENT)
        assert [connection.noop()[0], connection.noop()[0]] == [250, 421]
        wait_until(lambda: not held(rules))


def test_a_client_that_times_out_leaves_nothing(serve: Callable[..., Loopback]) -> None:
    rules = open_guard()
    with client(serve(rules, timeout=0.2)) as connection:
        connection.ehlo()
        connection.mail(SENDER)
        assert read_all(connection) == b""
        wait_until(lambda: not held(rules))
