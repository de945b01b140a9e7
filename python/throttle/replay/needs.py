"""What the keys of one limit had in each period of its own, of what it counts.

It knows what was admitted, not by whom it was decided.
Invariant: what it is given at once lies in one period.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from throttle.replay.counting import MOST_KEYS, Panes
from throttle.replay.limits import JOINED, Counted, several
from throttle.replay.peaks import Peaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from throttle import Envelope
    from throttle.replay.counting import Tally
    from throttle.replay.limits import Values


class Need:
    """One limit's. Messages are counted with the tally, new elements by who remembers them; the others here."""

    def __init__(
        self,
        limit: Counted,
        tally: Tally,
        panes: Panes | None,
        place: int | None,
        left_out: set[str],
        *,
        is_told: bool,
    ) -> None:
        """`place` is that of what is distinct, and `left_out` has the keys that were refused. `is_told` is false where
        a replay cannot tell what the limit charges.
        """
        self.limit = limit
        self.tally = tally
        self.panes = panes or Panes(limit.period_s)
        self.is_own = panes is None
        self.is_told = is_told
        self.peaks = Peaks(limit.amount, limit.period_s, limit.at_once, self._votes)
        if self.is_own:
            self.panes.left_out = left_out
        if is_told:
            self.panes.told.append(self.peaks.add)
        self._place = place
        self._left_out = left_out
        self._seen: set[tuple[str, str]] = set()  # of the period at hand, where the whole key is refused
        self._pane = 0

    def close(self) -> None:
        """Take down the period and the hour at hand."""
        if self.is_own:
            self.panes.close()
        self.peaks.close()

    def count(self, at: float, rows: Sequence[tuple[Values, Amounts]]) -> None:
        """Count bytes, recipients, or different elements where nothing is remembered beyond the period."""
        limit = self.limit
        for values, amounts in rows:
            keys = limit.keys_of(values)
            if self._place is not None:
                self._appear(at, keys, several(values[self._place]))
                continue
            amount = amount_of(limit, amounts)
            for key in keys:
                self.panes.add(at, key, amount)

    def _votes(self, key: str) -> bool:
        """Whether a key has a say in the scale: what was refused or has a quota is a matter of quotas."""
        return key not in self._left_out and self.limit.quotas.isdisjoint(key.split(JOINED))

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


class Amounts(NamedTuple):
    """What limits count of one message. An envelope may be large, so it is not kept until it is counted."""

    octets: int
    recipients: int


def amounts_of(envelope: Envelope) -> Amounts:
    """Returns what limits count of an envelope."""
    return Amounts(envelope.size or 0, len(set(envelope.rcpt_to)))


def amount_of(limit: Counted, amounts: Amounts) -> int:
    """Returns how much one message adds to each key of a limit."""
    if limit.unit == "bytes":
        return amounts.octets
    if limit.count == "recipients" and not _per_recipient(limit):
        return amounts.recipients
    return 1


def is_plain(limit: Counted) -> bool:
    """Whether it counts one a message and key: then it is counted with what the keys send at all."""
    return limit.distinct is None and (
        limit.unit == "messages" or (limit.unit == "recipients" and _per_recipient(limit))
    )


def _per_recipient(limit: Counted) -> bool:
    return any(name.startswith("rcpt.") for name in limit.identity.split(JOINED))
