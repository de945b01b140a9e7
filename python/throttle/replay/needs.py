"""What the keys of one limit had in each period of its own, of what it counts.

It knows what was admitted, not by whom it was decided.
Invariant: what it is given at once lies in one period.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from throttle.replay.counting import MOST_KEYS, Panes
from throttle.replay.limits import JOINED, Counted, several

if TYPE_CHECKING:
    from collections.abc import Sequence

    from throttle import Envelope
    from throttle.replay.counting import Tally
    from throttle.replay.limits import Values


class Need:
    """One limit's. Messages are counted with the tally, new elements by who remembers them; the others here."""

    def __init__(self, limit: Counted, tally: Tally, panes: Panes | None, place: int | None) -> None:
        """`place` is that of what is distinct."""
        self.limit = limit
        self.tally = tally
        self.panes = panes or Panes(limit.period_s)
        self.is_own = panes is None
        self._place = place
        self._seen: set[tuple[str, str]] = set()  # of the period at hand, where the whole key is refused
        self._pane = 0

    def count(self, at: float, rows: Sequence[tuple[Values, Envelope]]) -> None:
        """Count bytes, recipients, or different elements where nothing is remembered beyond the period."""
        limit = self.limit
        for values, envelope in rows:
            keys = limit.keys_of(values)
            if self._place is not None:
                self._appear(at, keys, several(values[self._place]))
                continue
            amount = amount_of(limit, envelope)
            for key in keys:
                self.panes.add(at, key, amount)

    def _appear(self, at: float, keys: Sequence[str], elements: Sequence[str]) -> None:
        pane = int(at // self.limit.period_s)
        if pane != self._pane:
            self._pane = pane
            self._seen.clear()
        for element in elements:
            for key in keys:
                if (key, element) not in self._seen and len(self._seen) < MOST_KEYS:
                    self._seen.add((key, element))
                    self.panes.add(at, key)


def amount_of(limit: Counted, envelope: Envelope) -> int:
    """What one message is to a limit, of one of its keys."""
    if limit.unit == "bytes":
        return envelope.size or 0
    if limit.unit == "recipients" and not _per_recipient(limit):
        return len(set(envelope.rcpt_to))
    return 1


def is_plain(limit: Counted) -> bool:
    """Whether it counts one a message and key: then it is counted with what the keys send at all."""
    return limit.distinct is None and (
        limit.unit == "messages" or (limit.unit == "recipients" and _per_recipient(limit))
    )


def _per_recipient(limit: Counted) -> bool:
    return any(name.startswith("rcpt.") for name in limit.identity.split(JOINED))
