"""One line whose time cannot be right moves no clock, and no line of a log with long pauses is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from throttle import Throttle
from throttle.replay.notes import Notes
from throttle.replay.postfix import Postfix
from throttle.replay.reading import Log
from throttle.replay.run import Replay
from throttle.replay.steady import steady
from throttle.replay.times import Stamps
from throttle.replay.transactions import comma_separated, json_lines

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400.0
START = 1_795_000_000.0


def believed(days: list[float]) -> tuple[list[float], Notes]:
    notes = Notes()
    lines = ((day * DAY, number, f"line {number}", None) for number, day in enumerate(days, 1))
    return [at / DAY for at, *_ in steady(lines, notes)], notes


@pytest.mark.parametrize(
    ("days", "broken"),
    [
        ([0, 0.1, 0.2], []),
        ([0, 0.1, 9, 0.2, 0.3], [9]),
        ([9, 0, 0.1], [9]),
        ([0, 9, 0.1, 20, 0.2], [9, 20]),
        ([0, 5, 10, 15], []),  # little mail
        ([0, 0.1, 3, 3.1], []),  # a weekend
        ([0, 0.1, 3], []),
        ([7], []),
        ([5, 0, 0.1], [5]),
        ([0, 0.9, 0.5, 1.7], []),
        ([], []),
    ],
)
def test_a_time_that_the_next_line_does_not_confirm_is_broken(days: list[float], broken: list[float]) -> None:
    kept, notes = believed(days)
    assert kept == [day for day in days if day not in broken]
    assert notes.broken == len(broken)
    if broken:
        first = days.index(broken[0]) + 1
        assert notes.first_broken is not None
        assert (notes.first_broken.line, notes.first_broken.text) == (first, f"line {first}")
        assert "ahead of the next line's" in notes.first_broken.why


def test_times_that_two_lines_agree_on_are_taken_as_they_stand() -> None:
    kept, notes = believed([0, 9, 9.1, 0.1])
    assert (kept, notes.broken) == ([0, 9, 9.1, 0.1], 0)


def of_json(times: list[float]) -> list[str]:
    return [json.dumps({"time": at, "client_ip": "192.0.2.1", "mail_from": "a@ex.com"}) + "\n" for at in times]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_one_transaction_of_a_far_future_moves_no_clock_of_a_guard(form: str) -> None:
    times = [START + n for n in range(10)]
    times[5] = START + 10_000 * DAY
    notes = Notes()
    if form == "jsonl":
        read = json_lines(of_json(times), notes)
    else:
        read = comma_separated(["time,client_ip\n", *(f"{at},192.0.2.1\n" for at in times)], notes)
    replay = Replay(Throttle())
    for transaction in read:
        replay.add(transaction)
    assert (replay.transactions, replay.until, replay.lay_back) == (9, START + 9, 0)
    assert notes.broken == 1
    assert notes.first_broken is not None
    assert notes.first_broken.line == (6 if form == "jsonl" else 7)


def test_one_line_of_a_far_future_does_not_end_the_messages_that_are_open() -> None:
    lines = [
        "2026-11-25T17:20:31Z mx postfix/smtpd[1]: 4XfG1c: client=a.example[192.0.2.1]\n",
        "2026-11-25T17:20:31Z mx postfix/qmgr[2]: 4XfG1c: from=<a@ex.com>, size=7, nrcpt=1 (queue active)\n",
        "2099-11-25T17:20:31Z mx postfix/smtpd[1]: disconnect from a.example[192.0.2.1]\n",
        "2026-11-25T17:20:32Z mx postfix/lmtp[3]: 4XfG1c: to=<b@box.com>, relay=box, delay=1, status=sent (ok)\n",
    ]
    notes = Notes()
    postfix = Postfix(Stamps(START), notes)
    (one,) = [*postfix.read(lines), *postfix.rest()]
    assert one.envelope.rcpt_to == ("b@box.com",)
    assert notes.broken == 1


def test_files_come_in_order_though_the_first_line_of_one_errs(tmp_path: Path) -> None:
    (tmp_path / "older").write_text("".join(of_json([START + 9 * DAY, START, START + 1])))
    (tmp_path / "newer").write_text("".join(of_json([START + 2, START + 3])))
    notes = Notes()
    log = Log([str(tmp_path / "newer"), str(tmp_path / "older")], notes, now=START)
    assert [one.time - START for one in log.transactions()] == [0, 1, 2, 3]
    assert (log.begins, notes.broken) == (START, 1)
