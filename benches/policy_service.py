"""Requests a second of `throttle serve --postfix`, compared with a bare asyncio server and two peers.

    make peers                                   as root: installs the peers, and runs behind_postfix.py too
    python benches/policy_service.py [--seconds 0.5] [--rounds 10] [--per-hour 10000] [--json]

Every server runs in processes of its own, on loopback, with its state in a temporary directory. All get one stream of
requests: the first RCPT of each message of the outage (`throttle.demo.traffic`, seed 1), as Postfix 3.7 writes it.
Each has a client, a further process, with plain sockets and one outstanding request a connection, as Postfix has. The
measurements begin when every connection has had an answer. Clients have the first CPU, and servers of one process have
the others: on one connection a client and a server that happen to share a CPU answer five times as fast as two that
wake each other. postfwd2, whose processes are many, has all CPUs.

The floor is an `asyncio.Protocol` that finds the empty line and answers DUNNO. `throttle serve` runs twice: with the
policy `inbound`, and with the rules of the peers, two rates: so many messages an hour from a client address, and as
many of a sender's domain. The rates admit the whole stream, so each server counts each request and answers DUNNO;
a smaller `--per-hour` makes them refuse. Where a peer does less than that, it is printed.
The peers get every help that their manuals offer: no log, no statistics, no DNS. policyd-rate-limit runs twice, too:
with its database on a disk, where Debian has it and where each commit waits for the disk, and in memory.

All servers run at the same time, but are asked in turns, so each measurement shares with its neighbours what else the
machine does. A row has medians over the rounds. A ratio is the median of the ratios within the rounds.
When a bound is missed, the exit code is 1. Two rounds, as BENCH=short has, are judged too: the margins are wide.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import select
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from benches.policy_servers import (
    CPUS,
    FLOOR,
    INBOUND,
    POLICYD,
    POSTFWD2,
    SERVERS,
    TWO_RATES,
    Server,
    cpu_seconds,
    where,
)

from integrations.loopback import connected
from integrations.postfix.policy_client import instance, request
from throttle.demo.traffic import Mix, conversations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.connection import Connection

SEED = 1
CONNECTIONS = (1, 100)


class Result(NamedTuple):
    """What one client has measured."""

    requests_s: float
    p99_us: float
    refused: float
    cpu_us: float
    """The server's own time for a request: what other processes of the machine change least."""


class Row(NamedTuple):
    """What is printed of one server with so many connections."""

    server: str
    connections: int
    requests_s: int
    least_s: int
    most_s: int
    p99_us: int
    cpu_us: float
    refused: float
    of_floor: float


class Bound(NamedTuple):
    """A promise of ours, and what was measured."""

    promise: str
    measured: str
    holds: bool


def stream() -> list[bytes]:
    """The requests: each message once, each conversation from a port of its own."""
    return [
        request(
            client_address=message.client_ip,
            client_port=1024 + number,
            helo_name=message.helo,
            sender=message.mail_from.strip("<>"),
            recipient=message.rcpt_to,
            instance=instance(),
            size=2_000,
        )
        for number, conversation in enumerate(conversations(SEED, Mix()))
        for message in conversation
    ]


def client(parent: Connection, port: int, connections: int, server_id: int) -> None:
    """A client process: it connects, and measures for the stated seconds each time it is told to."""
    os.sched_setaffinity(0, CPUS[:1])
    following = itertools.cycle(stream()).__next__
    sockets = {}
    poll = select.epoll()
    for _ in range(connections):
        opened = connected(port)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.send(following())
        sockets[opened.fileno()] = opened
        poll.register(opened, select.EPOLLIN)
    for opened in sockets.values():  # every connection is warm when it has had an answer
        if not opened.recv(4096).endswith(b"\n\n"):
            raise ConnectionError("no answer")
    calls = {fd: (opened.recv, opened.send) for fd, opened in sockets.items()}
    parent.send("warm")
    while seconds := parent.recv():
        parent.send(measure(calls, poll, following, seconds, psutil.Process(server_id)))


