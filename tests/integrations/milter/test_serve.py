"""`throttle serve --milter` as a process: it answers, loads its policy again, and ends when it is told to."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from integrations.milter.process import wait_until
from integrations.milter.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

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
    with log.open("wb") as out:
        process = subprocess.Popen([*SERVE, f"unix:{path}", "--policy", str(policy)], stderr=out)
    try:
        wait_until(lambda: b"listening: as a milter" in log.read_bytes())
        first = answers(path)
        assert first[0] != first[1] == first[2], "one of a day passes"
        policy.write_text(POLICY.format(1_000))
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: b"reloaded" in log.read_bytes())
        assert set(answers(path)) == {first[0]}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert b"ended" in log.read_bytes()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("check", [[], ["--check"]])
@pytest.mark.parametrize("address", ["inet:10045", "unix:", "nonsense"])
def test_a_wrong_address_is_one_message(address: str, check: list[str]) -> None:
    done = subprocess.run([*SERVE, address, *check], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("throttle: --milter: address: found")


def test_several_policies_are_an_error() -> None:
    arguments = ["inet:127.0.0.1:10045", "--policy", "inbound", "--policy", "x=submission", "--check"]
    done = subprocess.run([*SERVE, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "several policies" in done.stderr) == (2, True)
