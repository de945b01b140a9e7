"""`throttle serve --milter` as a process: it answers, loads its policy again, and ends when it is told to."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from integrations.loopback import wait_until, wait_until_sighup_is_blocked
from integrations.milter.process import served
from integrations.milter.wire import Wire

pytestmark = pytest.mark.servers
pytest.importorskip("throttle.milter", reason="pymilter is not installed")

SERVE = [sys.executable, "-m", "throttle", "serve", "--milter"]
POLICY = '[[limit]]\nname = "pair"\nper = "sender.org"\nrate = "{}/day"\n'


def answers(path: Path) -> list[str]:
    """What the same sender gets for three messages."""
    with Wire(str(path)) as wire:
        wire.connect("192.0.2.1")
        wire.helo(b"mx")
        return [repr(wire.mail(b"<a@b.com>")) for _ in range(3)]


def test_it_answers_reloads_and_ends(tmp_path: Path) -> None:
    path, policy, log = tmp_path / "milter", tmp_path / "policy.toml", tmp_path / "log"
    policy.write_text(POLICY.format(1))
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*SERVE, f"unix:{path}", "--policy", str(policy), "--log", "json"],
            stderr=out,
            env=os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
    try:
        wait_until(lambda: b"as a milter" in log.read_bytes())
        first = answers(path)
        assert first[0] != first[1] == first[2], "one of a day passes"
        policy.write_text(POLICY.format(1_000))
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: b"reloaded" in log.read_bytes())
        assert set(answers(path)) == {first[0]}
        with Wire(str(path)) as wire:
            wire.connect("192.0.2.1")
            wire.helo(b"\xff")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    fault = "fault at a HELO name that is not UTF-8, which is not counted"
    assert [event for event in events if event != "notice"] == ["policy", "listening", "reloaded", fault, "ended"]
    with manager:
        manager.setblocking(False)
        states = [manager.recv(4096).partition(b"\n")[0] for _ in range(4)]
    assert [state for state in states if state != b"WATCHDOG=1"][:3] == [b"READY=1", b"RELOADING=1", b"READY=1"]


def test_what_was_asked_before_the_end_is_done(tmp_path: Path) -> None:
    """SIGHUP waits for the next tick, up to two seconds; SIGTERM behind it does not."""
    path, policy, log = tmp_path / "milter", tmp_path / "policy.toml", tmp_path / "log"
    policy.write_text(POLICY.format(1))
    with log.open("wb") as out:
        process = subprocess.Popen([*SERVE, f"unix:{path}", "--policy", str(policy), "--log", "json"], stderr=out)
    try:
        wait_until(lambda: b"as a milter" in log.read_bytes())
        answers(path)
        policy.write_text("wrong")
        process.send_signal(signal.SIGHUP)
        # While it is pending, a second signal wakes the thread of libmilter that waits for signals, and that takes it.
        status = Path(f"/proc/{process.pid}/status")
        wait_until(lambda: re.search(r"^ShdPnd:\t0+$", status.read_text(), re.MULTILINE) is not None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert sorted(events) == ["ended", "listening", "notice", "policy", "reload failed"]  # a tick may tell the notice


def test_sighup_before_the_milter_is_ready_loads_the_policy_once_it_is(tmp_path: Path) -> None:
    path, log = tmp_path / "milter", tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([*SERVE, f"unix:{path}", "--log", "json"], stderr=out)
    try:
        wait_until_sighup_is_blocked(process.pid)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: b"reloaded" in log.read_bytes())
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events == ["policy", "listening", "reloaded", "ended"]


def test_its_metrics_count_steps_and_open_connections(tmp_path: Path) -> None:
    path = tmp_path / "milter"
    with served(f"unix:{path}", POLICY.format(1)) as milter:
        assert (milter.metric("throttle_requests_total"), milter.metric("throttle_connections")) == (0, 0)
        with Wire(str(path)) as first, Wire(str(path)) as second:
            first.connect("192.0.2.1")
            second.connect("192.0.2.2")
            first.helo(b"mx")
            assert first.mail(b"<a@b.com>") != first.mail(b"<a@b.com>"), "the second is refused, which is an answer too"
            assert (milter.metric("throttle_requests_total"), milter.metric("throttle_connections")) == (5, 2)
        wait_until(lambda: milter.metric("throttle_connections") == 0)
        assert milter.metric("throttle_errors_total") == 0


@pytest.mark.parametrize("check", [[], ["--check"]])
@pytest.mark.parametrize("address", ["inet:10045", "inet:127.0.0.1:0", "unix:", "systemd", "nonsense"])
def test_a_wrong_address_is_one_message(address: str, check: list[str]) -> None:
    done = subprocess.run([*SERVE, address, *check], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("throttle: --milter: found")


def test_a_socket_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    command = [*SERVE, f"unix:{tmp_path}/none/milter"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    last = f"throttle: --milter: unix:{tmp_path}/none/milter: there is no directory {tmp_path}/none\n"
    assert (done.returncode, done.stderr.splitlines(keepends=True)[-1]) == (2, last)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--policy", "inbound", "--policy", "x=submission"], "several policies"),
        (["--policy", "x=inbound"], "found policy x=inbound; allowed: without NAME="),
        (["--authserv-id", "a b"], "authserv_id: found 'a b'"),
        (["--authserv-id", "mx", "--authserv-fields", "0"], "fields: found 0"),
    ],
)
def test_check_tries_every_option(options: list[str], message: str) -> None:
    command = [*SERVE, "inet:127.0.0.1:10045", *options, "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, message in done.stderr) == (2, True)


def test_check_of_what_is_right_listens_nowhere() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = ["--authserv-id", "mx", "--on-fault", "tempfail", "--check"]
        command = [*SERVE, f"inet::{taken.getsockname()[1]}", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "policy: inbound: " in done.stderr) == (0, True)
