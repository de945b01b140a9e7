"""Files of transactions: every field of an envelope, times of either kind, and lines that cannot be read."""

from __future__ import annotations

import json

import pytest

from throttle.replay.notes import SHOWN, Notes
from throttle.replay.transaction import FIELDS, MOST_USER, Transaction
from throttle.replay.transactions import comma_separated, json_lines


def read_json(*records: object) -> tuple[list[Transaction], Notes]:
    notes = Notes(file="log")
    return list(json_lines((json.dumps(record) + "\n" for record in records), notes)), notes


def read_csv(text: str) -> tuple[list[Transaction], Notes]:
    notes = Notes(file="log")
    return list(comma_separated(text.splitlines(keepends=True), notes)), notes


def test_every_field_of_an_envelope_is_read_from_json() -> None:
    values: dict[str, object] = dict.fromkeys(FIELDS, "x") | {"rcpt_to": ["a@b", "c@d"], "size": 5, "spf": "pass"}
    values |= {"dkim": ["d.com"]}
    ((one,), notes) = read_json({"time": 7.5} | values)
    assert one.time == 7.5
    assert one.envelope.rcpt_to == ("a@b", "c@d")
    assert one.envelope.dkim == ("d.com",)
    for name in FIELDS - {"rcpt_to", "dkim"}:
        assert getattr(one.envelope, name) in (values[name], (values[name],)), name
    assert notes.broken == 0


@pytest.mark.parametrize(
    "time", [1637889600, 1637889600.0, "1637889600", "2021-11-26T01:20:00Z", "2021-11-25T17:20:00-08:00"]
)
def test_a_time_is_a_number_or_a_date(time: object) -> None:
    assert [one.time for one in read_json({"time": time, "helo": "a"})[0]] == [1637889600.0]


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"client_ip": "192.0.2.1"}, "time: found none"),
        ({"time": "yesterday"}, "yesterday"),
        ({"time": True}, "time: found True"),
        ({"time": 1637889600000000}, "time: found"),
        ({"time": float("nan")}, "time: found nan"),
        ({"time": 1, "client_ip": 7}, "client_ip: found int"),
        ({"time": 1, "rcpt_to": 7}, "rcpt_to: found int"),
        ({"time": 1, "size": "big"}, "size: found str"),
        ([], "no JSON object"),
        ({"time": 1}, "no field of an envelope"),
        ({"time": 1, "subject": "hi", "from": "a@b"}, "no field of an envelope"),
        ({"log": "x", "stream": "stdout", "time": "2026-11-25T17:20:31Z"}, "no field of an envelope"),
    ],
)
def test_a_line_that_says_what_cannot_be_is_counted_and_told(record: object, why: str) -> None:
    transactions, notes = read_json({"time": 1, "helo": "a"}, record, {"time": 2, "helo": "a"})
    assert [one.time for one in transactions] == [1.0, 2.0]
    assert notes.broken == 1
    assert notes.first_broken is not None
    assert notes.first_broken.line == 2
    assert why in notes.first_broken.why


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ('{"time": 1, "mail_from": "a@\\ud800.com"}', "mail_from", "a@\ud800.com"),
        ('{"time": 1, "mail_from": "a@\udcff.com"}', "mail_from", "a@\udcff.com"),
        ('{"time": 1, "mail_from": 7, "mail_from": "a@b"}', "mail_from", "a@b"),
        ('{"time": 1, "size": 100000000000000000000}', "size", 2**64 - 1),
        ('{"time": 1, "size": -0}', "size", 0),
        ('{"time": 1, "x": [NaN, -Infinity, 1e999], "size": 3}', "size", 3),
        ('\ufeff \t{"time": 1, "helo": "a"} \r', "helo", "a"),
    ],
)
def test_what_only_one_of_the_decoders_takes_is_read_as_json_reads_it(line: str, field: str, value: object) -> None:
    notes = Notes(file="log")
    (one,) = json_lines([line + "\n"], notes)
    assert (one.time, getattr(one.envelope, field), notes.broken) == (1.0, value, 0)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"time": 1} {"time": 2}', "no JSON object, or more than one"),
        ('"time"', "no JSON object"),
        ('{"time": 100000000000000000000}', "time: found 100000000000000000000;"),
        ('{"time": 1e999}', "time: found inf"),
        ('{"time": 1, "size": 1.5, "subject": "hi"}', "size: found float"),
        ('{"time": 1, "helo": "a}', "Unterminated string starting at: line 1 column 21"),
        ('{"time": 1, "x": ' + "[" * 200_000, "recursion"),
    ],
)
def test_a_line_that_is_broken_is_told_in_the_words_of_json_and_counted_once(line: str, why: str) -> None:
    notes = Notes(file="log")
    assert list(json_lines([" \n", line + "\n"], notes)) == []
    assert notes.first_broken is not None
    assert (notes.lines, notes.broken, notes.first_broken.line, notes.passed_over) == (2, 1, 2, {})
    assert why in notes.first_broken.why


def test_fields_that_no_envelope_has_are_counted_by_name() -> None:
    (one, _), notes = read_json(
        {"time": 1, "subject": "hi", "reply_to": " Joe@Ex.com "}, {"time": 2, "subject": "ho", "helo": "a"}
    )
    assert notes.passed_over == {"field subject": 2}
    assert one.reply_to == "joe@ex.com"


def test_what_a_replay_keeps_of_a_reply_to_and_of_a_user_is_bounded() -> None:
    ((one,), _) = read_json({"time": 1, "reply_to": "a" * 100_000, "auth_user": "a" * 100_000})
    assert one.envelope.auth_user == "a" * MOST_USER
    assert one.reply_to == "a" * 320
    assert one.envelope.reply_to == ("a" * 100_000,)


def test_csv_has_the_same_fields_with_recipients_apart_by_blanks_and_empty_cells_unknown() -> None:
    text = (
        "time,client_ip,mail_from,rcpt_to,size,reply_to\n"
        '2021-11-26T01:20:00Z,192.0.2.1,<>,a@b c@d,12,"r@x"\n'
        "1637889601,192.0.2.1,,,,\n"
        "1637889602,192.0.2.1\n"
        "1637889603,192.0.2.1,a@b,c@d,many,\n"
        "\n"
        "1637889604,192.0.2.1,a@b,c@d,1,\n"
    )
    (one, two, three), notes = read_csv(text)
    assert (one.time, one.envelope.mail_from, one.envelope.rcpt_to, one.envelope.size) == (
        1637889600.0,
        "<>",
        ("a@b", "c@d"),
        12,
    )
    assert one.reply_to == "r@x"
    assert (two.envelope.mail_from, two.envelope.rcpt_to, two.envelope.size) == (None, (), None)
    assert three.time == 1637889604.0
    assert (notes.lines, notes.broken) == (7, 2)
    assert notes.first_broken is not None
    assert notes.first_broken.line == 4


@pytest.mark.parametrize(
    "line",
    ['1,192.0.2.1,"a@b', "1,192.0.2.1," + "9" * 200_000, "1,,", "1," + "," * 100_000, "1,192.0.2.1,a@b,c@d"],
)
def test_a_row_that_cannot_be_read_costs_one_line(line: str) -> None:
    (one,), notes = read_csv(f"time,client_ip,size\n{line}\n2,192.0.2.1,7\n")
    assert (one.time, one.envelope.size, notes.lines, notes.broken) == (2.0, 7, 3, 1)
    assert notes.first_broken is not None
    assert notes.first_broken.line == 2
    assert len(notes.first_broken.text) <= SHOWN
    assert len(notes.first_broken.why) <= SHOWN
