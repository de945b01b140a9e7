"""The handler in front of a mail server's own: what is refused never reaches it, and no fault becomes a bounce."""

from __future__ import annotations

import asyncio
import smtplib
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.smtp import SMTP

from throttle import Decision, Envelope, Limit, ManualClock, Policy, Throttle
from throttle.demo.guarded import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable


class Inbox:
    def __init__(self) -> None:
        self.senders: list[str | None] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.senders.append(envelope.mail_from)
        return "250 2.0.0 delivered"


class Broken:
    """A guard or a handler with a fault."""

    policy = Policy.builtin()

    def check(self, envelope: Envelope, **_: Any) -> Any:
        raise RuntimeError("fault")

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        raise RuntimeError("fault")


def talk(handler: object, speak: Callable[[smtplib.SMTP], Any]) -> Any:
    """What `speak` returns after talking to a real server with that handler."""

    def client(port: int) -> Any:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="mx.sender.net", timeout=10) as connection:
            connection.ehlo()
            return speak(connection)

    async def run() -> Any:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(handler, hostname="mx.quickbox.email"), "127.0.0.1", 0)
        async with server:
            return await asyncio.to_thread(client, server.sockets[0].getsockname()[1])

    return asyncio.run(run())


def send(connection: smtplib.SMTP, sender: str) -> list[int]:
    """The codes of one transaction, up to the first refusal."""
    steps: list[Callable[[], tuple[int, bytes]]] = [
        lambda: connection.mail(sender),
        lambda: connection.rcpt("in@quickbox.email"),
        lambda: connection.data(b"hi\r\n"),
    ]
    codes: list[int] = []
    for step in steps:
        codes.append(step()[0])
        if codes[-1] >= 400:
            connection.rset()
            break
    return codes


def test_admitted_mail_reaches_the_handler_behind_and_refused_mail_does_not() -> None:
    inbox = Inbox()
    decisions: list[Decision] = []
    guarded = Guarded(Throttle(clock=ManualClock(1_637_889_600.0)), inbox, decisions.append)
    hosts = [f"h{number}.a.b.c.sandbox.salesforce.com" for number in range(210)]
    codes = talk(guarded, lambda connection: [send(connection, f"b@{host}") for host in hosts])
    assert codes == [[250, 250, 250]] * 200 + [[451]] * 10
    assert inbox.senders == [f"b@{host}" for host in hosts[:200]]
    assert [decision.allowed for decision in decisions] == [True] * 400 + [False] * 10


def test_the_null_sender_is_admitted() -> None:
    inbox = Inbox()
    assert talk(Guarded(Throttle(), inbox), lambda connection: send(connection, "")) == [250, 250, 250]
    assert inbox.senders == ["<>"]


def test_a_fault_of_the_guard_delays_the_message() -> None:
    assert talk(Guarded(Broken(), Inbox()), lambda connection: send(connection, "a@sender.net")) == [451]  # type: ignore[arg-type]


def test_a_fault_of_the_handler_behind_delays_the_message() -> None:
    codes = talk(Guarded(Throttle(), Broken()), lambda connection: send(connection, "a@sender.net"))
    assert codes == [250, 250, 451]


def test_the_reply_is_the_decisions_own() -> None:
    guard = Throttle(clock=ManualClock(1_637_889_600.0))
    for number in range(200):
        guard.check(Envelope(client_ip="127.0.0.1", mail_from=f"b@h{number}.a.sandbox.salesforce.com"))
    said = talk(Guarded(guard, Inbox()), lambda connection: connection.mail("b@fresh.a.sandbox.salesforce.com"))
    refusal = guard.peek(Envelope(client_ip="127.0.0.1", mail_from="b@fresh.a.sandbox.salesforce.com"))
    assert refusal.reply is not None
    assert f"{said[0]} {said[1].decode()}" == refusal.reply


@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db8::7"])
def test_behind_a_proxy_the_client_is_the_one_that_the_proxy_names(address: str) -> None:
    seen: list[str] = []

    class Watching:
        policy = Policy.builtin()

        def check(self, envelope: Any, **_: Any) -> Any:
            seen.append(envelope.client_ip)
            return Throttle().check(envelope)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        handler = Guarded(Watching(), Inbox())  # type: ignore[arg-type]
        server = await loop.create_server(
            lambda: SMTP(handler, hostname="mx", proxy_protocol_timeout=5.0), "127.0.0.1", 0
        )
        async with server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
            family = "TCP6" if ":" in address else "TCP4"
            writer.write(f"PROXY {family} {address} {address} 50000 25\r\n".encode())
            for command in (b"EHLO mx\r\n", b"MAIL FROM:<a@sender.net>\r\n", b"QUIT\r\n"):
                await asyncio.wait_for(reader.readline(), 10)
                writer.write(command)
            await asyncio.wait_for(reader.read(), 10)
            writer.close()

    asyncio.run(run())
    assert seen == [address]


def test_a_policy_with_a_limit_that_would_never_be_asked_is_refused() -> None:
    policy = Policy([Limit(name="opens", per="client.net", count="connections", rate="10/minute")])
    with pytest.raises(ValueError, match=r"opens \(connect\)"):
        Guarded(Throttle(policy), Inbox())
