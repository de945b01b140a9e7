"""`throttle policy`: several files at once, as text and as JSON; what a policy comes to; its schema."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from throttle import Policy, Throttle

if TYPE_CHECKING:
    from pathlib import Path

RIGHT = 'extends = "inbound"\nscale = 2\nwithout = ["auth-pace"]\n'

WRONG = '[[limit]]\nname = "pace"\nper = "client.net"\nrate = "0/minute"\n'


def policy(*arguments: object, columns: int | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "throttle", "policy", *map(str, arguments)]
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    if columns is not None:
        env["COLUMNS"] = str(columns)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    right, wrong, none = tmp_path / "right.toml", tmp_path / "wrong.toml", tmp_path / "none.toml"
    right.write_text(RIGHT)
    wrong.write_text(WRONG)
    return right, wrong, none


def test_every_file_is_looked_at_and_one_wrong_one_ends_with_2(files: tuple[Path, Path, Path]) -> None:
    right, wrong, none = files
    done = policy("check", wrong, none, right)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f'throttle: {wrong}:4: limit "pace", rate: found "0/minute"; allowed: an amount from 1 to 2^50',
        f"throttle: {none}: No such file or directory",
    ]
    assert done.stdout.splitlines()[0].startswith(f"{right}: {len(Policy.builtin().limits) - 1} limits, ")
    assert (policy("check", right, right).returncode, policy("check", right).stderr) == (0, "")


def test_check_tells_a_program_the_same(files: tuple[Path, Path, Path]) -> None:
    right, wrong, none = files
    done = policy("check", right, wrong, none, "--json", "--memory", "8 MiB", "--max-open", "500")
    assert (done.returncode, done.stderr) == (2, "")
    good, bad, absent = json.loads(done.stdout)
    assert (good["file"], good["error"]) == (str(right), None)
    assert good["memory_bytes"] == Throttle(right, memory="8 MiB", max_open=500).memory_bytes
    assert good["limits"][0] == Policy.from_file(right).limits[0].fields
    assert bad["error"] == {
        "message": f'{wrong}:4: limit "pace", rate: found "0/minute"; allowed: an amount from 1 to 2^50',
        "file": str(wrong),
        "line": 4,
        "column": None,
        "limit": "pace",
        "field": "rate",
        "found": '"0/minute"',
        "allowed": "an amount from 1 to 2^50",
        "suggestion": None,
    }
    assert absent == {"file": str(none), "error": {"message": f"{none}: No such file or directory"}}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--memory", "64 KiB"), "memory: found a budget of 65536 bytes (64 KiB); allowed: at least"),
        (("--memory", "much"), 'memory: found "much"'),
        (("--max-open", "0"), "max_open: found 0"),
        (("--max-open", "many"), "max-open"),
    ],
)
@pytest.mark.parametrize("command", ["check", "show"])
def test_an_option_that_will_not_do_is_named(
    files: tuple[Path, Path, Path], command: str, options: tuple[str, str], named: str
) -> None:
    done = policy(command, files[0], *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_show_has_a_row_for_each_limit_and_each_quota() -> None:
    done = policy("show")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("inbound.toml, 16 MiB, mode enforce, scale 1\n")
    first = [line.split()[0] for line in done.stdout.splitlines() if line.startswith(" ") and line[1] not in " ─"]
    rows = Policy.builtin().plan()
    assert first[1:] == [row["limit"] for row in rows]
    below = [line.strip() for line in done.stdout.splitlines() if line.startswith("   ")]
    for row in rows:
        assert any(
            line.startswith(row["per"] if row["quota"] is None else f"quota of {row['quota']} ") for line in below
        )
    for column in ("+ known", "Keys a minute", "Hours to fill", "One key"):
        assert sum(line.startswith(f"{column}: ") for line in done.stdout.splitlines()) == 1


@pytest.mark.parametrize("command", ["show", "check"])
@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_output_is_as_wide_as_columns_says_and_nothing_is_cut(command: str, columns: int) -> None:
    whole = policy(command, "inbound").stdout
    done = policy(command, "inbound", columns=columns)
    assert max(map(len, done.stdout.splitlines())) <= columns
    assert "…" not in done.stdout
    names = [row["limit"] for row in Policy.builtin().plan()]
    numbers = re.findall(r"\d+/[\w ]*minute|\d[\d,]*", whole.partition("\n")[2])
    assert not [word for word in names + numbers if word not in " ".join(done.stdout.split())]
    if command == "show":
        assert "client.net/24/48 + rcpt.address" in done.stdout


def test_show_tells_a_program_the_plan(files: tuple[Path, Path, Path]) -> None:
    told: dict[str, Any] = json.loads(policy("show", files[0], "--json", "--memory", "64 MiB").stdout)
    right = Policy.from_file(files[0])
    assert told == {
        "file": str(files[0]),
        "mode": "enforce",
        "scale": 2.0,
        "series": list(right.series_bound()),
        "limits": right.plan(memory="64 MiB"),
    }


def test_show_prints_one_file_that_comes_to_the_same(files: tuple[Path, Path, Path]) -> None:
    done = policy("show", files[0], "--toml")
    assert "extends" not in done.stdout
    assert Policy.parse(done.stdout) == Policy.from_file(files[0])
    assert policy("show", "submission", "--toml").stdout == Policy.builtin("submission").to_toml()


@pytest.mark.parametrize("which", [1, 2])
def test_a_wrong_file_is_not_shown(files: tuple[Path, Path, Path], which: int) -> None:
    done = policy("show", files[which])
    assert (done.returncode, done.stdout) == (2, "")
    assert str(files[which]) in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_schema_is_printed_as_the_package_has_it() -> None:
    assert policy("schema").stdout == Policy.schema()


@pytest.mark.parametrize("command", ["check", "show"])
def test_the_help_says_what_the_exit_code_means(command: str) -> None:
    words = " ".join(policy(command, "--help").stdout.replace("│", " ").split())
    assert "Exit code: 0 when all is right, 2 when something is wrong" in words


def test_a_plan_shares_the_memory_of_the_guard() -> None:
    rows = Policy.builtin().plan(memory="32 MiB")
    tables = {table.table: table.bytes for table in Throttle(memory="32 MiB").tables()}
    for row in rows:
        name = row["limit"] if row["quota"] is None else f"{row['limit']}, quota of {row['quota']}"
        own = tables[name] + tables.get(f"sketch of {name}", 0) + tables.get(f"registers of {name}", 0)
        assert row["bytes"] == own
        shared = [table.partition(" of ") for table in tables if table.startswith(("memory of ", "notes of "))]
        memories = [tables["".join(table)] for table in shared if row["limit"] in table[2].split(", ")]
        assert row["memory_bytes"] == sum(memories)


def test_built_in_policies_are_checked_by_name() -> None:
    done = policy("check", "inbound", "submission")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("inbound", "submission"):
        assert f"{name}: {len(Policy.builtin(name).limits)} limits, " in done.stdout


def test_a_policy_is_shown_with_its_lists_and_its_file_of_quotas(tmp_path: Path) -> None:
    (tmp_path / "quotas.csv").write_text("limit,value,rate\npace,a.com,9/minute\npace,b.com,9/minute\n")
    entries = """
[[block]]
identity = "client.ip"
value = "203.0.113.9"
[[allow]]
identity = "sender.org"
value = "ex.com"
until = 2001-01-01T00:00:00Z
"""
    limit = '[[limit]]\nname = "pace"\nper = "sender.org"\nrate = "5/minute"\n'
    file = tmp_path / "policy.toml"
    file.write_text(f'quota_file = "quotas.csv"\n{entries}{limit}')
    lines = [
        f"{tmp_path / 'quotas.csv'}: 2 values with quotas",
        "2 entries in [[allow]] and [[block]], 1 of them ended and left out",
    ]
    (tmp_path / "one.toml").write_text(f'{limit}[[block]]\nidentity = "client.ip"\nvalue = "203.0.113.9"\n')
    assert "\n  1 entry in [[allow]] and [[block]]\n" in policy("check", tmp_path / "one.toml").stdout
    for command in ("check", "show"):
        told = policy(command, file)
        assert told.returncode == 0
        assert [line.strip() for line in told.stdout.splitlines() if line.strip() in lines] == lines
    [one] = json.loads(policy("check", file, "--json").stdout)
    assert (one["quota_file"], one["ended"], len(one["entries"])) == ([str(tmp_path / "quotas.csv"), 2], 1, 2)
