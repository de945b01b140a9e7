"""Requests a second of `throttle serve --postfix`, beside the least that asyncio can do.

    python benches/policy_service.py [--seconds 4] [--json]

Both servers are processes of their own and get one stream of requests: the first RCPT of each message of the outage
(`throttle.demo.traffic`, seed 1), as Postfix 3.7 writes it. The floor is an `asyncio.Protocol` that finds the empty
line and answers DUNNO. The client is a third process with plain sockets and one outstanding request a connection, as
Postfix has. Each pair is measured three times by turns, and the median counts.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import platform
import select
import signal
import socket
import statistics
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import psutil

from throttle.demo.traffic import Mix, conversations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

SEED = 1
CONNECTIONS = (1, 100)
ROUNDS = 3
REQUEST = """\
request=smtpd_access_policy
protocol_state=RCPT
protocol_name=ESMTP
client_address={client_ip}
client_name={client_name}
client_port={port}
reverse_client_name={client_name}
server_address=192.0.2.25
server_port=25
helo_name={helo}
sender={sender}
recipient={recipient}
recipient_count=0
queue_id=
instance={instance}
size={size}
etrn_domain=
stress=
sasl_method=
sasl_username=
sasl_sender=
ccert_subject=
ccert_issuer=
ccert_fingerprint=
ccert_pubkey_fingerprint=
encryption_protocol=
encryption_cipher=
encryption_keysize=0
policy_context=

"""


class Result(NamedTuple):
    """What one client has measured."""

    requests_s: float
    p99_us: float
    cpu_us: float = 0.0
    """The server's own time for a request: what other processes of the machine change least."""


class Row(NamedTuple):
    """What is printed of one server with so many connections."""

    server: str
    connections: int
    requests_s: int
    p99_us: int
    cpu_us: float
    of_floor: float


def stream() -> list[bytes]:
    """The requests: each message once, each conversation from a port of its own."""
    requests = []
    serial = itertools.count()
    for number, conversation in enumerate(conversations(SEED, Mix())):
        for message in conversation:
            request = REQUEST.format(
                client_ip=message.client_ip,
                client_name="unknown",
                port=1024 + number,
                helo=message.helo,
                sender=message.mail_from.strip("<>"),
                recipient=message.rcpt_to,
                instance=f"4d2.656e6f00.{next(serial):x}.0",
                size=2_000,
            )
            requests.append(request.encode())
    return requests


class Floor(asyncio.Protocol):
    """Finds the empty line and answers DUNNO."""

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        end = data.rfind(b"\n\n")
        if end < 0:
            self._rest = data
            return
        self._rest = data[end + 2 :]
        self._transport.write(b"action=DUNNO\n\n" * data.count(b"\n\n"))


def floor(ready: Connection) -> None:
    """The process of the floor."""

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Floor, "127.0.0.1", 0, backlog=1024)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


def ours(ready: Connection) -> None:
    """The process of `throttle serve`, with the policy `inbound`."""
    from throttle.serve.address import ListenAddress
    from throttle.serve.guards import Guards, PolicySource
    from throttle.serve.log import Log
    from throttle.serve.service import run

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        ready.send(port)
        run(
            ListenAddress.parse(f"inet:127.0.0.1:{port}"), Guards([PolicySource.parse("inbound")]), Log("text", nowhere)
        )


def measure(result: Connection, port: int, connections: int, seconds: float) -> None:
    """The process of the client."""
    requests = stream()
    sockets = {}
    poll = select.epoll()
    for _ in range(connections):
        client = connected(port)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[client.fileno()] = client
        poll.register(client, select.EPOLLIN)
    calls = {fd: (client.recv, client.send) for fd, client in sockets.items()}
    sent_at = dict.fromkeys(sockets, 0)
    waits: list[int] = []
    note = waits.append
    clock = time.perf_counter_ns
    following = itertools.cycle(requests).__next__
    start = clock()
    end = start + int(seconds * 1e9)
    for fd, (_, send) in calls.items():
        sent_at[fd] = clock()
        send(following())
    now = start
    while now < end:
        for fd, _ in poll.poll():
            recv, send = calls[fd]
            if not recv(4096).endswith(b"\n\n"):
                raise ConnectionError("no answer")
            now = clock()
            note(now - sent_at[fd])
            sent_at[fd] = now
            send(following())
    waits.sort()
    result.send(Result(len(waits) / ((now - start) / 1e9), waits[len(waits) * 99 // 100] / 1000))
    result.send(len(waits))


def connected(port: int) -> socket.socket:
    """A connection; a server that has just been started may take a moment."""
    for _ in range(500):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.01)  # another process starts; nothing tells when it listens
    raise ConnectionError(f"nobody listens on port {port}")


def once(server: Callable[[Connection], None], connections: int, seconds: float) -> Result:
    """Starts a server and a client, and returns what the client has measured."""
    spawn = multiprocessing.get_context("spawn")
    told, tell = spawn.Pipe(duplex=False)
    process = spawn.Process(target=server, args=(tell,))
    process.start()
    try:
        if not told.poll(30):
            raise TimeoutError("the server did not start")
        port = told.recv()
        connected(port).close()
        idle = psutil.Process(process.pid).cpu_times()
        client = spawn.Process(target=measure, args=(tell, port, connections, seconds))
        client.start()
        if not told.poll(seconds + 30):
            raise TimeoutError("the client gave no result")
        result: Result = told.recv()
        requests: int = told.recv()
        used = psutil.Process(process.pid).cpu_times()
        client.join()
        return result._replace(cpu_us=(used.user + used.system - idle.user - idle.system) / requests * 1e6)
    finally:
        os.kill(process.pid or 0, signal.SIGTERM)
        process.join()


def main() -> None:
    """Measures and prints."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=4.0, help="for each measurement")
    options.add_argument("--json", action="store_true", help="print JSON only")
    asked = options.parse_args()
    found: dict[int, dict[str, list[Result]]] = {
        connections: {"floor": [], "throttle serve": []} for connections in CONNECTIONS
    }
    for _, connections in itertools.product(range(ROUNDS), CONNECTIONS):
        for name, server in (("floor", floor), ("throttle serve", ours)):
            found[connections][name].append(once(server, connections, asked.seconds))
    rows = [row for connections, by_name in found.items() for row in rows_of(connections, by_name)]
    if asked.json:
        sys.stdout.write(json.dumps([row._asdict() for row in rows], indent=2) + "\n")
        return
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    for row in rows:
        print(
            f"{row.server:<15} {row.connections:>4} connections {row.requests_s:>9,} requests/s  "
            f"p99 {row.p99_us:>7,} µs  {row.cpu_us:>5.1f} µs of CPU each  {row.of_floor:>6.1%} of the floor"
        )


def rows_of(connections: int, results: dict[str, list[Result]]) -> Iterator[Row]:
    """The medians of each server."""
    floor_s = statistics.median(one.requests_s for one in results["floor"])
    for name, of_server in results.items():
        requests_s, p99_us, cpu_us = (statistics.median(values) for values in zip(*of_server, strict=True))
        yield Row(name, connections, round(requests_s), round(p99_us), round(cpu_us, 1), round(requests_s / floor_s, 3))


if __name__ == "__main__":
    main()
