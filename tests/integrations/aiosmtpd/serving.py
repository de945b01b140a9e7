"""Real servers on loopback for the tests of throttle.aiosmtpd, and what clients and tests need of them."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import throttle.aiosmtpd
from given_guards import guard, limit
from throttle import Limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from throttle import Throttle

SENDER, RECIPIENT = "a@sender.net", "in@box.com"
MESSAGE = b"From: a@sender.net\r\n\r\nhi\r\n"


class Loopback(throttle.aiosmtpd.Controller):
    """A controller that does not wait a second for a greeting where a proxy is expected."""

    def _trigger_server(self) -> None:
        if "proxy_protocol_timeout" in self.SMTP_kwargs:
            self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            socket.create_connection((self.hostname, self.port)).close()
        else:
            super()._trigger_server()


async def connections_end() -> None:
    """Waits until the server has seen that its clients are gone, which aiosmtpd's `stop` does not."""
    for _ in range(400):
        if asyncio.all_tasks() == {asyncio.current_task()}:
            break
        await asyncio.sleep(0.005)
    await asyncio.sleep(0)


class Inbox:
    """Takes every message."""

    def __init__(self) -> None:
        self.senders: list[str] = []
        self.contents: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.senders.append(envelope.mail_from)
        self.contents.append(envelope.content)
        return "250 2.0.0 delivered"


def open_guard(*limits: Limit, **policy: Any) -> Throttle:
    """A guard that holds connections, messages and bytes, beside the limits given."""
    return guard(
        Limit(name="open-connections", per="client.ip", in_flight=1000, count="connections"),
        Limit(name="open-messages", per="global", in_flight=1000),
        Limit(name="open-bytes", per="global", in_flight="100 MiB", count="bytes"),
        *limits,
        **policy,
    )


def held(guard: Throttle) -> dict[str, int]:
    """What the in-flight limits hold, without those that hold nothing."""
    return {
        row.table: row.used
        for row in guard.tables()
        if row.used and (row.bytes == 0 or row.table == "permits" or row.table.startswith("in flight"))
    }


def holds(guard: Throttle, limit: str) -> int:
    return held(guard).get(limit, 0)


def once(per: str, **fields: Any) -> Limit:
    """A limit that admits one, and refuses the second."""
    return limit("once", per, "1/day", **fields)


def client(server: Loopback, **parameters: Any) -> smtplib.SMTP:
    """A connected client; a 421 at connect raises SMTPConnectError."""
    return smtplib.SMTP(server.hostname, server.port, local_hostname="mx.sender.net", timeout=10, **parameters)


def line(reply: tuple[int, bytes]) -> str:
    """The reply as one line."""
    return f"{reply[0]} {reply[1].decode()}"


def send(
    connection: smtplib.SMTP, sender: str = SENDER, recipient: str = RECIPIENT, message: bytes = MESSAGE
) -> list[int]:
    """The codes of one transaction after EHLO, up to the first refusal; then RSET."""
    steps: list[Callable[[], tuple[int, bytes]]] = [
        lambda: connection.mail(sender),
        lambda: connection.rcpt(recipient),
        lambda: connection.data(message),
    ]
    codes: list[int] = []
    for step in steps:
        codes.append(step()[0])
        if codes[-1] >= 400:
            connection.rset()
            break
    return codes


def read_all(connection: smtplib.SMTP) -> bytes:
    """What the server sends until it closes the connection."""
    assert connection.sock is not None
    received = b""
    while chunk := connection.sock.recv(4096):
        received += chunk
    return received


def server_tls() -> ssl.SSLContext:
    """aiosmtpd's package brings a certificate for tests."""
    certificates = files("aiosmtpd.tests.certs")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(str(certificates / "server.crt"), str(certificates / "server.key"))
    return context


def client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
