"""Fixtures for tests with servers: one starts them and stops them after the test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import throttle.aiosmtpd
from integrations.aiosmtpd.serving import Inbox, Loopback, connections_end
from throttle import RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from throttle import Throttle


@pytest.fixture(autouse=True)
def no_line_logged_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test may log as many lines as a process that has logged none."""
    monkeypatch.setattr(throttle.aiosmtpd.log_fault, "lines", RateLimiter("6/day", memory="64 KiB"))


@pytest.fixture
def serve() -> Iterator[Callable[..., Loopback]]:
    """`serve(guard, handler, …)` returns a running server."""
    started: list[Loopback] = []

    def start(guard: Throttle, handler: Any = None, **parameters: Any) -> Loopback:
        server = Loopback(handler or Inbox(), hostname="127.0.0.1", port=0, guard=guard, **parameters)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        if not server.loop.is_closed():
            asyncio.run_coroutine_threadsafe(connections_end(), server.loop).result(10)
            server.stop()
