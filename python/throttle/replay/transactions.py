"""Reads transactions from JSON lines or from CSV: `time`, and the fields of `Envelope`.

The signature of `Envelope` says which fields there are, so a new one is read without a line here. `reply_to` is kept
for the report in any case.
Invariant: a line that cannot be read, that has no field of an envelope, or that says what no envelope can hold, is
counted as broken and passed over.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import orjson

from throttle import Envelope
from throttle.replay.objects import AROUND, by_json
from throttle.replay.steady import steady
from throttle.replay.times import MOST, seconds
from throttle.replay.transaction import FIELDS, MOST_USER, Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from throttle.replay.notes import Notes
    from throttle.replay.steady import Line

TIME = "time"
REPLY_TO = "reply_to"
_USER = "auth_user"
_REPLY_TO_IS_OF_AN_ENVELOPE = REPLY_TO in FIELDS
_LONGEST = 320  # characters of a Reply-To: the report keeps thousands of them
_are_fields = FIELDS.issuperset
_are_no_fields = FIELDS.isdisjoint
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
            text = line.strip(AROUND)
            if not text:
                continue
            try:
                transaction = _transaction(by_json(text), notes)
            except (ValueError, TypeError) as error:
                notes.break_at(number, line, str(error))
                continue
        yield transaction.time, number, line, transaction


def _of_cells(lines: Iterable[str], notes: Notes) -> Iterator[Line[Transaction]]:
    names: list[str] = []
    for number, line in enumerate(lines, 1):
        notes.lines += 1
        try:
            # A line is a row: in a row of several lines one open quote would take the rest of the file.
            row = next(csv.reader([line], strict=True), [])
            if not row:
                continue
            if not names:
                names = [name.strip().lstrip("\ufeff") for name in row]
                continue
            if len(row) != len(names):
                raise ValueError(f"{len(row)} cells; allowed: {len(names)}, as the first line names fields")
            record: dict[str, Any] = {name: _cell(name, cell) for name, cell in zip(names, row, strict=True) if cell}
            transaction = _transaction(record, notes)
        except (ValueError, TypeError, csv.Error) as error:
            notes.break_at(number, line, str(error))
            continue
        yield transaction.time, number, line, transaction


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
    if _are_no_fields(record):
        raise ValueError("no field of an envelope, such as client_ip or mail_from")
    reply_to = record.get(REPLY_TO) if _REPLY_TO_IS_OF_AN_ENVELOPE else record.pop(REPLY_TO, None)
    others: Iterable[str] = ()
    if not _are_fields(record):
        others = record.keys() - FIELDS
        for name in others:
            del record[name]
    user = record.get(_USER)
    if type(user) is str and len(user) > MOST_USER:
        record[_USER] = user[:MOST_USER]
    envelope = Envelope(**record)
    for name in others:
        notes.pass_over(f"field {name[:40]}")
    return Transaction(time, envelope, _told(reply_to))


def _told(reply_to: Any) -> str | None:
    """Returns the Reply-To for the report, cut where it is too long. The guard reads its own from the envelope."""
    if type(reply_to) is list:
        reply_to = reply_to[0] if reply_to else None
    return reply_to[:_LONGEST].strip().lower() if type(reply_to) is str and reply_to else None
