"""A fixture that starts servers and stops them after the test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from integrations.aiosmtpd.serving import Inbox, Loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from throttle import Throttle


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


async def connections_end() -> None:
    """Waits until the server has seen that its clients are gone, which aiosmtpd's `stop` does not."""
    for _ in range(400):
        if asyncio.all_tasks() == {asyncio.current_task()}:
            break
        await asyncio.sleep(0.005)
    await asyncio.sleep(0)
