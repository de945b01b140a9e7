"""Servers that send anything in any order and vanish at any step leave nothing held."""

from __future__ import annotations

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from integrations.milter.process import serving
from integrations.milter.wire import CONTINUE, Answer, Wire

pytestmark = pytest.mark.servers
pytest.importorskip("throttle.milter", reason="pymilter is not installed")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONNECTIONS = 16

POLICY = """
[[limit]]
name = "connections"
per = "client.net/24/48"
in_flight = 1000
count = "connections"

[[limit]]
name = "hellos"
per = "helo.org"
in_flight = 50
count = "connections"

[[limit]]
name = "messages"
per = "global"
in_flight = 12
count = "messages"

[[limit]]
name = "bytes"
per = "client.ip"
in_flight = "3 MB"

[[limit]]
name = "pace"
per = "sender.org"
rate = "100/second"

[[limit]]
name = "reply"
per = "reply_to.mailbox"
rate = "100/second"
"""


NAMES = (b"mx.example.com", b"\xff", b"x" * 2000)
SENDERS = (b"<>", b"<a@sender.example>", b"\xff@", b"")
RECIPIENTS = (b"<in@box.example>", b"<\xff@x>", b"")


def message(wire: Wire, rng: random.Random) -> list[Callable[[], Answer | None]]:
    """The steps of one message as a server sends them."""
    return [
        lambda: wire.mail(rng.choice(SENDERS), b"SIZE=%d" % rng.randrange(2_000_000)),
        lambda: wire.rcpt(rng.choice(RECIPIENTS)),
        lambda: wire.rcpt(b"<no@box.example>", refused="5.1.1"),
        lambda: wire.header(b"Reply-To", b"joe@reply%d.example" % rng.randrange(100)),
        wire.end_of_header,
        lambda: wire.body(b"x" * rng.randrange(60_000)),
        wire.end,
    ]


def in_order(wire: Wire, rng: random.Random) -> int:
    """Up to three messages, the last of which ends anywhere; returns how many steps were refused."""
    refused = 0
    connected = [wire.connect(f"192.0.2.{rng.randrange(8)}"), wire.helo(rng.choice(NAMES))]
    for last in [*[False] * rng.randrange(3), True]:
        steps = message(wire, rng)
        for ask in steps[: rng.randrange(len(steps) + 1) if last else None]:
            answer = ask()
            if answer is not None and answer.code:
                refused += 1
                break
        if rng.random() < 0.3:
            wire.abort()
    return refused + sum(answer is not None and answer.code > 0 for answer in connected)


def in_disorder(wire: Wire, rng: random.Random) -> None:
    """Up to thirty commands in any order; nobody waits for an answer, since libmilter ignores what is out of order."""
    for _ in range(rng.randrange(30)):
        packets = [
            (b"C", b"unknown\x004\0\x19192.0.2.%d\0" % rng.randrange(8)),
            (b"H", rng.choice(NAMES) + b"\0"),
            (b"M", rng.choice(SENDERS) + b"\0SIZE=1000\0"),
            (b"R", rng.choice(RECIPIENTS) + b"\0"),
            (b"L", b"Reply-To\0joe@reply.example\0"),
            (b"B", b"x" * rng.randrange(60_000)),
            (b"D", b"M{auth_authen}\0\xff\0"),
            *((command, b"") for command in (b"N", b"E", b"A", b"T", b"K", b"Q", b"?")),
        ]
        wire.send(*rng.choice(packets))


def chaotic_session(path: str, seed: str) -> int:
    """One connection that ends in one of three ways; returns how many steps were refused."""
    rng = random.Random(seed)
    refused = 0
    with Wire(path) as wire, contextlib.suppress(ConnectionError):
        if rng.random() < 0.7:
            refused = in_order(wire, rng)
        else:
            in_disorder(wire, rng)
        wire.send(*rng.choice([(b"Q", b""), (b"M", b"<half"), (b"E", b"")]))
    return refused


@pytest.mark.parametrize(
    "sessions", [10_000, pytest.param(100_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_chaotic_sessions_leave_no_slot_held(tmp_path: Path, seed: str, sessions: int) -> None:
    path = str(tmp_path / "milter")
    with serving(f"unix:{path}", POLICY) as milter, ThreadPoolExecutor(CONNECTIONS) as pool:
        refused = pool.map(lambda number: chaotic_session(path, f"{seed} {number}"), range(sessions))
        held, refusals = 0, 0
        for number, count in enumerate(refused):
            refusals += count
            if number % 500 == 0:
                held = max(held, milter.held())
        assert held > 0
        assert refusals > sessions // 100
        milter.wait_for_release()
        with Wire(path) as wire:
            assert wire.connect("192.0.2.1") == Answer(CONTINUE, b"")
        # pymilter itself writes a traceback when a client says abort before it connects, which no mail server does.
        faults = {line.partition(":")[0] for line in milter.log().splitlines() if line.startswith("fault")}
        assert faults == {"fault at a HELO name that is not UTF-8, which is not counted"}  # one of NAMES
