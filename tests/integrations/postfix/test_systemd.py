"""What systemd sees of the service, without systemd."""

from __future__ import annotations

import http.client
import math
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from importlib.resources import files
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from integrations.loopback import wait_until, wait_until_sighup_is_blocked
from integrations.postfix.policy_client import DUNNO, PolicyClient, instance, request
from integrations.postfix.serve_process import ServeProcess, policy_file
from throttle.serve import systemd
from throttle.serve.guards import Guards, PolicySource
from throttle.serve.log import Log
from throttle.serve.process import Reloads
from throttle.serve.units import NAMES, unit

if TYPE_CHECKING:
    from pathlib import Path

PACE = '[[limit]]\nname = "pace"\nper = "sender.org"\nrate = "{}/day"\n'


class Manager:
    """The end of `NOTIFY_SOCKET` that systemd has."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(30)
        self.socket.bind(path)

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def wait_for(self, state: str) -> str:
        while state not in (told := self.socket.recv(4096).decode()).splitlines():
            pass
        return told


def test_it_tells_when_it_is_ready_alive_reloading_and_stopping(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with Manager(path) as manager, ServeProcess(tmp_path, NOTIFY_SOCKET=path, WATCHDOG_USEC="400000") as service:
        manager.wait_for("READY=1")
        for _ in range(3):
            manager.wait_for("WATCHDOG=1")
        service.process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1")
        service.process.send_signal(signal.SIGSTOP)
        manager.socket.settimeout(0.8)
        with pytest.raises(TimeoutError):  # two watchdog periods, once what had been sent before is read
            manager.wait_for("never")
        manager.socket.settimeout(30)
        service.process.send_signal(signal.SIGCONT)
        manager.wait_for("WATCHDOG=1")
        service.process.terminate()
        manager.wait_for("STOPPING=1")


#: `throttle serve` whose thread that answers hangs in a clock while there is a file HANG.
HANGING = """
import os, threading, time
from functools import partial
import throttle.serve.guards as guards
from throttle.cli import main

def clock():
    while threading.current_thread().name == "policy" and os.path.exists(os.environ["HANG"]):
        time.sleep(0.01)
    return time.time()

guards.Throttle = partial(guards.Throttle, clock=clock)
main()
"""


def test_a_thread_that_hangs_sends_no_watchdog_signal(tmp_path: Path) -> None:
    path, hang = str(tmp_path / "notify"), tmp_path / "hang"
    manager_of = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}
    with (
        Manager(path) as manager,
        ServeProcess(
            tmp_path, "--metrics", "127.0.0.1:0", program=("-c", HANGING), HANG=str(hang), **manager_of
        ) as service,
        PolicyClient(service.address) as client,
    ):
        assert client.ask() == DUNNO
        manager.wait_for("WATCHDOG=1")
        hang.touch()
        client.socket.sendall(request(instance=instance()))
        service.wait_for("no watchdog signal: mail gets no answers")
        assert probe(service, "/healthz") == 503
        manager.socket.settimeout(0)
        with pytest.raises(BlockingIOError):  # once what had been sent before is read
            manager.wait_for("never")
        manager.socket.settimeout(0.8)
        with pytest.raises(TimeoutError):
            manager.wait_for("never")
        manager.socket.settimeout(30)
        hang.unlink()
        assert client.answer() == DUNNO
        manager.wait_for("WATCHDOG=1")
        wait_until(lambda: probe(service, "/healthz") == 200)


def probe(service: ServeProcess, path: str) -> int:
    """The status that a probe of life gets."""
    port = service.wait_for(r"for Prometheus on \S+:(\d+)")[1]
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
    connection.request("GET", path)
    return connection.getresponse().status


#: `throttle serve` whose thread that answers ends by itself at once.
BROKEN = """
from types import SimpleNamespace
import throttle.serve.postfix as postfix
from throttle.cli import main

def run(*_):
    raise OSError("no epoll")

