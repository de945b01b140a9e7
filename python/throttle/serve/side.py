"""A thread with an event loop of its own, for what a service answers besides mail: metrics and control.

Both the policy service and the milter use it. Its nice value makes mail go first where a processor is busy: a program
that gets an answer about mail may be woken on the processor of such a thread, and waits there until that gives it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Coroutine

START_SECONDS = 5.0
"""How long the start of a server may take."""

NICE = 10
"""How much nicer the thread is than the service.

Measured once with the kernel's trace of its scheduler (Linux 6.18, two processors), beside hostile clients of the
control socket: of 16,000 policy requests, 9 waited more than 0.1 ms for a thread of this kind with 0, 3 with 2, 1 with
5, none with 10. With 5, the slowest request of a thousand took 1.33 times as long as without such clients, with 10 0.98
times. It has a price, since mail may wait for a lock that the thread holds while others have its processor: beside four
programs that kept both processors busy, one request in a thousand took more than 25 to 35 ms with 10, 11 to 15 with 5,
and 8 to 16 with 0.
"""

_T = TypeVar("_T")


@contextlib.asynccontextmanager
async def streams(
    connection: socket.socket, most_bytes: int
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The streams of a client that is served in the block. Afterwards its connection is closed.

    The block ends without an error when the client has gone, says nothing, does not read, or sends more than
    `most_bytes` at once.
    """
    writer = None
    try:
        reader, writer = await asyncio.open_connection(sock=connection, limit=most_bytes)
        yield reader, writer
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        if writer is None:
            connection.close()
        else:
            with contextlib.suppress(OSError):
                writer.transport.abort()


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
        if sys.platform == "linux":  # elsewhere it is the value of the whole process
            with contextlib.suppress(OSError):  # a sandbox may refuse it
                os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + NICE)
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()
