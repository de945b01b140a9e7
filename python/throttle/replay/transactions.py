"""Transactions from JSON lines or from CSV: the fields of `Envelope`, and `time`.

Which fields an envelope has is asked of it, so a new one is read without a line here. `reply_to` is kept for the
report in any case.
Invariant: a line that cannot be read, or says what no envelope can hold, is counted and passed over.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import orjson

from throttle import Envelope
from throttle.replay.steady import steady
from throttle.replay.times import MOST, seconds
from throttle.replay.transaction import FIELDS, Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from throttle.replay.notes import Notes
    from throttle.replay.steady import Line

TIME = "time"
REPLY_TO = "reply_to"
_AROUND = " \t\r\n\ufeff"  # blanks of JSON, and the mark that some editors write first
_REPLY_TO_IS_OF_AN_ENVELOPE = REPLY_TO in FIELDS
_decode = json.JSONDecoder().raw_decode
_are_fields = FIELDS.issuperset
LISTS = frozenset({"rcpt_to", "dkim"}) & FIELDS  # in CSV their values stand apart by blanks


def json_lines(lines: Iterable[str], notes: Notes) -> Iterator[Transaction]:
    """One object a line."""
    return (transaction for _, _, _, transaction in steady(_of_json(lines, notes), notes))


def comma_separated(lines: Iterable[str], notes: Notes) -> Iterator[Transaction]:
    """The first line names the fields. An empty cell is a field that is not known; the null sender is `<>`."""
    return (transaction for _, _, _, transaction in steady(_of_cells(lines, notes), notes))


def _of_json(lines: Iterable[str], notes: Notes) -> Iterator[Line[Transaction]]:
    for number, line in enumerate(lines, 1):
        notes.lines += 1
        try:
            transaction = _transaction(orjson.loads(line), notes)
        except (ValueError, TypeError, AttributeError):
            text = line.strip(_AROUND)
            if not text:
                continue
            try:
                transaction = _transaction(_object(text), notes)
            except (ValueError, TypeError, RecursionError) as error:
                notes.break_at(number, line, str(error))
                continue
        yield transaction.time, number, line, transaction


def _object(text: str) -> dict[str, Any]:
    """By json, which has the last word: orjson, three times as fast, takes no lone surrogates and makes a float of an
    integer beyond 64 bits.
    """
    record, end = _decode(text)
    if type(record) is not dict or end != len(text):
        raise ValueError("no JSON object, or more than one")
    return record


def _of_cells(lines: Iterable[str], notes: Notes) -> Iterator[Line[Transaction]]:
    reader = csv.reader(_counted(lines, notes))
    names: list[str] = []
    while True:
        row: list[str] = []
        try:
            row = next(reader)
            if not row:
                continue
            if not names:
                names = [name.strip().lstrip("\ufeff") for name in row]
                continue
            if len(row) != len(names):
                raise ValueError(f"{len(row)} cells; allowed: {len(names)}, as the first line names fields")
            record: dict[str, Any] = {name: _cell(name, cell) for name, cell in zip(names, row, strict=True) if cell}
            transaction = _transaction(record, notes)
        except StopIteration:
            return
        except (ValueError, TypeError, csv.Error) as error:
            notes.break_at(reader.line_num, ",".join(row), str(error))
            continue
        yield transaction.time, reader.line_num, ",".join(row), transaction


def _counted(lines: Iterable[str], notes: Notes) -> Iterator[str]:
    for line in lines:
        notes.lines += 1
        yield line


def _cell(name: str, cell: str) -> Any:
    if name in LISTS:
        return cell.split()
    return int(cell) if name == "size" else cell


def _transaction(record: dict[str, Any], notes: Notes) -> Transaction:
    try:
        time = record.pop(TIME)
    except KeyError:
        raise ValueError("time: found none; allowed: Unix seconds or a date of ISO 8601") from None
    if type(time) is not float or not -MOST <= time <= MOST:
        time = seconds(time)
    reply_to = record.get(REPLY_TO) if _REPLY_TO_IS_OF_AN_ENVELOPE else record.pop(REPLY_TO, None)
    others: Iterable[str] = ()
    if not _are_fields(record):
        others = record.keys() - FIELDS
        for name in others:
            del record[name]
    envelope = Envelope(**record)
    for name in others:
        notes.pass_over(f"field {name[:40]}")
    return Transaction(time, envelope, _told(reply_to))


def _told(reply_to: Any) -> str | None:
    """For the report only: what a guard counts, it reads itself."""
    if type(reply_to) is list:
        reply_to = reply_to[0] if reply_to else None
    return reply_to.strip().lower() if type(reply_to) is str and reply_to else None
