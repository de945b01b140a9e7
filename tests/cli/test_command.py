"""The command line: what is wrong is said in one message that names the place, with exit code 2 and no traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from throttle import Limit, Policy, __version__
from throttle.cli.app import app

# stands in front of the package search: an import of the named package fails as if it were not installed
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from throttle.cli import main
main()
"""


def throttle(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "throttle", *arguments]
    # Without `env` a child gets the COLUMNS that readline, which pytest imports, has set behind Python's back.
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)


def test_the_version_is_printed_alone() -> None:
    assert throttle("--version").stdout == f"throttle {__version__}\n"


COMMANDS = [
    (),
    ("bench",),
    ("ctl",),
    *(("ctl", verb) for verb in ("allow", "block", "explain", "list", "mode", "notices", "reload", "reset", "status")),
    ("ctl", "unblock"),
    ("demo",),
    ("diagnose",),
    ("explain",),
    ("metrics",),
    ("metrics", "rules"),
    ("metrics", "alertmanager"),
    ("metrics", "scrape-config"),
    ("metrics", "dashboard"),
    ("policy",),
    ("policy", "check"),
    ("policy", "show"),
    ("policy", "schema"),
    ("replay",),
    ("serve",),
    ("top",),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_ends_with_an_example(command: tuple[str, ...]) -> None:
    done, short = (CliRunner().invoke(app, [*command, option], prog_name="throttle") for option in ("--help", "-h"))
    assert done.exit_code == 0
    assert done.stdout.strip().splitlines()[-1].strip().startswith("Example: throttle")
    assert (short.exit_code, short.stdout) == (0, done.stdout)


def test_each_alert_links_to_its_runbook_where_the_pages_are_published() -> None:
    plain, linked = throttle("metrics", "rules"), throttle("metrics", "rules", "--pages", "https://docs.example.com/t/")
    runbooks = [line.split()[1] for line in linked.stdout.splitlines() if "runbook: " in line]
    assert len(runbooks) == plain.stdout.count("runbook: ") > 5
    assert all(runbook.startswith("https://docs.example.com/t/alerts.html#throttle") for runbook in runbooks)
    assert linked.stdout.replace("https://docs.example.com/t/", "") == plain.stdout
    wrong = throttle("metrics", "rules", "--pages", "docs example")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "--pages: found 'docs example'; allowed: a URL" in wrong.stderr


@pytest.mark.parametrize("columns", [60, 130])
def test_a_help_in_a_pipe_is_as_wide_as_columns_says(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert {len(line) for line in throttle("demo", "-h").stdout.splitlines() if line.startswith("│")} == {columns}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (("throttle", "pol"), ["policy"]),
        (("throttle", "policy", "s"), ["schema", "show"]),
        (("throttle", "demo", "--mess"), ["--messages"]),
    ],
)
def test_bash_completes_commands_and_options(words: tuple[str, ...], completed: list[str]) -> None:
    script = (
        'eval "$(throttle --show-completion)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_throttle_completion throttle; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    bash = ["bash", "--norc", "-c", script, "bash", *words]
    done = subprocess.run(bash, capture_output=True, text=True, timeout=60, env=os.environ | {"PATH": path})
    assert (sorted(done.stdout.split()), done.stderr) == (completed, "")


def test_policy_check_shows_every_limit_with_what_it_is_kept_per_and_its_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    file = tmp_path / "policy.toml"
    file.write_text('[[limit]]\nname = "pace"\nper = ["client.net", "sender.org"]\nrate = "5/minute"\n')
    done = throttle("policy", "check", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith(f"{file}: 1 limit, ")
    words = done.stdout.splitlines()[1]
    assert words.split()[:2] == ["pace", "per"]
    assert " + sender.org: rate 5/minute" in words


def test_policy_check_leaves_nothing_out_that_a_limit_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    share = Limit(
        name="open", per="global", in_flight=9, share={"per": ["client.net", "sender.org"], "of_free": "1/10"}
    )
    named = Limit(name="org", per="sender.org", rate="5/minute", mode="shadow", quota={"ex.com": {"rate": "7/minute"}})
    file = tmp_path / "policy.toml"
    file.write_text(Policy([share, named]).to_toml())
    shown = [line.partition(": ")[2] for line in throttle("policy", "check", str(file)).stdout.splitlines()[1:]]
    assert shown == [
        "in_flight 9, share (per client.net + sender.org, of_free 1/10)",
        "rate 5/minute, mode shadow, quota (ex.com (rate 7/minute))",
    ]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("policy", "check", "{dir}/missing.toml"), "missing.toml"),
        (("policy", "check", "{dir}"), "{dir}"),
        (("policy", "check", "{dir}/broken.toml"), "broken.toml"),
        (("demo", "--policy", "{dir}/missing.toml"), "missing.toml"),
        (("demo", "--policy", "{dir}/broken.toml"), "broken.toml"),
        (("demo", "--memory", "seven"), "seven"),
        (("demo", "--messages", "0"), "--messages"),
        (("demo", "--messages", "many"), "--messages"),
        (("demo", "--out", "{dir}/broken.toml"), "broken.toml"),
        (("flood",), "flood"),
    ],
)
def test_bad_input_is_named_and_ends_with_2(arguments: tuple[str, ...], named: str, tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[[limit\n")
    done = throttle(*(argument.format(dir=tmp_path) for argument in arguments))
    assert done.returncode == 2
    assert named.format(dir=tmp_path) in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("package", "extra"),
    [
        ("typer", "cli"),
        ("aiosmtpd", "demo"),
        ("limits", "demo"),
        ("psutil", "demo"),
        ("matplotlib", "demo"),
        ("prometheus_client", "demo"),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_extra_that_brings_it(package: str, extra: str) -> None:
    code = WITHOUT.format(package=package)
    done = subprocess.run([sys.executable, "-c", code, "demo"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [done.stderr.rstrip("\n")]
    assert package in done.stderr
    assert f"pip install 'mailthrottle[{extra}]'" in done.stderr
