"""The servers that `policy_service.py` measures, each as processes of its own that end with the block.

They listen on loopback, and their state lies in the directory that they are given. Those of Debian are started as
programs, never as services of the system, and ended by their ids. They need root, since they have users of their own.
It knows no client. Invariant: the files in /etc are neither read nor changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from integrations.loopback import connected, free_port
from integrations.postfix.serve_process import ServeProcess, policy_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

CPUS = sorted(os.sched_getaffinity(0))
END_SECONDS = 10.0

#: The two rates, as each server spells them.
TWO_RATES_POLICY = """
[[limit]]
name = "client"
per = "client.ip"
rate = "{per_hour}/hour"

[[limit]]
name = "domain"
per = "sender.host"
rate = "{per_hour}/hour"
"""
POLICYD_YAML = """
debug: False
user: policyd-rate-limit
group: policyd-rate-limit
pidfile: {directory}/run/pid
backend: 0
sqlite_config: {{database: {directory}/database/sqlite3}}
SOCKET: ["127.0.0.1", {port}]
limits: [[{per_hour}, 3600]]
limit_by_sasl: False
limit_by_ip: True
limited_networks: ["0.0.0.0/0", "::/0"]
"""
POSTFWD_CF = """
id=CLIENT; protocol_state==RCPT; action=rate(client_address/{per_hour}/3600/450 4.7.1 too fast)
id=DOMAIN; protocol_state==RCPT; action=rate(sender_domain/{per_hour}/3600/450 4.7.1 too fast)
"""


class Server(NamedTuple):
    """How a server is started, and what is known of it."""

    name: str
    start: Callable[[Path, int], AbstractContextManager[tuple[int, psutil.Process]]]
    """Takes a directory and the two rates; the block has the port and the first process."""
    program: str | None = None
    """The program of a peer."""
    less: str = ""
    """What a peer leaves undone of the two rates."""
    many_processes: bool = False
    directory: str = "/var/tmp"

    def missing(self) -> str | None:
        """Why it cannot run here, if it cannot."""
        if self.program is None:
            return None
        if shutil.which(self.program) is None:
            return "not installed"
        return None if os.geteuid() == 0 else "needs root"


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


def serve_floor(port: int) -> None:
    """The process of the floor."""

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", port, backlog=1024)
        await server.serve_forever()

    asyncio.run(serve())


@contextmanager
def floor(directory: Path, per_hour: int) -> Iterator[tuple[int, psutil.Process]]:
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve_floor, args=(port,))
    process.start()
    try:
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.join()


@contextmanager
def inbound(directory: Path, per_hour: int) -> Iterator[tuple[int, psutil.Process]]:
    with ServeProcess(directory) as service:
        yield service.port, psutil.Process(service.process.pid)


@contextmanager
def two_rates(directory: Path, per_hour: int) -> Iterator[tuple[int, psutil.Process]]:
    policy = policy_file(directory, TWO_RATES_POLICY.format(per_hour=per_hour))
    with ServeProcess(directory, "--policy", policy) as service:
        yield service.port, psutil.Process(service.process.pid)


@contextmanager
def policyd(directory: Path, per_hour: int) -> Iterator[tuple[int, psutil.Process]]:
    for name in ("run", "database"):  # it gives them to its own user
        (directory / name).mkdir()
    port, rules = free_port(), directory / "policyd.yaml"
    rules.write_text(POLICYD_YAML.format(directory=directory, port=port, per_hour=per_hour), encoding="utf-8")
    process = subprocess.Popen(["policyd-rate-limit", "--file", rules])
    try:
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(END_SECONDS)


@contextmanager
def postfwd2(directory: Path, per_hour: int) -> Iterator[tuple[int, psutil.Process]]:
    run = directory / "run"
    run.mkdir()
    shutil.chown(run, "postfw", "postfw")
    port, rules = free_port(), directory / "postfwd.cf"
    rules.write_text(POSTFWD_CF.format(per_hour=per_hour), encoding="utf-8")
    subprocess.run(
        ["postfwd2", f"--file={rules}", "--user=postfw", "--group=postfw", "--interface=127.0.0.1", f"--port={port}",
         f"--cache_socket=unix::{run}/cache.socket", f"--pidfile={run}/pid", "--nodns", "--perfmon", "--summary=0"],
        check=True,
    )  # fmt: skip
    connected(port).close()  # it has become a daemon, and its processes are there once it listens
    master = psutil.Process(int((run / "pid").read_text()))
    try:
        yield port, master
    finally:
        everyone = [master, *master.children(recursive=True)]
        master.terminate()
        await_end(everyone)


FLOOR = Server("floor", floor)
INBOUND = Server("throttle, inbound", inbound)
TWO_RATES = Server("throttle, two rates", two_rates)
POLICYD = Server(
    "policyd-rate-limit",
    policyd,
    "policyd-rate-limit",
    "one rate a request, here by client address; no sender domain is counted, and a repeated question counts again",
)
POSTFWD2 = Server(
    "postfwd2",
    postfwd2,
    "postfwd2",
    "both rates, in fixed windows: twice the rate may pass within one length; a repeated question counts again",
    many_processes=True,
)
SERVERS = (
    FLOOR, INBOUND, TWO_RATES, POLICYD, POLICYD._replace(name="policyd, in memory", directory="/dev/shm"), POSTFWD2,
)  # fmt: skip


def await_end(processes: list[psutil.Process]) -> None:
    """Waits until none of these processes runs; who does not end is killed."""
    until = time.monotonic() + END_SECONDS
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > until:
                    process.kill()
                time.sleep(0.01)  # they are not children of ours, so there is nothing to wait on


def cpu_seconds(process: psutil.Process) -> float:
    """What a process and those that it has started have used, those that have ended included."""
    used = 0.0
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            used += sum(one.cpu_times()[:4])
    return used


def where() -> str:
    """The machine, how busy it has been in the last minute, the commit that is measured, and the date."""
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True).stdout.strip()
    return (
        f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, {commit}, {time.strftime('%Y-%m-%d')}"
    )
