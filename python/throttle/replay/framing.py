"""What stands around the text of a log line: the time, the program and its process.

    Nov 25 17:20:31 mx postfix/smtpd[7]: TEXT                  a file of syslog, date of RFC 3164
    2026-11-25T17:20:31+00:00 mx postfix/smtpd[7]: TEXT        the same with a date of RFC 3339, or a blank for the T
    Nov 25 17:20:31.123456 mx postfix/smtpd[7]: TEXT           journalctl -o short-precise
    {"__REALTIME_TIMESTAMP": "1795627231000000", "MESSAGE": "TEXT", "SYSLOG_IDENTIFIER": "postfix/smtpd", …}
                                                               journalctl -o json
    Nov 25 17:20:31 mx mail.info postfix/smtpd[7]: TEXT        busybox; with -S without host and priority
    <22>Nov 25 17:20:31 mx postfix/smtpd[7]: TEXT              with the priority of RFC 3164
    <22>1 2026-11-25T17:20:31Z mx postfix/smtpd 7 - - TEXT     RFC 5424
    {"log": "any of these, or TEXT", "time": "2026-11-25T17:20:31Z", …}
                                                               Docker's json-file

Sources: RFC 3164 section 4, RFC 5424 section 6, systemd.journal-fields(7), journalctl(1), the busybox applet syslogd,
Docker's description of the logging driver json-file.

This module knows no mail.
Invariant: a line is read in one pass, without backtracking.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from throttle.replay.objects import read_object
from throttle.replay.times import MOST, iso

if TYPE_CHECKING:
    from throttle.replay.times import Stamps

_PRIORITY = len("<191>")
_WORDS = 3  # host, priority, program
_MICROSECONDS = len("1795627231000000") + 2  # digits
_BEFORE_DATA = 5  # fields of RFC 5424 before the structured data
_DATA = re.compile(r'(?:\[[^\]"]*+(?:"(?:\\.|[^"\\])*+"[^\]"]*+)*+\])++')
_AROUND = "\r\n"


class Framed(NamedTuple):
    """A line of a log without its frame. Program and process are empty where the line does not name them."""

    program: str
    process: str
    text: str
    #: All that stands after the date.
    whole: str


def is_framed(record: dict[str, Any]) -> bool:
    """Returns whether an object holds a line of a log, and is no transaction."""
    return "__REALTIME_TIMESTAMP" in record or ("log" in record and "time" in record)


class Framing:
    """Reads lines of any of these formats, also in turn."""

    def __init__(self, stamps: Stamps) -> None:
        self._stamps = stamps

    def read(self, line: str) -> tuple[float, Framed]:
        """Returns the time of a line, and what its frame holds.

        Raises `ValueError` for a line without a time.
        """
        line = line.rstrip(_AROUND)
        if line.startswith("{"):
            return self._of_object(line)
        if line.startswith("<"):
            end = line.find(">", 1, _PRIORITY)
            if end > 1 and line[1:end].isdigit():
                if line.startswith("1 ", end + 1):
                    return _rfc5424(line[end + 3 :])
                line = line[end + 1 :]
        at, begin = self._stamps.read(line)
        return at, _tagged(line[begin:])

    def _of_object(self, line: str) -> tuple[float, Framed]:
        record = read_object(line)
        stamp = record.get("__REALTIME_TIMESTAMP")
        if stamp is not None:
            if not (isinstance(stamp, str) and stamp.isascii() and stamp.isdigit() and len(stamp) <= _MICROSECONDS):
                raise ValueError("__REALTIME_TIMESTAMP: allowed: microseconds, as text")
            text = _field(record, "MESSAGE")
            if not text:
                raise ValueError("no MESSAGE, which journalctl leaves out beyond 4,096 bytes, except with --all")
            program = _field(record, "SYSLOG_IDENTIFIER") or _field(record, "_COMM")
            process = _field(record, "SYSLOG_PID") or _field(record, "_PID")
            at = int(stamp) / 1e6
            if at > MOST:
                raise ValueError("no such moment")
            return at, Framed(program, process, text, text)
        log, time = record.get("log"), record.get("time")
        if not (isinstance(log, str) and isinstance(time, str)):
            raise ValueError("no object of journalctl -o json or of Docker's json-file")
        at, text = iso(time), log.rstrip(_AROUND)
        try:
            return at, _tagged(text[self._stamps.read(text)[1] :])  # Docker's time has a year and a zone
        except ValueError:
            return at, _tagged(text)


def _tagged(whole: str) -> Framed:
    """Finds the program: the first word with a colon at its end, after the host and a priority or without them."""
    begin = 0
    for _ in range(_WORDS):
        end = whole.find(" ", begin)
        word = whole[begin : end if end >= 0 else None]
        if word.endswith(":"):
            program, bracket, process = word[:-1].partition("[")
            if program and ":" not in program and (not bracket or process.endswith("]")):
                return Framed(program, process[:-1], "" if end < 0 else whole[end + 1 :], whole)
        if end < 0:
            break
        begin = end + 1
    return Framed("", "", whole, whole)


def _rfc5424(line: str) -> tuple[float, Framed]:
    """Reads what follows the priority and the version."""
    fields = line.split(" ", _BEFORE_DATA)
    if len(fields) <= _BEFORE_DATA:
        raise ValueError("cut short, or not of RFC 5424")
    stamp, _, program, process, _, rest = fields
    at = iso(stamp)
    data = _DATA.match(rest)
    text = rest[data.end() if data else rest.startswith("-") :].removeprefix(" ").removeprefix("\ufeff")
    return at, Framed(program, process, text, text)


def _field(record: dict[str, Any], name: str) -> str:
    """Returns a field of the journal as text: a field with bytes that are no UTF-8 is a list of their numbers, and a
    field that was given several times is a list of its values.
    """
    value = record.get(name)
    if isinstance(value, list) and value and isinstance(value[0], str):
        value = value[0]
    if isinstance(value, list):
        try:
            return bytes(value).decode("utf-8", "surrogateescape")
        except (ValueError, TypeError):
            return ""
    return value if isinstance(value, str) else ""
