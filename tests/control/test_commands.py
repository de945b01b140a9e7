"""`throttle ctl` and `throttle top` as processes, against a running `throttle serve --control`."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from integrations.postfix.policy_client import DUNNO, PolicyClient, instance
from integrations.postfix.serve_process import ServeProcess, policy_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLICY = """
[[limit]]
name = "hosts"
per = "sender.registered"
distinct = "sender.host"
rate = "3/day"

[[limit]]
name = "users"
per = "auth.user"
rate = "2/day"
"""
HOSTILE = "<script>\x1b[31m\u202e\x07"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    directory = tmp_path_factory.mktemp("serve")
    path = policy_file(directory, POLICY)
    os.environ["THROTTLE_CONTROL"] = str(directory / "control" / "socket")
    with ServeProcess(directory, "--policy", path, "--control", os.environ["THROTTLE_CONTROL"]) as process:
        with PolicyClient(process.address) as client:
            for number in range(6):
                client.ask(instance=instance(), sender=f"a@h{number}.example.com", client_port=str(2000 + number))
                client.ask(
                    instance=instance(), sasl_username=HOSTILE, client_port=str(3000 + number), sender="a@example.org"
                )
        yield process
    del os.environ["THROTTLE_CONTROL"]


def throttle(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "throttle", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def told(*arguments: str) -> Any:
    return json.loads(throttle(*arguments, "--json"))


def test_top_shows_who_is_refused_and_what_holds_him(service: ServeProcess) -> None:
    (one,) = told("top", "--once", "--identity", "sender.registered")
    (offender,) = one["identities"][0]["offenders"]
    assert (offender["value"], offender["refused"]) == ("example.com", 3)
    # Five hosts in 64 registers under a random key: two of them share one in one run of seven, three in one of 200.
    assert offender["fan_out"] in {3, 4, 5}
    text = throttle("top")
    assert re.search(rf"sender\.registered +example\.com +5 +3 +{offender['fan_out']} +hosts", text), text
    assert "hosts defers example.com: 3 messages of new hosts since " in text


@pytest.mark.parametrize(
    "output", ["log", "top", "ctl notices", "ctl explain --user {}", "explain --from a@example.org --user {}"]
)
def test_what_a_sender_wrote_is_shown_without_effect(
    service: ServeProcess, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # no cell is cut
    service.wait_for("notice: users defers ")
    text = service.log() if output == "log" else throttle(*(word.format(HOSTILE) for word in output.split()))
    assert "<script>\\x1b[31m\\u202e\\x07" in text
    assert all(line.isprintable() for line in text.split("\n"))


def test_programs_get_what_a_sender_wrote_unchanged(service: ServeProcess) -> None:
    assert json.dumps(HOSTILE) in throttle("top", "--once", "--json")


def test_a_live_top_goes_on_until_it_is_interrupted(service: ServeProcess) -> None:
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "throttle", "top", "--interval", "0.5"],
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(side)
    seen = b""
    try:
        while seen.count(b"example.com") < 4 and select.select([terminal], [], [], 20)[0]:
            seen += os.read(terminal, 65536)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # of a terminal whose last program has ended
            while select.select([terminal], [], [], 20)[0] and os.read(terminal, 65536):
                pass
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert process.returncode in (0, 130)
    assert b"\\x1b[31m" in seen, "what a user wrote is escaped; the other escapes are those of the table"


def test_an_operator_blocks_and_unblocks(service: ServeProcess) -> None:
    assert throttle("ctl", "block", "sender.org", "example.net", "--for", "1 hour") == (
        "blocked: sender.org example.net for 1 hour\n"
    )
    assert re.search(
        r"^block sender.org example.net, for (59|60) min more, by operator$", throttle("ctl", "list"), re.M
    )
    with PolicyClient(service.address) as client:
        assert "example.net is blocked" in client.ask(instance=instance(), sender="x@example.net", client_port="4001")
        assert throttle("ctl", "unblock", "sender.org", "example.net") == "removed: sender.org example.net\n"
        assert client.ask(instance=instance(), sender="x@example.net", client_port="4002") == DUNNO
    assert "there was no entry" in throttle("ctl", "unblock", "sender.org", "example.net", code=1)


def test_allow_reset_mode_status_and_reload(service: ServeProcess) -> None:
    assert (
        throttle("ctl", "allow", "client.net", "192.0.2.0/28")
        == "allowed: client.net 192.0.2.0/28 until the service ends\n"
    )
    assert "allow client.net 192.0.2.0/28, until the service ends" in throttle("ctl", "list")
    throttle("ctl", "unblock", "client.net", "192.0.2.0/28")
    assert "in 1 limit\n" in throttle("ctl", "reset", "auth.user", HOSTILE)
    assert throttle("ctl", "mode", "shadow") == "mode: shadow, was enforce\n"
    assert ": shadow, 2 limits" in throttle("ctl", "status")
    assert throttle("ctl", "mode", "enforce") == "mode: enforce, was shadow\n"
    assert throttle("ctl", "reload") == "reloaded\n"


def test_explain_tells_what_the_running_service_would_say(service: ServeProcess) -> None:
    text = throttle("ctl", "explain", "--from", "x@new.example.com", "--ip", "192.0.2.7")
    assert text.startswith("Refused at mail by hosts: 451 4.7.28 ")
    (one,) = told("ctl", "explain", "--from", "x@new.example.com", "--ip", "192.0.2.7")
    assert one["explanation"]["limit"] == "hosts"


def test_diagnose_needs_an_hour_before(service: ServeProcess) -> None:
    assert throttle("diagnose").startswith("There is too little history: 0 full minutes before ")
    (one,) = told("diagnose")
    assert (one["diagnosis"]["state"], one["findings"]) == ("early", [])


WRONG = [
    (("block", "sender.org", "co.uk"), "too broad"),
    (("block", "sender.nothing", "a.com"), "sender.nothing"),
    (("block", "sender.org", "a.com", "--for", "soon"), 'throttle: for: found "soon"; allowed: a whole number and a'),
    (("mode", "off"), "mode: found 'off'; allowed: enforce, shadow"),
    (("status", "--policy", "x"), "policy: found 'x'; allowed: none, since the only policy has no name"),
]


@pytest.mark.parametrize(("arguments", "wrong"), WRONG)
def test_what_is_wrong_is_one_line(service: ServeProcess, arguments: tuple[str, ...], wrong: str) -> None:
    text = throttle("ctl", *arguments, code=2)
    assert text.startswith("throttle: ")
    assert wrong in text
    assert len(text.splitlines()) == 1


def test_a_reload_that_fails_ends_with_two(tmp_path: Path) -> None:
    path = policy_file(tmp_path, POLICY)
    control = str(tmp_path / "control" / "socket")
    with ServeProcess(tmp_path, "--policy", path, "--control", control):
        policy_file(tmp_path, '[[limit]]\nname = "one"\nper = "sender.org"\nrate = "2/minute"\n')
        assert throttle("ctl", "reload", "--control", control) == "reloaded\n"
        assert ": enforce, 1 limit\n  checks" in throttle("ctl", "status", "--control", control)
        policy_file(tmp_path, "wrong")
        assert "the earlier policy stays" in throttle("ctl", "reload", "--control", control, code=2)


def test_without_a_service_the_command_to_start_one_is_told(tmp_path: Path) -> None:
    control = str(tmp_path / "socket")
    for command in (("top",), ("ctl", "status")):
        text = throttle(*command, "--control", control, code=2)
        assert f"is `throttle serve --control {control}` running?" in text
