"""One mail transaction of a log.

This module knows no format.
"""

from __future__ import annotations

import inspect
from typing import NamedTuple

from throttle import Envelope

#: What an envelope can hold: a file of transactions may have all of these.
FIELDS = frozenset(inspect.signature(Envelope).parameters)

#: Characters of the name of a user, which is cut there: a guard keeps the whole of it, and a replay keeps thousands.
MOST_USER = 1024


class Transaction(NamedTuple):
    """`time` is in Unix seconds; `reply_to` is kept for the report, whether or not a limit counts it."""

    time: float
    envelope: Envelope
    reply_to: str | None = None
    rejected: bool = False  # when the log was written
    by_throttle: bool = False  # by throttle, and not by the server itself
