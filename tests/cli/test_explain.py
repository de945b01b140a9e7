"""`throttle explain`: one message, limit by limit, for somebody who has never seen the project."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from throttle import Policy

INCIDENT = "bounce-817@a1.b2.c3.d4.e5.f6.sandbox.salesforce.com"
OPTIONS = ("--from", INCIDENT, "--ip", "198.51.100.7", "--to", "in@box.test", "--reply-to", "one@constant.com")


def explain(*options: str, columns: int = 200) -> subprocess.CompletedProcess[str]:
    wide = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"}
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


def text(*options: str, columns: int = 200) -> str:
    done = explain(*options, columns=columns)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def part(shown: str, heading: str) -> list[str]:
    """The lines below a heading."""
    return shown.partition(f"\n{heading}\n")[2].partition("\n\n")[0].splitlines()


def cells(lines: list[str]) -> list[tuple[str, ...]]:
    """The columns of each line, whatever their width."""
    return [tuple(re.split(" {2,}", line.strip())) for line in lines]


def test_the_message_of_the_incident_is_told_in_words() -> None:
    shown = text(*OPTIONS, "--after", "250")
    lines = shown.splitlines()
    assert lines[0] == f"A message from {INCIDENT} is deferred at MAIL FROM by the limit org-fan-out."
    assert lines[1].startswith("The server would answer: 451 4.7.28 salesforce.com sends under too many new names")
    before = f"{lines[2]} {lines[3]}"  # it is longer than a line here
    assert before == (
        "Before it, 250 similar messages were sent at one moment, each from a new host next to the sender's: 200 "
        "passed, org-fan-out refused 50. "
        "They have ended, so they hold no permits, and refused messages are not counted."
    )
    heading, refusing, allows, *_ = part(shown, "Limits of the built-in policy inbound")
    assert heading.split("  ")[1] == "limit"
    first = ("org-fan-out", "salesforce.com (claimed)", "200 of 200 (+1)", "refuses; room again in 3 s")
    assert cells([refusing]) == [first], "what refuses comes first"
    assert allows.strip() == (
        "new sender.host per sender.registered: 200/10 minutes; what lies below a subdomain that came back after 1 "
        "hour counts under that, with the same numbers"
    )
    assert ("auth-pace", "the client has not logged in") in cells(part(shown, "Do not apply"))
    words = part(shown, "Words")
    assert any(line.startswith("  claimed            anybody can write it") for line in words)
    taken = "200 of 200 (+1): 200 of 200 are taken, and this message would take 1 more"
    assert any(line.startswith(f"  used               {taken}") for line in words)


def told_rows(*options: str) -> list[tuple[str, str, str]]:
    """Of every limit that was asked its name, its key and how full it is."""
    asked = [row for row in told(*options)["limits"] if row["key"] is not None]
    return [
        (
            row["limit"],
            "(everyone)" if row["identity"] == "global" else row["key"],
            f"{row['used']:,} of {row['at_once']:,} (+",
        )
        for row in asked
    ]


def test_what_came_before_is_told_to_a_program_as_it_is_in_words() -> None:
    options = ("--from", "joe@example.com", "--user", "joe", "--ip", "198.51.100.7", "--after", "600")
    assert told(*options)["after"] == {"sent": 600, "passed": 200, "refused_by": {"org-fan-out": 400}}
    assert told(*OPTIONS)["after"] == {"sent": 0, "passed": 0, "refused_by": {}}
    shown = text(*options)
    assert "each from a new host next to the sender's: 200 passed, org-fan-out refused 400." in shown
    itself = ("org-fan-out", "the sender.host is example.com itself, not a name under it")
    assert itself in cells(part(shown, "Do not apply"))
    assert "refused ones" not in text(*options[:-1], "7")
    assert "Before it" not in text(*OPTIONS)


def test_what_is_not_checked_says_which_option_is_missing() -> None:
    message = ("--from", INCIDENT, "--ip", "198.51.100.7")
    shown = text(*message)
    missing = {
        "all-bytes": ["size"],
        "net-claimed-rcpt-pace": ["rcpt_to"],
        "client-claimed-rcpt-pace": ["rcpt_to"],
        "org-fan-out-rcpt": ["rcpt_to"],
        "reply-to-fan-out": ["header_from"],
        "reply-to-pace": ["header_from"],
        "dkim-fan-out": ["dkim"],
        "rcpt-pace": ["rcpt_to"],
    }
    unchecked = list(missing)
    assert " ".join(shown.splitlines()[:2]) == (
        f"A message from {INCIDENT} is let through as far as it was checked. Not checked, see below: "
        f"{', '.join(unchecked)}."
    ), "it is longer than a line here"
    answers = "add --reply-to or --message"
    assert cells(part(shown, "Not checked, because an option is missing")) == [
        ("all-bytes", "add --size"),
        ("net-claimed-rcpt-pace", "add --to"),
        ("client-claimed-rcpt-pace", "add --to"),
        ("org-fan-out-rcpt", "add --to"),
        ("reply-to-fan-out", answers),
        ("reply-to-pace", answers),
        ("dkim-fan-out", "add --dkim"),
        ("rcpt-pace", "add --to"),
    ]
    explanation = told(*message)
    assert explanation["unchecked"] == unchecked
    assert {name: rows(explanation)[name]["missing"] for name in unchecked} == missing
    sized = part(text(*message, "--size", "10", "--dkim", "constant.com"), "Not checked, because an option is missing")
    assert cells(sized) == [
        ("net-claimed-rcpt-pace", "add --to"),
        ("client-claimed-rcpt-pace", "add --to"),
        ("org-fan-out-rcpt", "add --to"),
        ("reply-to-fan-out", answers),
        ("reply-to-pace", answers),
        ("rcpt-pace", "add --to"),
    ]
    whole = text(*OPTIONS, "--size", "10", "--dkim", "constant.com")
    assert whole.splitlines()[0] == f"A message from {INCIDENT} is let through."
    assert "Not checked" not in whole


def test_a_connection_alone_is_not_let_through_as_a_message() -> None:
    line = "Only the connection was checked, and it is let through; give {} to check a message."
    assert text().splitlines()[0] == line.format("--ip, --from, --to and --size")
    assert text("--ip", "192.0.2.1").splitlines()[0] == line.format("--from, --to and --size")
    assert ("auth-pace", "add --from") in cells(text("--user", "joe").splitlines()), (
        "who is logged in has sent nothing yet"
    )


def test_a_client_that_is_not_given_is_not_proven() -> None:
    shown = text()
    assert "  client.ip         (not given)" in part(shown, "Identities of this message")
    assert "proven" not in shown
    assert any(line.startswith("  UNKNOWN           a client whose address is absent") for line in part(shown, "Words"))
    assert told()["identities"]["client.ip"] == {"values": ["UNKNOWN"], "trust": None}


@pytest.mark.parametrize(
    ("sender", "word"),
    [("nobody", "UNQUALIFIED"), ("", "NULL"), ("x@[192.0.2.1]", "LITERAL"), ("x@mail.invalid", "UNLISTED")],
)
def test_a_word_is_explained_where_it_stands(sender: str, word: str) -> None:
    words = part(text("--from", sender, "--ip", "192.0.2.1"), "Words")
    assert [line.split()[0] for line in words if line.strip()[:2].isupper()] == [word]


def test_a_size_of_nothing_takes_nothing() -> None:
    shown = text("--from", "x@c.com", "--ip", "192.0.2.1", "--size", "0")
    assert ("all-bytes", "a size of 0 takes nothing") in cells(part(shown, "Do not apply"))


def test_sizes_are_written_as_sizes_and_numbers_alike() -> None:
    shown = text("--from", "x@c.com", "--ip", "192.0.2.1", "--size", str(2 << 30))
    assert "  all-bytes" in part(shown, "Limits of the built-in policy inbound")[1]
    assert "0 B of 2 GiB (+2 GiB)  refuses (permanent)" in shown
    assert "messages per client.net/24/48: 300/minute, burst 3,000" in shown
    assert "552 5.3.4 message too big for global" in shown.splitlines()[1]
    tiers = (("client.net/32/64", 10), ("client.net/24/48", 8), ("client.net/24/29", 4))
    share = "; ".join(f"one {per} at most 1/{part} of what is free" for per, part in tiers)
    share += ", but always one message of 1 MB; 192 MiB kept for that"
    assert f"bytes at once on the whole server: 2 GiB; {share}" in " ".join(shown.split())


def test_recipients_alike_are_one_row() -> None:
    many = [option for number in range(5) for option in ("--to", f"u{number}@box.test")]
    lines = part(text("--from", "x@c.com", "--ip", "192.0.2.1", *many), "Limits of the built-in policy inbound")
    recipients = [line for line in lines if line.startswith("  rcpt-pace")]
    assert [re.split(" {2,}", line.strip())[1] for line in recipients] == ["192.0.2.0/24 + u0@box.test and 4 alike"]
    assert any(line.startswith("  alike ") for line in part(text("--from", "x@c.com", *many), "Words"))
    assert not any(line.startswith("  alike ") for line in part(text("--from", "x@c.com", *many[:2]), "Words"))


def test_a_block_of_a_limit_is_told(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[limit]]\nname = "few"\nper = "client.ip"\nrate = "2/hour"\naction = "block 5 minutes"\n')
    shown = text("--from", "x@c.com", "--ip", "192.0.2.1", "--after", "3", "--policy", str(policy))
    assert "client.ip 192.0.2.1 is blocked by few for 300 s." in shown.splitlines()


def test_what_would_refuse_in_shadow_mode_is_told(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('mode = "shadow"\n[[limit]]\nname = "few"\nper = "client.ip"\nrate = "7/minute"\n')
    shown = text("--from", "x@c.com", "--ip", "192.0.2.1", "--after", "8", "--policy", str(policy))
    assert shown.splitlines()[0] == "A message from x@c.com is let through. In shadow mode, few would refuse it."
    assert "would refuse; room again in 9 s" in shown, "a wait is rounded up, as a reply's"


@pytest.mark.parametrize("columns", [100, 120, 160])
@pytest.mark.parametrize("proven", [(), ("--spf", "pass")])
def test_no_name_and_no_key_is_broken(columns: int, proven: tuple[str, ...]) -> None:
    asked = told_rows(*OPTIONS[:4], *proven, "--after", "150")
    lines = part(
        text(*OPTIONS[:4], *proven, "--after", "150", columns=columns), "Limits of the built-in policy inbound"
    )
    for limit, key, used in asked:
        [line] = [line for line in lines if line.startswith(f"  {limit} ")]
        words = line.split()
        assert set(key.split(" + ")[0].split()) <= set(words), line
        assert used in line
    assert max(map(len, lines)) <= columns


def test_a_narrow_screen_has_a_block_for_each_limit() -> None:
    lines = text(*OPTIONS[:4], "--spf", "pass", columns=80).splitlines()
    first = lines.index("  limit          host-pace")
    assert lines[first + 1 : first + 6] == [
        "  counted under  a1.b2.c3.d4.e5.f6.sandbox.salesforce.com",
        "  used           0 of 6,000 (+1)",
        "  verdict        fits",
        "  allows         messages per sender.host: 600/minute, burst 6,000",
        "",
    ]


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_no_line_ends_in_blanks(columns: int) -> None:
    lines = text(*OPTIONS, "--after", "250", columns=columns).splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    answer = next(line for line in lines if line.startswith("The server would answer"))
    assert answer.endswith("retry in 3 s"), "whole, for who greps"


def test_every_limit_of_the_policy_stands_in_it_once_or_says_why_not() -> None:
    explanation = told(*OPTIONS)
    assert [row["limit"] for row in explanation["limits"]] == [limit.name for limit in Policy.builtin().limits]
    for row in explanation["limits"]:
        assert (row["key"] is None) == (row["verdict"] in ("not checked", "does not apply")) == bool(row["reason"])
        assert bool(row["missing"]) == (row["verdict"] == "not checked")


def test_levels_are_what_came_before() -> None:
    cold, warm = (rows(told(*OPTIONS, "--after", after)) for after in ("0", "7"))
    for limit in ("net-claimed-pace", "pair-pace", "org-fan-out", "rcpt-pace"):
        assert (cold[limit]["used"], warm[limit]["used"]) == (0, 7)
    assert warm["reply-to-fan-out"]["used"] == 1, "one organisation"
    assert warm["reply-to-fan-out"]["adds"] == 0, "which is known by now"


def test_the_header_of_a_message_is_read(tmp_path: Path) -> None:
    file = tmp_path / "message.eml"
    file.write_bytes(b"From: Joe <joe@a.com>\r\nReply-To: help@b.com\r\n\r\nHello\r\n")
    explanation = told("--from", "x@c.com", "--ip", "192.0.2.1", "--message", str(file))
    assert explanation["identities"]["reply_to.address"] == {"values": ["help@b.com"], "trust": "claimed"}
    assert explanation["identities"]["from.address"]["values"] == ["joe@a.com"]


def test_what_is_proven_is_told() -> None:
    explanation = told("--from", "x@mx.c.com", "--ip", "192.0.2.1", "--spf", "pass")
    assert explanation["identities"]["sender.org"] == {"values": ["c.com"], "trust": "proven"}
    assert rows(explanation)["host-pace"]["verdict"] == "fits"


def test_a_wait_without_end_is_null(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[limit]]\nname = "small"\nper = "client.net"\nrate = "1 KiB/hour"\n')
    row = rows(told("--from", "x@c.com", "--ip", "192.0.2.1", "--size", "2000", "--policy", str(policy)))["small"]
    assert (row["verdict"], row["retry_after"], row["at_once"]) == ("refuses", None, 1024)


def test_what_nobody_can_prove_is_not_proven() -> None:
    explanation = told(*OPTIONS)
    classless = {name for name, row in explanation["identities"].items() if row["trust"] is None}
    assert classless == {"rcpt.address", "rcpt.host", "global"}
    assert rows(explanation)["all-open"]["trust"] is None
    assert (explanation["allowed"], explanation["stage"]) == (True, None)
    assert told(*OPTIONS, "--after", "250")["stage"] == "mail"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--policy", "nowhere"),
            "--policy: there is no file nowhere and no built-in policy of that name: inbound, submission",
        ),
        (("--policy", "."), ".: Is a directory"),
        (("--message", "nowhere.eml"), "nowhere.eml: No such file or directory"),
        (("--learned", "nowhere.gz"), "learned state nowhere.gz: No such file or directory"),
        (("--learned", __file__), f"learned state {__file__}: line 1 is not JSON"),
        (("--ip", "198.51.100.700"), "--ip: found '198.51.100.700'; allowed: an IPv4 or IPv6 address"),
        (("--ip", "198.51.100.0/24"), "--ip: found '198.51.100.0/24'; allowed: an IPv4 or IPv6 address"),
        (
            ("--spf", "pas"),
            "--spf: found 'pas'; allowed: pass, fail, softfail, neutral, none, temperror, permerror",
        ),
        (("--size", "10M"), "--size: found '10M'; allowed: a number of bytes, as 20000"),
        (("--size", "-1"), "--size: found '-1'; allowed: a number of bytes, as 20000"),
        (("--after", "many"), "--after: found 'many'; allowed: a whole number from 0 to 1,000,000"),
        (("--after", "1000001"), "--after: found '1000001'; allowed: a whole number from 0 to 1,000,000"),
    ],
)
def test_an_option_that_is_wrong_is_named_in_one_line(options: tuple[str, ...], message: str) -> None:
    done = explain(*OPTIONS, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"throttle: {message}\n"


@pytest.mark.parametrize("option", ["--to", "--spf", "--size", "--dkim", "--message", "--reply-to"])
def test_what_comes_with_a_message_needs_a_sender(option: str) -> None:
    done = explain("--ip", "192.0.2.1", option, "9" if option == "--size" else "pass")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"throttle: {option} needs --from: a message begins with MAIL FROM ('' is the null sender)\n"


def test_what_a_sender_says_is_no_error() -> None:
    says = ("--from", "a@@b", "--helo", "no name!", "--to", "a@b,c@d", "--reply-to", "<", "--dkim", "d=foo bar")
    assert explain("--ip", "[192.0.2.1]", "--spf", "PASS", *says).returncode == 0


def test_bytes_that_are_no_text_are_printed_on_a_terminal_that_takes_text_only() -> None:
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict", "COLUMNS": "100"}
    command = [sys.executable, "-m", "throttle", "explain", "--from", os.fsdecode(b"\xff@b.com"), "--ip", "192.0.2.1"]
    done = subprocess.run(command, capture_output=True, check=False, env=strict)
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode()
    assert shown.startswith("A message from \\udcff@b.com is let through")
    assert any(line.startswith("  MALFORMED ") for line in part(shown, "Words"))


@pytest.mark.parametrize("columns", [60, 200])
def test_no_control_character_or_markup_of_a_sender_takes_effect(columns: int) -> None:
    name = "a\x1b[31m\x07\r\n\u202e\u2066\u2028\x9b[red]:ab:"
    says = ("--from", f'"{name}"@b.com', "--helo", name, "--to", f'"{name}"@c.com', "--reply-to", f'"{name}"@d.com')
    done = explain(*says, "--user", name, "--ip", "192.0.2.1", "--after", "300", columns=columns)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.encode(errors="surrogateescape").decode()
    assert "\\x1b[31m\\x07\\r\\n\\u202e\\u2066\\u2028\\x9b[red]:ab:" in shown.replace("\n  ", "").replace("\n", "")
    assert all(line.isprintable() for line in shown.split("\n"))
    assert explain("--from", "a@b", "--ip", name).stderr.rstrip("\n").isprintable()


def test_a_flag_is_shown_without_a_type() -> None:
    shown = explain("--help").stdout
    assert "<bool>" not in shown
    assert "--json" in shown


@pytest.mark.parametrize("sender", ["x@example.com", "x@example.co.uk", "x@alice.github.io", "x@mx.example.co.uk"])
def test_what_came_before_is_of_the_senders_own_organisation(sender: str) -> None:
    assert told("--from", sender, "--ip", "192.0.2.1", "--after", "300")["after"]["refused_by"] == {"org-fan-out": 100}


@pytest.mark.parametrize("sender", ["", "postmaster", "x@[192.0.2.1]"])
def test_what_has_no_host_beside_it_is_sent_as_it_is(sender: str) -> None:
    shown = text("--from", sender, "--ip", "192.0.2.1", "--after", "3")
    assert "Before it, 3 similar messages were sent at one moment: 3 passed." in shown
