"""`throttle explain`: one message, limit by limit, for somebody who has never seen the project."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from throttle import Policy

INCIDENT = "bounce-817@a1.b2.c3.d4.e5.f6.sandbox.salesforce.com"
OPTIONS = ("--from", INCIDENT, "--ip", "198.51.100.7", "--to", "in@box.test", "--reply-to", "one@constant.com")


def explain(*options: str) -> subprocess.CompletedProcess[str]:
    wide = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "throttle", "explain", *options], capture_output=True, text=True, check=False, env=wide
    )


def told(*options: str) -> dict[str, Any]:
    done = explain(*options, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    explanation: dict[str, Any] = json.loads(done.stdout)
    return explanation


def rows(explanation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["limit"]: row for row in explanation["limits"]}


def test_the_message_of_the_incident_is_told_in_words() -> None:
    done = explain(*OPTIONS, "--after", "250")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == (
        f"A message from {INCIDENT}, after 250 like it from hosts beside it, is refused by the limit org-fan-out."
    )
    assert lines[1].startswith("The server would answer: 451 4.7.28 salesforce.com sends under too many new names")
    line = next(line for line in lines if line.lstrip().startswith("org-fan-out"))
    assert "new sender.host per sender.registered" in line
    assert "salesforce.com (claimed)" in line
    assert "200 of 200 (+1)" in line
    assert "refuses for 3 s" in line
    assert "  auth-pace: there is no auth.user" in lines
    assert any(line.startswith("claimed   anybody can write it") for line in lines)


def test_every_limit_of_the_policy_stands_in_it_once_or_says_why_not() -> None:
    explanation = told(*OPTIONS)
    assert [row["limit"] for row in explanation["limits"]] == [limit.name for limit in Policy.builtin().limits]
    for row in explanation["limits"]:
        assert (row["key"] is None) == (row["verdict"] == "skipped") == bool(row["reason"])


def test_levels_are_what_came_before() -> None:
    cold, warm = (rows(told(*OPTIONS, "--after", after)) for after in ("0", "7"))
    for limit in ("net-pace", "pair-pace", "org-fan-out", "rcpt-pace"):
        assert (cold[limit]["level"], warm[limit]["level"]) == (0, 7)
    assert warm["reply-to-fan-out"]["level"] == 1, "one organisation"
    assert warm["reply-to-fan-out"]["takes"] == 0, "which is known by now"


def test_the_header_of_a_message_is_read(tmp_path: Path) -> None:
    file = tmp_path / "message.eml"
    file.write_bytes(b"From: Joe <joe@a.com>\r\nReply-To: help@b.com\r\n\r\nHello\r\n")
    explanation = told("--from", "x@c.com", "--ip", "192.0.2.1", "--message", str(file))
    assert explanation["identities"]["reply_to.address"] == {"values": ["help@b.com"], "proven": False}
    assert explanation["identities"]["from.address"]["values"] == ["joe@a.com"]


def test_what_is_proven_is_told() -> None:
    explanation = told("--from", "x@mx.c.com", "--ip", "192.0.2.1", "--spf", "pass")
    assert explanation["identities"]["sender.org"] == {"values": ["c.com"], "proven": True}
    assert rows(explanation)["host-pace"]["verdict"] == "fits"


def test_a_wait_without_end_is_null(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[limit]]\nname = "small"\nper = "client.net"\nrate = "1 KiB/hour"\n')
    row = rows(told("--from", "x@c.com", "--ip", "192.0.2.1", "--size", "2000", "--policy", str(policy)))["small"]
    assert (row["verdict"], row["retry_after"], row["most"]) == ("refuses", None, 1024)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--policy", "nowhere.toml"), "nowhere.toml: No such file or directory"),
        (("--message", "nowhere.eml"), "nowhere.eml: No such file or directory"),
        (("--learned", "nowhere.gz"), "nowhere.gz"),
    ],
)
def test_a_file_that_is_not_there_is_named_without_a_traceback(options: tuple[str, ...], message: str) -> None:
    done = explain(*OPTIONS, *options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
