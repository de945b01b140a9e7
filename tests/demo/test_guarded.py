"""The handler in front of a mail server's own: what is refused never reaches it, and no fault becomes a bounce."""

from __future__ import annotations

import asyncio
import smtplib
from typing import TYPE_CHECKING, Any

import pytest

from throttle import Decision, Envelope, Limit, ManualClock, Policy, Throttle
from throttle.demo.guarded import Guarded, GuardedSMTP

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

    def session(self, **_: Any) -> Any:
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
        server = await loop.create_server(lambda: GuardedSMTP(handler, hostname="mx.quickbox.email"), "127.0.0.1", 0)
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
    # connect and EHLO, then MAIL, RCPT and the data of each that was admitted
    assert [decision.allowed for decision in decisions] == [True] * (2 + 3 * 200) + [False] * 10


def test_unknown_recipients_are_refused_for_good_and_reported_until_the_harvester_is_deferred() -> None:
    guard = Throttle(
        Policy([Limit(name="harvest", per="client.ip", count="reports", reports=["unknown-recipient"], rate="3/hour")]),
        clock=ManualClock(1_637_889_600.0),
    )
    guarded = Guarded(guard, Inbox(), has_mailbox=lambda address: address == "in@quickbox.email")

    def speak(connection: smtplib.SMTP) -> list[int]:
        connection.mail("a@sender.net")
        guesses = [connection.rcpt(f"guess{number}@quickbox.email")[0] for number in range(5)]
        return [*guesses, connection.rcpt("in@quickbox.email")[0]]

    assert talk(guarded, speak) == [550, 550, 550, 451, 451, 451]


def test_the_null_sender_is_admitted() -> None:
    inbox = Inbox()
    assert talk(Guarded(Throttle(), inbox), lambda connection: send(connection, "")) == [250, 250, 250]
    assert inbox.senders == ["<>"]


def test_a_fault_of_the_guard_delays_the_message() -> None:
    broken: Any = Broken()
    assert talk(Guarded(broken, Inbox()), lambda connection: send(connection, "a@sender.net")) == [451]


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
        def session(self, client_ip: str) -> Any:
            seen.append(client_ip)
            return Throttle().session(client_ip=client_ip)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        handler = Guarded(Watching(), Inbox())  # type: ignore[arg-type]
        server = await loop.create_server(
            lambda: GuardedSMTP(handler, hostname="mx", proxy_protocol_timeout=5.0), "127.0.0.1", 0
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


def used(guard: Throttle) -> dict[str, int]:
    """What is held."""
    rows = {table.table: table.used for table in guard.tables()}
    return {name: rows[name] for name in ("net-connections", "all-open", "all-bytes", "permits")}


NOTHING = {"net-connections": 0, "all-open": 0, "all-bytes": 0, "permits": 0}

SEND = (b"EHLO mx\r\n", b"MAIL FROM:<a@sender.net> SIZE=5000\r\n", b"RCPT TO:<in@quickbox.email>\r\n", b"DATA\r\n")


async def until(guard: Throttle, expected: dict[str, int]) -> None:
    """A server hears of a lost connection a little later than its client lost it."""
    for _ in range(500):
        if used(guard) == expected:
            return
        await asyncio.sleep(0.01)
    assert used(guard) == expected


async def on_server(handler: Guarded, do: Callable[[int], Any]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: GuardedSMTP(handler, hostname="mx.quickbox.email"), "127.0.0.1", 0)
    async with server:
        await do(server.sockets[0].getsockname()[1])


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: bytes) -> bytes:
    """The last line of the reply."""
    writer.write(command)
    while (line := await asyncio.wait_for(reader.readline(), 10))[3:4] == b"-":
        pass
    return line


@pytest.mark.parametrize("how", ["abort", "close", "quit", "rset"])
def test_clients_that_leave_in_the_middle_of_a_message_leave_no_slot(how: str) -> None:
    guard = Throttle()

    async def run(port: int) -> None:
        talks = []
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert (await say(reader, writer, b""))[:3] == b"220"
            steps = SEND if how in ("abort", "close") else SEND[:-1]
            assert [(await say(reader, writer, step))[:3] for step in steps] == [b"250", b"250", b"250", b"354"][
                : len(steps)
            ]
            writer.write(b"Subject: half of a" if how in ("abort", "close") else b"")
            talks.append((reader, writer))
        assert used(guard) == {"net-connections": 5, "all-open": 5, "all-bytes": 25_000, "permits": 10}
        for reader, writer in talks:
            if how == "abort":
                writer.transport.abort()
            elif how == "close":
                writer.close()
            else:
                await say(reader, writer, how.upper().encode() + b"\r\n")
        await until(guard, NOTHING if how != "rset" else NOTHING | {"net-connections": 5, "permits": 5})
        for _, writer in talks:
            writer.close()
        await until(guard, NOTHING)

    asyncio.run(on_server(Guarded(guard, Inbox()), run))


def test_a_message_holds_its_slot_until_it_is_delivered_and_the_connection_its_own_until_it_ends() -> None:
    guard = Throttle()

    async def run(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await say(reader, writer, b"")
        for _ in range(3):
            for step in SEND:
                await say(reader, writer, step)
            assert used(guard) == {"net-connections": 1, "all-open": 1, "all-bytes": 5000, "permits": 2}
            assert (await say(reader, writer, b"hi\r\n.\r\n"))[:3] == b"250"
            assert used(guard) == NOTHING | {"net-connections": 1, "permits": 1}
        await say(reader, writer, b"QUIT\r\n")
        await until(guard, NOTHING)
        writer.close()

    asyncio.run(on_server(Guarded(guard, Inbox()), run))


def test_one_connection_too_many_is_told_so_and_closed_before_it_is_greeted() -> None:
    guard = Throttle(Policy([Limit(name="open", per="client.ip", in_flight=2, count="connections")]), memory="1 MiB")

    async def run(port: int) -> None:
        first = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert [(await reader.readline())[:3] for reader, _ in first] == [b"220", b"220"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"EHLO mx\r\n")
        assert await asyncio.wait_for(reader.read(), 10) == (
            b"421 4.7.0 127.0.0.1 has too many connections open; retry in 1 s\r\n"
        )
        for _, writer_of in first:
            writer_of.close()
        writer.close()
        for _ in range(500):
            if not any(table.used for table in guard.tables()):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(guard.tables())

    asyncio.run(on_server(Guarded(guard, Inbox()), run))


def test_pipelined_commands_behind_a_refused_mail_are_refused_and_nothing_arrives() -> None:
    inbox = Inbox()
    guard = Throttle(Policy([Limit(name="none", per="sender.org", rate="1/day", burst=1)]), memory="1 MiB")

    async def run(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await say(reader, writer, b"")
        await say(reader, writer, SEND[0])
        for expected in ([b"250", b"250", b"354", b"250"], [b"451", b"503", b"503", b"500"]):
            writer.write(b"".join(SEND[1:]) + b".\r\n")
            replies = [(await asyncio.wait_for(reader.readline(), 10))[:3] for _ in expected]
            assert replies == expected
        writer.close()

    asyncio.run(on_server(Guarded(guard, inbox), run))
    assert len(inbox.senders) == 1
