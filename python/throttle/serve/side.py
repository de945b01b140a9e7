"""A thread with an event loop of its own, for what a service answers besides mail: metrics and control.

Both the policy service and the milter use it.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

START_SECONDS = 5.0
"""How long the start of a server may take."""

_T = TypeVar("_T")


class SideLoop:
    """The thread, from construction until `close`."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, start: Coroutine[None, None, _T]) -> _T:
        """Runs a coroutine in the thread, and returns its result."""
        return asyncio.run_coroutine_threadsafe(start, self._loop).result(START_SECONDS)

    def close(self) -> None:
        """Ends all tasks and the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()
