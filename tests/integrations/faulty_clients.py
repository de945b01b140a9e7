"""What makes trouble at a service: a slow relay in front of it, and clients that send any bytes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_SECONDS = 0.7
"""Postfix waits a second in these tests: on a busy machine an answer comes some tenths later than it is sent."""


class SlowRelay:
    """Forwards connections to a port of loopback, and delays each answer by 0.1 s to `MOST_SECONDS`.

    A context manager.
    """

    def __init__(self, port: int, seed: str) -> None:
        self._to, self._rng = port, random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        service_reader, service_writer = await asyncio.open_connection("127.0.0.1", self._to)
        await asyncio.gather(
            self._forward(reader, service_writer, lambda: 0.0),
            self._forward(service_reader, writer, lambda: self._rng.uniform(0.1, MOST_SECONDS)),
        )

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: Callable[[], float]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await asyncio.sleep(seconds())
                writer.write(data)
        writer.close()


class Noise:
    """Clients that connect to a port of loopback, send random bytes and leave, until the block ends."""

    def __init__(self, port: int, seed: str, begins: tuple[bytes, ...]) -> None:
        self.connections = 0
        self._port, self._seed, self._begins = port, seed, begins
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._shout, args=(number,)) for number in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _shout(self, number: int) -> None:
        rng = random.Random(f"{self._seed} {number}")
        while not self._end.is_set():
            self.connections += 1
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self._port), timeout=5) as shouting,
            ):
                for _ in range(rng.randrange(1, 5)):
                    shouting.sendall(rng.choice((b"", *self._begins)) + rng.randbytes(rng.randrange(20_000)))
                shouting.settimeout(rng.choice((0.0, 0.01)))
                shouting.recv(4096)


def growth_under_noise(
    noise: Noise, seconds: float, resident_bytes: Callable[[], int], send: Callable[[int], float]
) -> tuple[int, float]:
    """Sends ordinary mail under noise. Returns by how many bytes a process grows once it is warm, and how long the
    slowest message took.
    """
    start, sent, slowest, warm = time.monotonic(), 0, 0.0, 0
    with noise:
        while (passed := time.monotonic() - start) < seconds:
            slowest = max(slowest, send(sent))
            sent += 1
            if not warm and passed > seconds / 3:
                warm = resident_bytes()
        grown = resident_bytes() - warm
    print(
        f"\n{noise.connections:,} connections with random bytes in {seconds:.0f} s: {grown / 2**20:+.1f} MiB after the "
        f"first third of it; {sent:,} messages meanwhile, the slowest took {slowest:.2f} s"
    )
    return grown, slowest
