"""`throttle replay` refuses the outage in a log; its report names the organisation, the limit and the Reply-To."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from outage_log import FLOODED, REPLY_TO, comma_separated, json_lines, postfix, said
from throttle import Throttle
from throttle.replay.notes import Notes
from throttle.replay.reading import Log
from throttle.replay.run import Replay
from throttle.tags import TAGS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from outage_log import Said

SEED = "replay"
FLOOD = 2_500
NOW = 1_800_000_000.0


def replay(*arguments: str, stdin: bytes | None = None, columns: int | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "throttle", "replay", *arguments]
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TZ": "UTC"}
    if columns is not None:
        env["COLUMNS"] = str(columns)
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, env=env)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def told(*arguments: str, stdin: bytes | None = None) -> dict[str, Any]:
    done = replay(*arguments, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no progress where nobody looks
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


@pytest.fixture(scope="module")
def sent() -> list[Said]:
    return list(said(SEED, 6_000, 1.0, FLOOD))


@pytest.fixture(scope="module")
def logs(sent: Sequence[Said], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("logs")
    texts = {"mail.log": postfix(sent, SEED), "t.jsonl": json_lines(sent), "t.csv": comma_separated(sent)}
    for name, lines in texts.items():
        (folder / name).write_text("".join(lines))
    return {name: folder / name for name in texts}


@pytest.mark.parametrize("name", ["mail.log", "t.jsonl", "t.csv"])
def test_the_outage_is_refused_and_named(logs: dict[str, Path], sent: list[Said], name: str) -> None:
    report = told(str(logs[name]), "--year", "2026")
    assert abs(report["transactions"] - len(sent)) <= len(sent) * 0.001
    assert report["log"]["broken"] == 0
    first = report["refused_by"][0]
    assert (first["limit"], first["identity"]) == ("org-fan-out", "sender.registered")
    assert first["keys"][0]["key"] == FLOODED
    assert FLOOD - 700 <= first["count"] <= FLOOD  # two hundred at once, two hundred in each ten minutes
    assert first["keys"][0]["fan_out"] == pytest.approx(first["count"], rel=0.15)
    assert report["refused"] - first["count"] <= 0.001 * len(sent)
    if name != "mail.log":
        assert report["reply_to"][0]["value"] == REPLY_TO
        assert first["keys"][0]["reply_to"] == [{"value": REPLY_TO, "count": first["keys"][0]["count"]}]


def test_the_flood_is_refused_after_at_most_250_of_its_messages_and_nobody_else_is(logs: dict[str, Path]) -> None:
    run = Replay(Throttle())
    before = refused = innocents = 0
    for transaction in Log([str(logs["t.jsonl"])], Notes(), now=NOW).transactions():
        allowed = run.add(transaction)
        if transaction.reply_to == REPLY_TO:
            refused += not allowed
            before += allowed and not refused
        else:
            innocents += not allowed
    assert refused
    assert before <= 250
    assert innocents == 0


def test_tables_are_for_somebody_who_has_never_seen_the_project(logs: dict[str, Path]) -> None:
    done = replay(str(logs["t.jsonl"]))
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "What would have been refused",
        FLOODED,
        f"{REPLY_TO} (100%)",
        f"Commonest Reply-To of what was refused: {REPLY_TO}",
        "Who sends most",
        "Suggested scale: 1",
        "The rule:",
        "what the server reports, so these refused nothing: ",
        ": net-connections, all-connections, all-open, all-bytes, harvest",
    ):
        assert words in done.stdout


def test_a_pipe_is_as_wide_as_columns_says(logs: dict[str, Path]) -> None:
    def width(columns: int | None) -> int:
        return max(map(len, replay(str(logs["t.jsonl"]), columns=columns).stdout.splitlines()))

    assert width(90) <= 90 < width(150) <= 150 < width(None) <= 200


def test_rotated_zipped_and_piped_logs_tell_the_same(logs: dict[str, Path], tmp_path: Path) -> None:
    lines = logs["mail.log"].read_text().splitlines(keepends=True)[8_000:32_000]  # the flood is in the midst
    half = len(lines) // 2
    (tmp_path / "whole.log").write_text("".join(lines))
    with gzip.open(tmp_path / "mail.log.1.gz", "wt") as older:
        older.writelines(lines[:half])
    (tmp_path / "mail.log").write_text("".join(lines[half:]))
    whole = told(str(tmp_path / "whole.log"))
    assert whole["refused"] > 1_000
    # In the order in which a shell names them, which is not that of time.
    rotated = told(str(tmp_path / "mail.log"), str(tmp_path / "mail.log.1.gz"))
    piped = told("-", stdin=gzip.compress("".join(lines).encode()))
    assert rotated["log"]["files"] == [str(tmp_path / "mail.log.1.gz"), str(tmp_path / "mail.log")]
    for other in (rotated, piped):
        assert {**other, "log": {**other["log"], "files": []}} == {**whole, "log": {**whole["log"], "files": []}}


def test_what_was_learned_spares_the_next_replay_the_cold_start(logs: dict[str, Path], tmp_path: Path) -> None:
    state = tmp_path / "known.jsonl.gz"
    first = told(str(logs["t.jsonl"]), "--learn", str(state))
    assert first["learned"]["elements"] > 500
    again = told(str(logs["t.jsonl"]), "--learned", str(state))
    new = {
        name: next(row for row in run["limits"] if row["limit"] == "net-org-fan-out")
        for name, run in (("cold", first), ("warm", again))
    }
    assert new["warm"]["limit"] == new["cold"]["limit"]
    assert again["refused"] <= first["refused"]


def test_a_limit_in_shadow_mode_is_told_apart(logs: dict[str, Path], tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[[limit]]\nname = "hosts"\nper = "sender.registered"\ndistinct = "sender.host"\nrate = "200/10 minutes"\n'
        'mode = "shadow"\n'
    )
    report = told(str(logs["t.jsonl"]), "--policy", str(policy), "--memory", "1 MiB")
    assert (report["refused"], report["refused_by"]) == (0, [])
    assert report["shadow"][0]["limit"] == "hosts"
    assert report["shadow"][0]["keys"][0]["key"] == FLOODED
    assert report["shadow"][0]["count"] > FLOOD / 2


def test_quotas_and_scale_are_suggested_with_their_rules(tmp_path: Path) -> None:
    lines = [
        json.dumps({"time": n / 2, "client_ip": f"192.0.{n % 200}.1", "mail_from": f"a@org{n % 40}.com"})
        for n in range(12_000)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    policy = tmp_path / "policy.toml"
    policy.write_text('[[limit]]\nname = "pace"\nper = "sender.org"\nrate = "4/minute"\n')
    found = told(str(tmp_path / "t.jsonl"), "--policy", str(policy))["suggestions"]
    # Each organisation sends three a minute; twice that are six, which is a scale of 1.5.
    assert found["scale"] == pytest.approx(1.5, abs=0.51)
    assert found["scale_rule"]
    assert found["quotas"] == []
    policy.write_text('[[limit]]\nname = "pace"\nper = "sender.org"\nrate = "1/minute"\n')
    quotas = told(str(tmp_path / "t.jsonl"), "--policy", str(policy))["suggestions"]["quotas"]
    assert {quota["rate"] for quota in quotas} <= {"4/minute", "5/minute"}
    assert quotas


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("{dir}/missing.log",), "missing.log"),
        (("{dir}/strange.log",), "strange.log"),
        (("{dir}/good.jsonl", "--format", "xml"), "--format"),
        (("{dir}/good.jsonl", "--policy", "{dir}/strange.log"), "strange.log"),
        (("{dir}/good.jsonl", "--memory", "seven"), "seven"),
        (("{dir}/good.jsonl", "--suffix-list", "{dir}/good.jsonl"), "good.jsonl"),
        (("{dir}/good.jsonl", "--learned", "{dir}/good.jsonl"), "throttle-known"),
        (("{dir}/good.jsonl", "--learn", "{dir}/no/where"), "--learn"),
        (("{dir}/good.jsonl", "--learn", "{dir}"), ": is a directory; allowed: a file"),
        (("{dir}/good.jsonl", "--learn", "/proc/known.jsonl"), "--learn /proc/known.jsonl: No such file or directory"),
        (("-", "-"), "-: found twice"),
        (("{dir}/good.jsonl", "--format", "\x1b[31m"), "\\x1b[31m"),
    ],
)
def test_bad_input_is_named_and_ends_with_2(arguments: tuple[str, ...], named: str, tmp_path: Path) -> None:
    (tmp_path / "strange.log").write_text("what\n" * 3)
    (tmp_path / "good.jsonl").write_text('{"time": 1, "helo": "a"}\n')
    done = replay(*(argument.format(dir=tmp_path) for argument in arguments), stdin=b"")
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_log_that_is_damaged_in_its_midst_is_told_and_the_rest_replayed(
    logs: dict[str, Path], tmp_path: Path
) -> None:
    zipped = gzip.compress(logs["t.jsonl"].read_bytes())
    (tmp_path / "cut.gz").write_bytes(zipped[: len(zipped) // 2])
    report = told(str(tmp_path / "cut.gz"))
    assert report["transactions"] > 1000
    assert report["log"]["broken"] >= 1


def test_bytes_that_are_no_utf_8_are_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(
        b'{"time": 1, "mail_from": "a@\xff\xfe.com"}\n\x00\xff\n{"time": 2, "helo": "a"}\n'
    )
    report = told(str(tmp_path / "t.jsonl"))
    assert (report["transactions"], report["log"]["broken"]) == (2, 1)


def test_what_a_sender_wrote_and_no_terminal_takes_is_shown_as_an_escape(tmp_path: Path) -> None:
    """A lone surrogate in JSON, refused and so in the report, beside a field whose name has one."""
    policy = tmp_path / "policy.toml"
    policy.write_text('[[limit]]\nname = "few"\nper = "client.ip"\nrate = "2/hour"\n')
    line = {"time": NOW, "client_ip": "192.0.2.1", "mail_from": "x@a.com", "reply_to": "\ud800@x.com", "\ud800": 1}
    log = tmp_path / "log.jsonl"
    log.write_text("".join(f"{json.dumps(line)}\n" for _ in range(5)))
    done = replay(str(log), "--policy", str(policy))
    assert done.returncode == 0, done.stderr
    assert "\\ud800@x.com" in done.stdout


def hostile_log(tmp_path: Path, name: str, client_ip: str = "192.0.2.1") -> tuple[str, ...]:
    """Five messages of one user, three of them refused, and a line that cannot be read, all under one name."""
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[[limit]]\nname = "few"\nper = ["client.ip", "auth.user"]\nrate = "2/hour"\n'
        '[[limit]]\nname = "names"\nper = "client.ip"\ndistinct = "auth.user"\nrate = "9/hour"\nmode = "shadow"\n'
    )
    line = {"time": NOW, "client_ip": client_ip, "mail_from": "x@a.com", "auth_user": name, "reply_to": name, name: 1}
    log = tmp_path / "log.jsonl"
    log.write_text("".join(f"{json.dumps(line)}\n" for _ in range(5)) + json.dumps({name: 1, "time": name}) + "\n")
    return str(log), "--policy", str(policy)


def test_no_control_character_of_a_sender_reaches_the_terminal(tmp_path: Path) -> None:
    done = replay(*hostile_log(tmp_path, "a\x1b[31m\x07\r\n\u202e\u2066\u2028\x9b"))
    assert done.returncode == 0, done.stderr
    assert "\\x1b[31m\\x07\\r\\n\\u202e\\u2066\\u2028\\x9b" in done.stdout
    assert all(line.isprintable() for line in done.stdout.split("\n"))


@pytest.mark.parametrize("name", ["[red]a", "[/]", "a[bold", ":ab:", "a\\"])
def test_no_markup_or_emoji_code_of_a_sender_takes_effect(tmp_path: Path, name: str) -> None:
    done = replay(*hostile_log(tmp_path, name, "2001:db8:ab::1"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(name) >= 3
    assert f"2001:db8:ab::1 + {name}" in done.stdout


POSTFIX = "Nov 25 17:20:31 mx postfix/smtpd[7]: 4XfG1c: client=a[192.0.2.1]\n"
EXIM = "2026-11-25 17:20:31 1vNabc-000000001Ab-0001 <= a@b.com H=(helo) [192.0.2.1] P=smtp S=9 for c@d\n"


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", ("--json",), "log, which is empty\n"),
        ("Nov 25 17:20:31 mx cron[1]: x\n", (), "1 lines of other programs). Is this the log of another server?"),
        (EXIM, ("--format", "postfix"), "Exim's log? Try --format exim."),
        ("Nov 25 17:20:31 mx cron[1]: x\n" * 300 + f"Nov 25 17:20:31 mx exim[7]: {EXIM}", (), "Try --format exim."),
        (POSTFIX, ("--format", "exim"), "Postfix's log? Try --format postfix."),
        (POSTFIX, ("--format", "jsonl"), "Try --format postfix."),
        ('{"time": 1, "from": "a"}\n', (), "the first of them line 1 of"),
        ('{"time": 1, "from": "a"}\n', (), "no field of an envelope"),
        ("time,client_ip\n", (), "It was read as csv"),
        (
            "Feb 29 17:20:31 mx postfix/smtpd[7]: 4X: client=a[192.0.2.1]\n",
            ("--year", "2026", "--format", "postfix"),
            "no such day in 2026",
        ),
        ("Feb 28 17:20:31 mx postfix/smtpd[7]: 4X: client=\x1b[31m\n", (), "\\x1b[31m"),
    ],
)
def test_files_without_a_transaction_end_with_2_and_a_guess(
    tmp_path: Path, text: str, options: tuple[str, ...], said: str
) -> None:
    (tmp_path / "log").write_text(text)
    state = tmp_path / "known.jsonl"
    done = replay(str(tmp_path / "log"), *options, "--learn", str(state))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not state.exists()


def test_refusals_by_throttle_are_listed_apart_from_those_by_the_server(tmp_path: Path) -> None:
    refusal = (
        "Nov 25 17:20:{n} mx postfix/smtpd[{n}]: NOQUEUE: reject: RCPT from a[192.0.2.{n}]: 451 4.7.28 <c@d.com>: "
        "Recipient address rejected: {answer}; from=<a@b.com> to=<c@d.com> proto=ESMTP helo=<me>\n"
    )
    own = "b.com sends under too many new names; retry in 3 s"
    answers = [own, "User unknown", own]
    (tmp_path / "log").write_text("".join(refusal.format(n=n, answer=text) for n, text in enumerate(answers, 10)))
    report = told(str(tmp_path / "log"))
    assert report["transactions"] == 3
    assert (report["rejected_by_the_server"], report["rejected_by_throttle"]) == (1, 2)
    shown = replay(str(tmp_path / "log")).stdout
    assert "1 of them were refused by the server itself" in shown
    assert "2 of them were refused by throttle, when the log was written" in shown


def test_the_help_has_an_example_for_every_format() -> None:
    done = replay("--help")
    for words in ("mail.log*", "exim4/mainlog*", "journalctl", "-o json", "docker inspect", ".jsonl", ".csv"):
        assert words in done.stdout


def test_a_built_in_policy_is_replayed_by_name(tmp_path: Path) -> None:
    log = tmp_path / "t.jsonl"
    log.write_text(
        '{"time": 1750000000, "client_ip": "192.0.2.1", "mail_from": "x@mail.invalid", "rcpt_to": ["a@b.com"]}\n'
    )
    assert told(str(log), "--policy", "submission")["policy"]["file"] == "submission.toml"
    assert told(str(log))["policy"]["file"] == "inbound.toml"


def test_a_tag_is_explained_where_it_stands(tmp_path: Path) -> None:
    log = tmp_path / "t.jsonl"
    log.write_text(
        '{"time": 1750000000, "client_ip": "192.0.2.1", "mail_from": "x@mail.invalid", "rcpt_to": ["a@b.com"]}\n'
    )
    assert told(str(log))["tags"] == {"UNLISTED": TAGS["UNLISTED"]}
    assert f"UNLISTED stands for {TAGS['UNLISTED']}." in replay(str(log)).stdout