def measure(
    calls: Mapping[int, tuple[Callable[[int], bytes], Callable[[bytes], int]]],
    poll: select.epoll,
    following: Callable[[], bytes],
    seconds: float,
    server: psutil.Process,
) -> Result:
    """What comes of so many seconds; all requests that were sent in this time are answered in the end, and count."""
    sent_at = dict.fromkeys(calls, 0)
    waits: list[int] = []
    refused = outstanding = 0
    idle = cpu_seconds(server)
    clock = time.perf_counter_ns
    now = start = clock()
    end = start + int(seconds * 1e9)
    for fd, (_, send) in calls.items():
        sent_at[fd] = clock()
        send(following())
        outstanding += 1
    while outstanding:
        for fd, _ in poll.poll():
            recv, send = calls[fd]
            answer = recv(4096)
            now = clock()
            if not answer.endswith(b"unno\n\n") and not answer.endswith(b"UNNO\n\n"):
                if not answer.endswith(b"\n\n"):
                    raise ConnectionError("no answer")
                refused += 1
            waits.append(now - sent_at[fd])
            if now < end:
                sent_at[fd] = now
                send(following())
            else:
                outstanding -= 1
    waits.sort()
    count = len(waits)
    cpu_us = (cpu_seconds(server) - idle) / count * 1e6
    return Result(count / ((now - start) / 1e9), waits[count * 99 // 100] / 1000, refused / count, cpu_us)


@contextmanager
def running(server: Server, connections: int, per_hour: int) -> Iterator[Callable[[float], Result]]:
    """A server with its client; the block may measure it for so many seconds, as often as it likes."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="policy-", dir=server.directory) as path:
        directory = Path(path)
        directory.chmod(0o755)  # the peers have users of their own
        with server.start(directory, per_hour) as (port, process):
            connected(port).close()
            if not server.many_processes:
                process.cpu_affinity(CPUS[1:] or CPUS)
            here, there = spawn.Pipe()
            asking = spawn.Process(target=client, args=(there, port, connections, process.pid))
            asking.start()
            there.close()

            def once(seconds: float) -> Result:
                here.send(seconds)
                result: Result = here.recv()
                return result

            try:
                here.recv()
                yield once
                here.send(0.0)
            finally:
                here.close()
                asking.join()


def row_of(server: Server, connections: int, results: list[Result], floors: list[Result]) -> Row:
    """The medians of one server."""
    requests_s, p99_us, refused, cpu_us = (statistics.median(values) for values in zip(*results, strict=True))
    rates = [one.requests_s for one in results]
    return Row(
        server.name, connections, round(requests_s), round(min(rates)), round(max(rates)),
        round(p99_us), round(cpu_us, 1), round(refused, 3), round(statistics.median(ratios(results, floors)), 3),
    )  # fmt: skip


def ratios(results: list[Result], others: list[Result]) -> list[float]:
    """How many times as many requests in each round: neighbouring measurements share what else the machine does."""
    return [one.requests_s / other.requests_s for one, other in zip(results, others, strict=True)]


def compared(results: list[Result], others: list[Result], form: str) -> tuple[float, str]:
    """The median ratio, and how it is printed: with the least and the greatest one."""
    rounds = ratios(results, others)
    middle = statistics.median(rounds)
    return middle, f"{middle:{form}} ({min(rounds):{form}} to {max(rounds):{form}})"


def bounds_of(found: dict[int, dict[Server, list[Result]]]) -> Iterator[Bound]:
    """What `throttle serve` promises, under each of its policies."""
    single, many = (found[connections] for connections in CONNECTIONS)
    for ours in (INBOUND, TWO_RATES):
        for peer, times in ((POLICYD, 25), (POSTFWD2, 3)):
            if many[peer]:
                ratio, measured = compared(many[ours], many[peer], ".1f")
                yield Bound(f"{ours.name}: at 100 connections {times} × {peer.name}", measured, ratio >= times)
        share, measured = compared(single[ours], single[FLOOR], ".1%")
        yield Bound(f"{ours.name}: on one connection 85% of the floor", measured, share >= 0.85)
        share, measured = compared(many[ours], many[FLOOR], ".1%")
        requests_s = statistics.median(one.requests_s for one in many[ours])
        promise = f"{ours.name}: at 100 connections 50,000/s or 50% of the floor"
        yield Bound(promise, f"{requests_s:,.0f}/s, {measured}", requests_s >= 50_000 or share >= 0.5)


def main() -> None:
    """Measures and prints."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=0.5, help="for each measurement")
    options.add_argument("--rounds", type=int, default=10, help="in which all servers take turns")
    options.add_argument("--per-hour", type=int, default=10_000, help="both of the two rates")
    options.add_argument("--json", action="store_true", help="print JSON only")
    asked = options.parse_args()
    os.environ["PATH"] += ":/usr/sbin"
    before = where()
    absent = {server: why for server in SERVERS if (why := server.missing())}
    found: dict[int, dict[Server, list[Result]]] = {
        connections: {server: [] for server in SERVERS} for connections in CONNECTIONS
    }
    for connections, by_server in found.items():
        with ExitStack() as stack:
            present = {
                server: stack.enter_context(running(server, connections, asked.per_hour))
                for server in SERVERS
                if server not in absent
            }
            for _, (server, once) in itertools.product(range(asked.rounds), present.items()):
                by_server[server].append(once(asked.seconds))
    rows = [
        row_of(server, connections, results, by_server[FLOOR])
        for connections, by_server in found.items()
        for server, results in by_server.items()
        if results
    ]
    bounds = list(bounds_of(found))
    less = {server.name: server.less for server in (POLICYD, POSTFWD2)}
    left_out = {server.name: why for server, why in absent.items()}
    if asked.json:
        parts = {"rows": [row._asdict() for row in rows], "bounds": [bound._asdict() for bound in bounds]}
        sys.stdout.write(json.dumps(parts | {"less": less, "left_out": left_out}, indent=2) + "\n")
    else:
        print(
            f"{before}; medians of {asked.rounds} rounds of {asked.seconds:g} s; "
            f"two rates of {asked.per_hour:,} an hour"
        )
        show(rows, bounds, less, left_out)
    sys.exit(not all(bound.holds for bound in bounds))


def show(rows: list[Row], bounds: list[Bound], less: dict[str, str], left_out: dict[str, str]) -> None:
    """Prints the table, and under it what it leaves out and which bounds hold."""
    for row in rows:
        print(
            f"{row.server:<19} {row.connections:>3} connections {row.requests_s:>8,} requests/s "
            f"({row.least_s:,} to {row.most_s:,})  p99 {row.p99_us:>7,} µs  {row.cpu_us:>7,.1f} µs of CPU each  "
            f"{row.of_floor:>6.1%} of the floor  {row.refused:.1%} refused"
        )
    for name, why in left_out.items():
        print(f"{name}: left out, {why}")
    for name, what in less.items():
        print(f"{name} does less: {what}")
    for bound in bounds:
        print(f"{'holds' if bound.holds else 'SHORT'}  {bound.promise}: {bound.measured}")


if __name__ == "__main__":
    main()
