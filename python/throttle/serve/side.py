"""A thread with an event loop of its own, for what a service answers besides mail: metrics and control.

Both the policy service and the milter use it. Its nice value makes mail go first where a processor is busy: the program
that waits for an answer about mail was woken on the processor of such a thread, and waited until that had used up its
slice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

START_SECONDS = 5.0
"""How long the start of a server may take."""

NICE = 10
"""How much nicer the thread is than the service.

Measured once with the kernel's trace of its scheduler (Linux 6.18, two processors), beside hostile clients of the
control socket: of 16,000 policy requests, 9 waited more than 0.1 ms for a thread of this kind with 0, 3 with 2, 1 with
5, none with 10. It is no more, since mail may wait for a lock that such a thread holds while others have its processor:
with 10 it still gets a tenth of what they get. Beside two busy programs no request waited longer with 10 than with 0.
"""

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
        with contextlib.suppress(OSError):  # a sandbox may refuse it
            os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + NICE)  # of this thread, on Linux
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()
