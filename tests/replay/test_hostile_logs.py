"""A log is anybody's text: no bytes raise an error, and a line costs time in proportion to its length.

Time is counted in lines of Python that run, which is what one line of a log must have few of, whatever it says. What a
regular expression does within one of them does not show there, so the expressions themselves are looked at: none may
go back over what it has read.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import throttle.replay
from throttle import Throttle
from throttle.replay.notes import Notes
from throttle.replay.reading import FORMATS, Format, Log
from throttle.replay.run import Replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

NOW = 1_800_000_000.0
#: Lines of Python for a line of a log, and for each of its words: recipients, fields of Exim, cells of CSV.
A_LINE, A_WORD = 300, 10
PACKAGE = str(Path(throttle.replay.__file__).parent)

HEADS = (
    "Nov 25 17:20:31 mx postfix/smtpd[7]: ",
    "Feb 29 17:20:31.5 mx postfix/qmgr[7]: ",
    "2026-11-25T17:20:31Z mx postfix-in/smtp[7]: ",
    "2026-11-25 17:20:31 +0100 ",
    "<22>Nov 25 17:20:31 mx mail.info postfix/cleanup[7]: ",
    '<22>1 2026-11-25T17:20:31Z mx postfix 7 - [a b="\\"c"] ',
    '{"__REALTIME_TIMESTAMP": "1795627231000000", "SYSLOG_IDENTIFIER": "postfix/smtpd", "MESSAGE": "',
    '{"time": "2026-11-25T17:20:31Z", "log": "',
    '{"time": 1795627231, "mail_from": "',
    "1795627231,192.0.2.1,",
    "",
)
PIECES = [
    "4XfG1c:",
    "NOQUEUE:",
    "client=",
    "client=a[192.0.2.1]",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    "from=<",
    "to=<",
    "orig_to=<",
    ">,",
    "size=",
    "9",
    "nrcpt=",
    "removed",
    ",",
    ":",
    ";",
    ";",
    "from=<a@b>",
    "to=<c@d>",
    "proto=ESMTP",
    "helo=<me>",
    "sasl_username=<joe>",
    "reject:",
    "milter-reject:",
    "RCPT",
    "from",
    "a[192.0.2.1]:",
    "550",
    '"',
    "\\",
    '\\"',
    "=",
    "{}",
    "[]",
    "1vNabc-000000001Ab-0001",
    "<=",
    "=>",
    "**",
    "==",
    "Completed",
    "H=",
    "H=(a)",
    "H=a",
    "F=<",
    "rejected",
    "RCPT",
    "MAIL",
    "after",
    "DATA",
    "temporarily",
    "R=",
    "P=smtp",
    "S=",
    "A=a:b",
    "id=",
    "T=",
    "for",
    "Warning:",
    "queue",
    "run:",
    "�",
    "\u202e",
    "\x00",
    "\x1b",
    "\t",
    "é",
    "�",
]
TAILS = ("", '"}', '\\n"}', " for a@b c@d", "; from=<a@b> to=<c@d> proto=ESMTP helo=<me>", "\r")

LINES = st.builds(
    lambda head, pieces, tail: (head + pieces + tail).encode("utf-8", "surrogatepass"),
    st.sampled_from(HEADS),
    st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=14).map(" ".join)
    | st.lists(st.sampled_from(PIECES), max_size=14).map("".join),
    st.sampled_from(TAILS),
)
LOGS = st.lists(LINES | st.binary(max_size=80), max_size=8).map(b"\n".join)


def read(data: bytes, form: Format, replay: Replay | None = None) -> Notes:
    """Reads a log of these bytes, and plays it."""
    notes = Notes()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "log").write_bytes(data)
        log = Log([str(Path(folder) / "log")], notes, now=NOW, form=form)
        for transaction in log.transactions():
            if replay:
                replay.add(transaction)
        log.why_empty()
    return notes


def steps(run: Callable[[], object]) -> int:
    """Counts the lines of the package `throttle.replay` that run."""
    count = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(PACKAGE) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("form", FORMATS)
@given(data=LOGS)
@example(data=b"9" * 5_000)
@example(data=b"time,size\n1," + b"9" * 5_000)
@example(data=b'{"time": 1, "size": ' + b"9" * 5_000 + b"}")
@example(data=b"9999-12-31T23:59:59Z mx postfix/smtpd[7]: 4A: client=a[192.0.2.1]")
@settings(max_examples=200)
def test_no_bytes_raise_and_every_line_is_counted(form: Format, data: bytes) -> None:
    replay = Replay(Throttle(memory="8 MiB"))
    notes = read(data, form, replay)
    replay.close()
    if not data.startswith(b"\x1f\x8b"):  # an archive
        assert notes.lines == len(data.split(b"\n")) - (data.endswith(b"\n") or not data)
        assert notes.broken <= notes.lines
    assert replay.transactions <= notes.lines


def hostile_lines() -> Iterator[tuple[str, str]]:
    for head in HEADS:
        for piece in (
            *PIECES,
            "; from=<a> to=<a> proto=a helo=<a> ",
            ">, size=9",
            "> rejected ",
            '"\\',
            'a="b" ',
            "\\",
        ):
            if piece:
                yield head, piece


@pytest.mark.parametrize("form", FORMATS)
def test_the_steps_for_a_line_do_not_grow_with_it_except_for_its_recipients(form: Format) -> None:
    for head, piece in hostile_lines():
        line = f"{head}{piece * 200}{TAILS[4]}".encode("utf-8", "surrogatepass")
        lines = b"time,client_ip,mail_from\n" + line if form == "csv" else line
        count = steps(partial(read, lines, form))
        words = len(line.split()) + line.count(b",")
        assert count <= A_LINE + A_WORD * words, (count, line[:200])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("form", FORMATS)
def test_a_long_line_is_read_at_once(form: Format) -> None:
    """A reading of degree four, as there once was one, would take days."""
    for head, piece in hostile_lines():
        read(f"{head}{piece * (200_000 // len(piece))}{TAILS[4]}".encode("utf-8", "surrogatepass"), form)


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    for module in pkgutil.iter_modules(throttle.replay.__path__):
        for name, value in vars(importlib.import_module(f"throttle.replay.{module.name}")).items():
            if isinstance(value, re.Pattern):
                yield f"{module.name}.{name}", value


def goes_back(tree: Any) -> bool:
    """Returns whether an expression has a repetition without a bound that gives back what it took."""
    for kind, argument in tree:
        if str(kind) in ("MAX_REPEAT", "MIN_REPEAT") and argument[1] > 20:
            return True
        parts = argument if isinstance(argument, tuple | list) else ()
        for part in parts:
            inner = [part] if type(part).__name__ == "SubPattern" else part if isinstance(part, list) else []
            if any(type(one).__name__ == "SubPattern" and goes_back(one) for one in inner):
                return True
    return False


def test_no_regular_expression_goes_back_over_what_it_read() -> None:
    parse: Callable[[str], Any] = importlib.import_module("re._parser").parse
    assert goes_back(parse(r"(?:from=<(.*?)> )?x"))
    assert goes_back(parse(r"a|(b\S+)"))
    assert not goes_back(parse(r'(?:"(?:\\.|[^"\\])*+")?+[^ ]*+'))
    found = dict(patterns())
    assert len(found) >= 6
    assert [name for name, pattern in found.items() if goes_back(parse(pattern.pattern))] == []