server = SimpleNamespace(run=run, stop=lambda: None, take_events=list, turns=0, dropped=0, unknown_contexts=0)
postfix.PolicyServer = lambda *_: server
main()
"""


def test_a_thread_that_ends_by_itself_ends_the_process_with_an_error(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with ServeProcess(tmp_path, postfix=f"unix:{path}", program=("-c", BROKEN)) as service:
        assert service.process.wait(20) == 1
    assert "OSError: no epoll" in service.log()
    assert "RuntimeError: the thread that answers policy clients has ended" in service.log()
    assert not path.exists()


def test_a_storm_of_reloads_is_one_a_second_and_the_last_one_counts(tmp_path: Path) -> None:
    out, policy = StringIO(), policy_file(tmp_path, PACE.format(1))
    reloads = Reloads(Guards([PolicySource("", policy)]), Log("text", out))
    done_at = []
    for tenth in range(25):
        reloads.ask()
        policy_file(tmp_path, PACE.format(tenth + 1) if tenth % 2 else "wrong")
        reloads.run(tenth / 10)
        if out.getvalue():
            done_at.append(tenth)
            out.truncate(out.seek(0))
    assert done_at == [0, 10, 20]
    reloads.run(math.inf)
    assert "reload failed: " in out.getvalue()
    out.truncate(out.seek(0))
    reloads.run(math.inf)
    assert not out.getvalue()


def test_what_was_asked_before_the_end_is_done(tmp_path: Path) -> None:
    policy = policy_file(tmp_path, PACE.format(1))
    with ServeProcess(tmp_path, "--policy", policy) as service:
        with PolicyClient(f"inet:127.0.0.1:{service.port}") as client:
            assert [client.ask(instance=instance()) == DUNNO for _ in range(2)] == [True, False]
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("reloaded")
        policy_file(tmp_path, "wrong")
        service.process.send_signal(signal.SIGHUP)
        service.process.terminate()
        service.wait_for("ended")
        events = re.findall(r"^\S+ ([a-z ]+):", service.log(), re.MULTILINE)
    assert events[:3] == ["policy", "listening", "first request"]
    assert sorted(events[3:-1]) == ["notice", "reload failed", "reloaded"]


def test_sighup_before_the_service_is_ready_loads_the_policy_once_it_is(tmp_path: Path) -> None:
    policy, log = policy_file(tmp_path, PACE.format(1)), tmp_path / "log"
    command = [sys.executable, "-m", "throttle", "serve", "--postfix", "inet:127.0.0.1:0", "--policy", policy]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stderr=out)
    try:
        wait_until_sighup_is_blocked(process.pid)
        for _ in range(3):
            process.send_signal(signal.SIGHUP)
        wait_until(lambda: b"reloaded" in log.read_bytes())
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    events = re.findall(r"^\S+ ([a-z ]+):", log.read_text(), re.MULTILINE)
    assert events == ["policy", "listening", "reloaded", "ended"]


def test_an_abstract_socket_is_told_too_and_a_missing_manager_does_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"throttle-test-{os.getpid()}"
    with Manager(f"\0{name}") as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        systemd.notify("READY=1", "STATUS=x")
        assert manager.wait_for("READY=1") == "READY=1\nSTATUS=x"
    systemd.notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemd.notify("READY=1")


def test_the_watchdog_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert systemd.watchdog_seconds() is None
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    assert systemd.watchdog_seconds() == 10
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert systemd.watchdog_seconds() is None


def test_a_manager_that_reads_nothing_does_not_stop_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Manager(str(tmp_path / "notify")) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        for _ in range(2_000):  # more than its queue takes
            systemd.notify("WATCHDOG=1")
        assert manager.wait_for("WATCHDOG=1") == "WATCHDOG=1"


def start_with(descriptor: int) -> subprocess.Popen[bytes]:
    """`throttle serve` with a descriptor that systemd passes. The child sets LISTEN_PID as systemd does: it is the
    number of the process that becomes the service.
    """
    starter = (
        "import os, sys; fd = int(sys.argv[1]); os.dup2(fd, 3, inheritable=True); "
        "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'}; "
        "os.execv(sys.executable, [sys.executable, '-m', 'throttle', 'serve', '--postfix', 'systemd'])"
    )
    command = [sys.executable, "-c", starter, str(descriptor)]
    return subprocess.Popen(command, pass_fds=[descriptor], stderr=subprocess.PIPE)


def test_a_passed_descriptor_that_does_not_listen_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    connected, _ = pair = socket.socketpair()
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with path.open() as file, pair[0], pair[1], datagram:
        for descriptor, said in (
            (file.fileno(), "operation on non-socket"),
            (connected.fileno(), "found a socket that does not listen"),
            (datagram.fileno(), "found a socket that does not listen"),
        ):
            process = start_with(descriptor)
            *_, last = process.communicate(timeout=60)[1].decode().splitlines()
            assert (process.returncode, last.startswith("throttle: --postfix: systemd: ")) == (2, True), last
            assert said in last


def test_a_passed_socket_is_listened_on() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    process = start_with(listener.fileno())
    try:
        with PolicyClient(f"inet:127.0.0.1:{port}") as client:  # it waits in the backlog until the service is there
            assert client.ask() == DUNNO
    finally:
        listener.close()
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_sockets_of_another_process_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert systemd.passed_sockets() == []


def test_without_a_passed_socket_the_service_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "throttle", "serve", "--postfix", "systemd"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "systemd: found no socket" in done.stderr


@pytest.mark.servers
def test_systemd_socket_activate_starts_it(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    process = subprocess.Popen(
        ["systemd-socket-activate", f"--listen={path}", "--setenv=PYTHONPATH",
         sys.executable, "-m", "throttle", "serve", "--postfix", "systemd"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        process.stderr.readline()  # Listening on …
        with PolicyClient(f"unix:{path}") as client:
            assert client.ask() == DUNNO
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_unit_files_are_printed(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "throttle", "serve", "--print-unit", name], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == unit(name)
    assert "[Install]" in done.stdout


def printed(*options: str) -> str:
    """The service unit with these options."""
    done = subprocess.run(
        [sys.executable, "-m", "throttle", "serve", "--print-unit", "service", *options],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def command_of(unit: str) -> list[str]:
    """The words behind `serve` in its command."""
    (line,) = re.findall(r"^ExecStart=\S+ serve (.*)$", unit, re.MULTILINE)
    return shlex.split(line)


def test_the_options_that_are_given_stand_in_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(str(files("throttle.policies") / "inbound.toml"), tmp_path / "100% $mine.toml")
    options = [
        "--policy",
        "100% $mine.toml",
        "--policy",
        "submission=submission",
        "--memory",
        "32 MiB",
        "--max-open",
        "46000",
        "--shadow",
    ]
    assert command_of(printed(*options, "--log", "json")) == [
        *("--postfix", "systemd", "--policy", f"{tmp_path}/100%% $$mine.toml", "--policy", "submission=submission"),
        *("--memory", "32 MiB", "--max-open", "46000", "--log", "json", "--shadow"),
    ]


def test_the_unit_of_a_milter_has_its_address_and_what_it_needs() -> None:
    text = printed("--milter", "unix:/run/throttle/milter", "--authserv-id", "mx", "--on-fault", "tempfail")
    assert command_of(text) == [
        *("--milter", "unix:/run/throttle/milter", "--policy", "inbound"),
        *("--authserv-id", "mx", "--on-fault", "tempfail"),
    ]
    assert "RuntimeDirectory=throttle\n" in text
    assert "PrivateNetwork=yes\n" in text
    assert "throttle.socket" not in text
    text = printed("--milter", "inet:127.0.0.1:10045")
    assert "RuntimeDirectory" not in text
    assert "PrivateNetwork" not in text
    assert "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n" in text


def test_the_unit_of_a_milter_allows_a_file_for_each_permit() -> None:
    options = ("--milter", "inet:127.0.0.1:10045")
    assert "LimitNOFILE=10128\n" in printed(*options)
    assert "LimitNOFILE=46128\n" in printed(*options, "--max-open", "46000")
    assert "LimitNOFILE=8192\n" in printed(*options, "--policy", "submission", "--max-open", "100")
    assert "LimitNOFILE=8192\n" in printed("--max-open", "46000"), "the process that Postfix asks holds no connections"


def test_the_counters_lie_within_the_memory_of_the_unit() -> None:
    assert "MemoryMax=1024M\n" in printed()
    assert "MemoryMax=2303M\n" in printed(
        "--memory", "512 MiB", "--policy", "inbound", "--policy", "b=inbound", "--policy", "c=inbound"
    )


def test_a_unit_that_shows_metrics_may_listen_on_loopback() -> None:
    text = printed("--metrics", "127.0.0.1:9797", "--max-series", "2000")
    assert command_of(text)[-4:] == ["--metrics", "127.0.0.1:9797", "--max-series", "2000"]
    assert "PrivateNetwork" not in text
    assert "IPAddressDeny=any\n" in text
    assert "IPAddressAllow=localhost\n" in text
    assert "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n" in text


def test_a_unit_lets_other_machines_connect_only_to_an_address_of_theirs() -> None:
    for options in (
        ("--metrics", "0.0.0.0:9797"),
        ("--metrics", "[2001:db8::1]:9797"),
        ("--milter", "inet:192.0.2.1:10045"),
        ("--milter", "inet:127.0.0.1:10045", "--metrics", "mx.example.org:9797"),
    ):
        text = printed(*options)
        assert "IPAddressAllow=any\n" in text, options
        assert text.count("IPAddressAllow=") == 1, options
    for options in (("--metrics", "localhost:9797"), ("--milter", "inet:[::1]:10045", "--metrics", ":9797")):
        assert "IPAddressAllow=localhost\n" in printed(*options), options


def test_a_unit_that_shows_metrics_on_a_socket_file_has_its_directory() -> None:
    text = printed("--metrics", "unix:/run/throttle/metrics")
    assert "DynamicUser=yes\nRuntimeDirectory=throttle\n" in text
    assert "PrivateNetwork=yes\n" in text


def test_a_unit_with_control_has_a_directory_and_the_group_that_may_ask() -> None:
    path = "/run/throttle/control/socket"
    text = printed("--control", path, "--control-group", "adm", "--control-group-changes")
    assert command_of(text)[-5:] == ["--control", path, "--control-group", "adm", "--control-group-changes"]
    assert "DynamicUser=yes\nGroup=adm\nRuntimeDirectory=throttle\n" in text
    text = printed("--milter", "unix:/run/throttle/milter", "--control", path)
    assert text.count("RuntimeDirectory=throttle\n") == 1
    assert "Group=" not in text
    done = subprocess.run(
        [sys.executable, "-m", "throttle", "serve", "--print-unit", "service", "--control", "/run/other/socket"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--control: found /run/other/socket; allowed in a unit: /run/throttle/control/socket" in done.stderr


@pytest.mark.servers
def test_systemd_finds_the_unit_with_control_right_and_little_exposed(tmp_path: Path) -> None:
    path = tmp_path / "throttle-control.service"
    options = ("--milter", "unix:/run/throttle/milter", "--control", "/run/throttle/control/socket")
    path.write_text(runnable(printed(*options, "--control-group", "adm")))
    assert exposure(path) <= 2.0


@pytest.mark.servers
@pytest.mark.parametrize("address", ["unix:/run/throttle/milter", "inet:127.0.0.1:10045"])
def test_systemd_finds_the_unit_of_a_milter_right_and_little_exposed(tmp_path: Path, address: str) -> None:
    path = tmp_path / "throttle-milter.service"
    path.write_text(runnable(printed("--milter", address)))
    assert exposure(path) <= 2.0


@pytest.mark.servers
def test_systemd_finds_the_units_right_and_little_exposed(tmp_path: Path) -> None:
    paths = [tmp_path / f"throttle.{name}" for name in NAMES]
    for name, path in zip(NAMES, paths, strict=True):
        path.write_text(runnable(unit(name)))
    assert exposure(*paths) <= 2.0


def runnable(unit: str) -> str:
    """The unit with a command that is there."""
    return re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", unit, flags=re.MULTILINE)


def exposure(*paths: Path) -> float:
    """How exposed systemd finds the first unit, after it has found nothing wrong with all of them."""
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, timeout=60)
    assert not [line for line in done.stderr.splitlines() if "throttle" in line], done.stderr
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", paths[0]], capture_output=True, text=True, timeout=60
    )
    match = re.search(r"exposure level for throttle\S*\.service: ([0-9.]+)", done.stdout)
    assert match, done.stdout + done.stderr
    print(match[0])
    return float(match[1])
