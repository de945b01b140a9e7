"""JSON objects, one a line.

This module knows no field.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

AROUND = " \t\r\n\ufeff"  # blanks of JSON, and the mark that some editors write first
_decode = json.JSONDecoder().raw_decode


def read_object(line: str) -> dict[str, Any]:
    """Returns the object of a line.

    Raises `ValueError`.
    """
    try:
        record = orjson.loads(line)
    except ValueError:
        return by_json(line.strip(AROUND))
    if type(record) is not dict:
        raise ValueError("no JSON object")
    return record


def by_json(text: str) -> dict[str, Any]:
    """Returns the object by `json`, which has the last word: `orjson` is three times as fast, but it takes no lone
    surrogates, and makes a float of an integer beyond 64 bits.

    Raises `ValueError`.
    """
    try:
        record, end = _decode(text)
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if type(record) is not dict or end != len(text):
        raise ValueError("no JSON object, or more than one")
    return record
