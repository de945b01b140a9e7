"""Clients that go away at any step, in any way, leave nothing held."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from given_guards import REAL, limit
from integrations.aiosmtpd.serving import Inbox, held, holds, open_guard
from integrations.loopback import wait_until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from integrations.aiosmtpd.serving import Loopback

DIALOGUE = (
    b"EHLO mx.sender.net\r\n",
    b"MAIL FROM:<a@sender.net> SIZE=500\r\n",
    b"RCPT TO:<in@box.com>\r\n",
    b"RCPT TO:<out@box.com>\r\n",
    b"DATA\r\n",
    b"From: a@sender.net\r\n\r\nhi\r\n.\r\n",
)
DETOURS = (
    b"RSET\r\n",
    b"HELO mx\r\n",
    b"MAIL FROM:<>\r\n",
    b"MAIL FROM:<a@b.com> SIZE=99999999999\r\n",
    b"RCPT TO:<fault@box.com>\r\n",
    b"DATA\r\n",
    b"AUTH PLAIN AGpvZQB4\r\n",
    b"NOOP\r\n",
    b"\xff\x00 nonsense\r\n",
    b"x" * 2000 + b"\r\n",
)
ENDS = ("abort", "close", "cut", "half", "QUIT")


class Chaotic(Inbox):
    """A handler that takes its time now and then, and fails now and then."""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.startswith("fault"):
            raise RuntimeError("fault")
        await asyncio.sleep(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await asyncio.sleep(0.001)
        return "250 OK"


async def visit(port: int, rng: random.Random) -> None:
    """One connection that follows the dialogue for a while, with detours, and ends anyhow."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    end = rng.choice(ENDS)
    replies = 1  # the greeting

    async def read_replies() -> None:
        nonlocal replies
        while replies and (line := await asyncio.wait_for(reader.readline(), 0.5)):
            replies -= line[3:4] == b" "

    with contextlib.suppress(OSError, TimeoutError):  # the server, too, closes connections
        for command in DIALOGUE[: rng.randrange(len(DIALOGUE) + 1)]:
            detour = rng.choice(DETOURS) if rng.random() < 0.2 else b""
            writer.write(detour + command)
            replies += 1 + bool(detour)
            if rng.random() < 0.8:  # the others pipeline
                await read_replies()
        if end == "cut":
            writer.write(rng.choice(DIALOGUE)[: rng.randrange(1, 20)])
        elif end == "QUIT":
            writer.write(b"\r\n.\r\nQUIT\r\n")
        elif end == "half":
            writer.write_eof()
        if end in ("QUIT", "half"):
            await asyncio.wait_for(reader.read(), 0.5)
        elif end == "abort":
            writer.transport.abort()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def visits(port: int, count: int, rng: random.Random) -> None:
    gate = asyncio.Semaphore(100)

    async def one() -> None:
        async with gate:
            await visit(port, rng)

    await asyncio.gather(*(one() for _ in range(count)))


@pytest.mark.parametrize(
    "sessions", [10_000, pytest.param(100_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_sessions_that_are_dropped_at_any_step_leave_no_slot(
    serve: Callable[..., Loopback], rng: random.Random, sessions: int
) -> None:
    seen: Counter[str] = Counter()
    rules = open_guard(
        limit("names", "helo.host", "240/second", count="connections"),
        limit("mail", "sender.org", "120/second", count="messages"),
        limit("data", "from.org", "10/second", count="messages"),
        clock=lambda: REAL + seen.total() / 1000,  # goes on with the decisions, not with the speed of the machine
    )
    most = 0

    def on_decision(decision: Any) -> None:
        nonlocal most
        seen[decision.limit or "admitted"] += 1
        if seen["admitted"] % 50 == 0:
            most = max(most, holds(rules, "open-messages"))

    server = serve(rules, Chaotic(), on_decision=on_decision, auth_require_tls=False, timeout=5, data_size_limit=10_000)
    asyncio.run(visits(server.port, sessions, rng))
    wait_until(lambda: not held(rules))
    print(f"{sessions:,} sessions, up to {most} messages at a time: {dict(seen)}")
    assert most > 5, "messages were held meanwhile"
    assert {"admitted", "names", "mail", "data"} <= seen.keys()
