"""Lines of a file in bounded memory, whatever the file contains."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from throttle import Limit, Policy, Throttle
from throttle.replay.lines import MOST_LINE, Overlong, bounded
from throttle.replay.notes import Notes
from throttle.replay.reading import Log
from throttle.replay.run import Replay

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0
MOST = 8


@given(data=st.binary(max_size=200) | st.text(alphabet="ab\n", max_size=200).map(str.encode))
def test_lines_are_those_of_the_file_and_the_long_ones_are_cut(data: bytes) -> None:
    wanted = [line + b"\n" for line in data.split(b"\n")]
    wanted[-1] = wanted[-1][:-1]
    got = list(bounded(io.BytesIO(data), MOST))
    assert len(got) == len([line for line in wanted if line])
    for line, told in zip(wanted, got, strict=False):
        if len(line) <= MOST:
            assert (type(told), told.encode(errors="surrogateescape")) == (str, line)
        else:
            assert type(told) is Overlong
            assert line.startswith(told.encode(errors="surrogateescape"))


def test_a_line_as_long_as_is_read_is_a_transaction_and_a_longer_one_is_broken(tmp_path: Path) -> None:
    short = b'{"time": 1, "helo": "a"}\n'
    longest = b'{"time": 2, "helo": "' + b"a" * (MOST_LINE - 24) + b'"}\n'
    assert len(longest) == MOST_LINE
    longer = longest.replace(b"aaaa", b"aaaaa", 1)
    (tmp_path / "t.jsonl").write_bytes(short + longer + longest + longer + short)
    notes = Notes()
    log = Log([str(tmp_path / "t.jsonl")], notes, now=NOW)
    assert [one.time for one in log.transactions()] == [1, 2, 1]
    assert (notes.lines, notes.broken) == (5, 2)
    assert notes.first_broken is not None
    assert (notes.first_broken.line, notes.first_broken.why) == (2, "longer than 1,048,576 bytes")
    assert len(notes.first_broken.text) <= 160


def test_an_archive_with_one_huge_line_takes_little_memory(tmp_path: Path) -> None:
    megabytes = 64
    with gzip.open(tmp_path / "bomb.gz", "wb", compresslevel=1) as bomb:
        for _ in range(megabytes):
            bomb.write(b"\0" * (1 << 20))
        bomb.write(b'\n{"time": 1, "helo": "a"}\n')
    notes = Notes()
    tracemalloc.start()
    try:
        log = Log([str(tmp_path / "bomb.gz")], notes, now=NOW)
        (one,) = log.transactions()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (one.time, notes.lines, notes.broken) == (1.0, 2, 1)
    assert peak < 8 << 20


def test_a_file_of_long_lines_takes_little_memory(tmp_path: Path) -> None:
    """No envelope is kept until it is counted."""
    policy = Policy(
        [
            Limit(name="pace", per="auth.user", rate="50/hour"),
            Limit(name="bytes", per="client.ip", rate="1 GB/hour"),
            Limit(name="reply", per="reply_to.address", rate="90/hour"),
        ]
    )
    lines, long = 60, "a" * (MOST_LINE // 4)
    with (tmp_path / "t.jsonl").open("w") as log:
        for n in range(lines):
            names = {"auth_user": f"{n}{long}", "mail_from": f"{n}{long}@b.com", "reply_to": f"{n}{long}@c.com"}
            log.write(f"{json.dumps({'time': 1, 'client_ip': '192.0.2.1', **names})}\n")
    tracemalloc.start()
    try:
        read = Log([str(tmp_path / "t.jsonl")], Notes(), now=NOW)
        replay = Replay(Throttle(policy, memory="1 MiB"))
        for transaction in read.transactions():
            replay.add(transaction)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    replay.close()
    assert replay.transactions == lines
    assert replay.admitted == lines
    assert peak < 24 << 20  # the parser of JSON takes twelve times the line
