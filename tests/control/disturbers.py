"""Hostile clients of the control socket and two scrapers, as a process of their own.

    python tests/control/disturbers.py SOCKET METRICS_PORT SEED

It runs until its standard input ends, and then prints how often each of them did something. Started by root, it has
a client of another user besides, in a process of his own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import socket
import sys
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from multiprocessing.sharedctypes import Synchronized

NOBODY = 65534

done: Counter[str] = Counter()


async def flooding(path: str) -> None:
    """Asks for the longest answers, with a hundred requests before it reads one answer."""
    request = b'{"verb": "top", "n": 100}\n{"verb": "status"}\n{"verb": "notices"}\n'
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 21)
    writer.write(request * 33)
    while line := await reader.readline():
        done["answers to a flood"] += json.loads(line)["ok"]
        writer.write(request)
        await writer.drain()


async def stalled(path: str) -> None:
    """Sends half of a request and nothing more. Counts the seconds that it is connected."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"verb": "sta')
    while True:
        try:
            async with asyncio.timeout(1.0):
                await reader.read()
                return  # the service has closed it
        except TimeoutError:
            done["seconds stalled"] += 1


async def random_bytes(path: str, rng: random.Random) -> None:
    """Sends random bytes, a connection after the other."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(rng.randbytes(500) + b"\n")
    writer.write_eof()
    while await reader.read(65536):
        pass
    writer.close()
    done["random bytes"] += 1


async def scraper(port: int) -> None:
    """Scrapes once a second, which is fifteen times what is usual."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    text = await reader.read()
    writer.close()
    assert b"throttle_checks_total" in text or not text
    done["scrapes"] += bool(text)
    await asyncio.sleep(1.0)


def wrong_user(path: str, refused: Synchronized[int]) -> None:
    """Asks again and again as somebody who may not, until the parent ends."""
    directory, name = os.path.split(path)
    os.chdir(directory)  # whose ancestors may be closed to him
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(name)
            client.sendall(b'{"verb": "top", "n": 100}\n')
            refused.value += b"this user may not ask" in client.recv(4096)


async def again(disturb: Callable[[], Awaitable[None]]) -> None:
    while True:
        with contextlib.suppress(OSError):
            await disturb()
        await asyncio.sleep(0)


async def main(path: str, port: int, seed: str) -> None:
    rng = random.Random(seed)
    disturbers: list[Callable[[], Awaitable[None]]] = [
        *[partial(flooding, path)] * 3,
        *[partial(stalled, path)] * 2,
        *[partial(random_bytes, path, rng)] * 2,
        *[partial(scraper, port)] * 2,
    ]
    tasks = [asyncio.create_task(again(disturb)) for disturb in disturbers]
    print("begun", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        assert not task.done(), task.exception()
        task.cancel()


if __name__ == "__main__":
    refused = multiprocessing.Value("Q")
    if os.getuid() == 0:
        multiprocessing.Process(target=wrong_user, args=(sys.argv[1], refused), daemon=True).start()
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
    print(json.dumps({**done, "wrong user": refused.value}))
