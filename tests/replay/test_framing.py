"""What stands around the text of a log line, in each form in which logs are kept."""

from __future__ import annotations

import json
import time

import pytest

from throttle.replay.framing import Framed, Framing
from throttle.replay.times import Stamps

NOW = 1_800_000_000.0  # January 2027
AT = 1795627231.0
TEXT = "4XfG1c: client=mx.example.org[198.51.100.7]"
SMTPD = ("postfix/smtpd", "7", TEXT)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def read(line: str) -> tuple[float, Framed]:
    return Framing(Stamps(NOW)).read(line)


def journal(**fields: object) -> str:
    told = {
        "__REALTIME_TIMESTAMP": "1795627231250000",
        "_HOSTNAME": "mx",
        "SYSLOG_IDENTIFIER": "postfix/smtpd",
        "_PID": "7",
        "MESSAGE": TEXT,
    }
    return json.dumps(told | fields)


def docker(log: str) -> str:
    return json.dumps({"log": log, "stream": "stdout", "time": "2026-11-25T17:20:31.250000789Z"})


@pytest.mark.parametrize(
    ("line", "at"),
    [
        (f"Nov 25 17:20:31 mx postfix/smtpd[7]: {TEXT}\n", AT),
        (f"Nov 25 17:20:31 mx postfix/smtpd[7]: {TEXT}\r\n", AT),
        (f"Nov 25 17:20:31.250000 mx postfix/smtpd[7]: {TEXT}", AT + 0.25),
        (f"2026-11-25T17:20:31.250000+00:00 mx postfix/smtpd[7]: {TEXT}", AT + 0.25),
        (f"2026-11-25T18:20:31+0100 mx postfix/smtpd[7]: {TEXT}", AT),
        (f"2026-11-25 17:20:31 mx postfix/smtpd[7]: {TEXT}", AT),
        (f"2026-11-25 17:20:31.250 mx postfix/smtpd[7]: {TEXT}", AT + 0.25),
        (f"2026-11-25 18:20:31 +0100 mx postfix/smtpd[7]: {TEXT}", AT),
        (f"Nov 25 17:20:31 mx mail.info postfix/smtpd[7]: {TEXT}", AT),
        (f"Nov 25 17:20:31 postfix/smtpd[7]: {TEXT}", AT),
        (f"<22>Nov 25 17:20:31 mx postfix/smtpd[7]: {TEXT}", AT),
        (f"<22>2026-11-25T17:20:31Z mx postfix/smtpd[7]: {TEXT}", AT),
        (f"<22>1 2026-11-25T17:20:31.25Z mx postfix/smtpd 7 - - {TEXT}", AT + 0.25),
        (f'<22>1 2026-11-25T17:20:31Z mx postfix/smtpd 7 ID [a@1 b="c \\"] d"][e@2 f=""] \ufeff{TEXT}', AT),
        (journal(), AT + 0.25),
        (journal(MESSAGE=list(TEXT.encode())), AT + 0.25),
        (journal(SYSLOG_PID=["7", "8"]), AT + 0.25),
        (docker(f"Nov 25 17:20:31 mx postfix/smtpd[7]: {TEXT}\n"), AT + 0.25),
        (docker(f"mx postfix/smtpd[7]: {TEXT}\n"), AT + 0.25),
        (docker(f"postfix/smtpd[7]: {TEXT}\n"), AT + 0.25),
    ],
)
def test_time_program_process_and_text_are_found_in_every_frame(line: str, at: float) -> None:
    found, framed = read(line)
    assert found == pytest.approx(at, abs=1e-5)
    assert framed[:3] == SMTPD


@pytest.mark.parametrize(
    ("line", "program", "text"),
    [
        ("Nov 25 17:20:31 mx postfix-in/smtpd[7]: x", "postfix-in/smtpd", "x"),
        ("Nov 25 17:20:31 mx kernel: [1.0] x", "kernel", "[1.0] x"),
        ("Nov 25 17:20:31 2001:db8:: exim[7]: x", "exim", "x"),
        ("Nov 25 17:20:31 mx -- MARK --", "", "mx -- MARK --"),
        ("Nov 25 17:20:31 mx last message repeated: no", "", "mx last message repeated: no"),
        ("Nov 25 17:20:31 mx exim:", "exim", ""),
        ("2026-11-25 17:20:31 1vNabc-000000001Ab-0001 <= <>", "", "1vNabc-000000001Ab-0001 <= <>"),
        (journal(SYSLOG_IDENTIFIER=None, _COMM="exim4", MESSAGE="x"), "exim4", "x"),
        ("<22>1 2026-11-25T17:20:31Z mx postfix 7 - - x", "postfix", "x"),
    ],
)
def test_a_program_that_is_not_named_is_empty(line: str, program: str, text: str) -> None:
    _, framed = read(line)
    assert (framed.program, framed.text) == (program, text)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "no date",
        "Nov 25",
        "Nov 25 17:20:31.x mx a: b",
        "Nov 25 17:20:31." + "1" * 5000 + " mx a: b",
        "2026-11-25 17:20:31",
        "2026-02-29 17:20:31 mx a: b",
        "9999-11-25T17:20:31Z mx a: b",
        "1" * 100_000 + " mx a: b",
        "<22>",
        "<22>1 - mx a 7 - - b",
        "<22>1 2026-11-25T17:20:31Z mx",
        '{"__REALTIME_TIMESTAMP": "1795627231250000"}',
        journal(MESSAGE=None),
        journal(MESSAGE=[1, 256]),
        journal(MESSAGE=[1, {}]),
        journal(__REALTIME_TIMESTAMP="9" * 5000),
        journal(__REALTIME_TIMESTAMP="9" * 18),
        journal(__REALTIME_TIMESTAMP=7),
        '{"log": 7, "time": "2026-11-25T17:20:31Z"}',
        '{"log": "x", "time": "yesterday"}',
        '{"log": "x", "time": ' + "9" * 5000 + "}",
        '{"log": ' + "[" * 100_000,
        "[]",
    ],
)
def test_a_line_without_a_time_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read(line)


@pytest.mark.parametrize(
    ("date", "year", "at"),
    [
        ("Feb 29 00:00:00", 2024, 1709164800.0),
        ("Feb 29 00:00:00", 2026, None),
        ("Feb 29 00:00:00", 2100, None),
        ("Feb 29 00:00:00", None, None),  # the latest year that fits is 2026
        ("Feb 30 00:00:00", 2024, None),
        ("Apr 31 00:00:00", 2026, None),
        ("Nov 31 00:00:00", 2026, None),
        ("Dec 31 00:00:00", 2026, 1798675200.0),
        ("Jan  0 00:00:00", 2026, None),
        ("Jan  1 00:00:00", 9999, None),  # later than a guard's time can be
    ],
)
def test_a_day_that_its_year_does_not_have_is_an_error(date: str, year: int | None, at: float | None) -> None:
    stamps = Stamps(NOW, year)
    if at is None:
        with pytest.raises(ValueError, match="no such"):
            stamps.read(f"{date} mx x")
    else:
        assert stamps.read(f"{date} mx x") == (at, 16)


def test_a_day_that_does_not_exist_moves_no_year() -> None:
    stamps = Stamps(NOW, 2026)
    years = []
    for date in ("Dec 31 23:59:59", "Feb 29 00:00:00", "Jan  1 00:00:00", "Dec 31 23:59:59"):
        try:
            years.append(time.gmtime(stamps.read(f"{date} mx x")[0]).tm_year)
        except ValueError:
            years.append(0)
    assert years == [2026, 0, 2027, 2026]
