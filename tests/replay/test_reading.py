"""Files of a log: their format is guessed, and they are put in order."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from throttle.replay.notes import Notes
from throttle.replay.reading import Log

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0  # January 2027
POSTFIX = "Nov 25 17:20:31 mx postfix/smtpd[7]: 4XfG1c: client=a[192.0.2.1]\n"
EXIM = "2026-11-25 17:20:31 1vNabc-000000001Ab-0001 <= a@b.com H=(helo) [192.0.2.1] P=smtp S=9 for c@d\n"
JOURNAL = {"__REALTIME_TIMESTAMP": "1795627231000000", "SYSLOG_IDENTIFIER": "postfix/smtpd", "_PID": "7"}
DOCKER = {"stream": "stdout", "time": "2026-11-25T17:20:31.5Z"}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.mark.parametrize(
    "line",
    [
        POSTFIX,
        POSTFIX.replace("31 mx", "31.123456 mx"),
        POSTFIX.replace("Nov 25 17:20:31", "2026-11-25 17:20:31"),
        POSTFIX.replace("mx ", "mx mail.info "),
        POSTFIX.replace("postfix/", "mx-in/"),
        f"<22>{POSTFIX}",
        "<22>1 2026-11-25T17:20:31Z mx postfix/smtpd 7 - - 4XfG1c: client=a[192.0.2.1]\n",
        json.dumps(JOURNAL | {"MESSAGE": "4XfG1c: client=a[192.0.2.1]"}) + "\n",
        json.dumps(DOCKER | {"log": POSTFIX}) + "\n",
        EXIM,
        f"Nov 25 17:20:31 mx exim[7]: {EXIM}",
        json.dumps(DOCKER | {"log": EXIM}) + "\n",
    ],
)
def test_the_format_of_every_log_is_guessed(tmp_path: Path, line: str) -> None:
    (tmp_path / "log").write_text(f"Nov 25 17:20:30 mx cron[1]: a, time, b\n-- Boot 1 --\n{line}")
    (tmp_path / "alone").write_text(line)
    for name in ("log", "alone"):
        notes = Notes()
        (one,) = Log([str(tmp_path / name)], notes, now=NOW).transactions()
        assert (one.envelope.client_ip, notes.broken) == ("192.0.2.1", 0)
        assert notes.passed_over["lines of journalctl itself"] == (name == "log")


def test_an_empty_file_beside_a_full_one_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text("")
    (tmp_path / "mail.log.1").write_text(POSTFIX)
    log = Log([str(tmp_path / "mail.log"), str(tmp_path / "mail.log.1")], Notes(), now=NOW)
    assert [one.envelope.client_ip for one in log.transactions()] == ["192.0.2.1"]


def test_a_line_of_exim_does_not_hide_behind_lines_of_other_programs(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("Nov 25 17:20:31 mx cron[1]: x\n" * 150 + f"Nov 25 17:20:31 mx exim[7]: {EXIM}")
    log = Log([str(tmp_path / "log")], Notes(), now=NOW)
    assert log.forms == {str(tmp_path / "log"): "exim"}
    assert [one.envelope.client_ip for one in log.transactions()] == ["192.0.2.1"]
