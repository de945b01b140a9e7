"""What a replay refused: by limit and key, since when, with which fan-out and which Reply-To.

It knows decisions, not limits' memories.
Invariant: bounded by the number of limits: `counting.MOST_KEYS` keys each, of which `MOST_DETAILS` are known in detail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from throttle.replay.counting import Heavy
from throttle.sketch import HyperLogLog

if TYPE_CHECKING:
    from throttle.replay.limits import Counted, Values

MOST_DETAILS = 5_000
_REPLY_TOS = 1_000
_REPLY_TOS_OF_A_KEY = 16
_PRECISION = 9  # 512 registers: 3.7 %
_SEED = b"of this process."  # only ever counts: nobody outside learns a hash


@dataclass(slots=True)
class Detail:
    """What is known of a key that was refused."""

    first: float
    admitted_before: int | None  # messages of the key, where it is a whole value
    most: int = 0  # refused in one period of the limit
    elements: HyperLogLog = field(default_factory=lambda: HyperLogLog(_PRECISION, seed=_SEED))
    reply_to: Heavy = field(default_factory=lambda: Heavy(_REPLY_TOS_OF_A_KEY))
    value: str | None = None  # of the limit's identity, where the key is a part of a name
    _pane: int = 0
    _now: int = 0

    def add(self, pane: int, amount: int) -> None:
        """Count what was refused in a period."""
        self._now = self._now + amount if pane == self._pane else amount
        self._pane = pane
        self.most = max(self.most, self._now)


@dataclass(slots=True)
class Refusals:
    """Of one limit."""

    name: str
    identity: str
    limit: Counted | None  # None: no limit on a rate
    element: int | None  # place of what its fan-out is told of
    of: str | None  # and its name
    count: int = 0
    first: float = 0.0
    first_key: str = ""
    keys: Heavy = field(default_factory=Heavy)
    details: dict[str, Detail] = field(default_factory=dict)
    reply_to: Heavy = field(default_factory=lambda: Heavy(_REPLY_TOS))

    def add(
        self,
        at: float,
        key: str,
        values: Values,
        reply_to: str | None,
        admitted: int | None,
        value: str | None,
        amount: int,
    ) -> None:
        """Count one refusal; `admitted` is how many messages of the key were admitted so far."""
        if not self.count:
            self.first, self.first_key = at, key
        self.count += 1
        self.keys.add(key)
        if reply_to:
            self.reply_to.add(reply_to)
        detail = self.details.get(key)
        if detail is None:
            if len(self.details) >= MOST_DETAILS:
                return
            detail = self.details[key] = Detail(at, admitted, value=value)
        detail.add(int(at // self.limit.period_s) if self.limit else 0, amount)
        if reply_to:
            detail.reply_to.add(reply_to)
        element = None if self.element is None else values[self.element]
        if type(element) is tuple:
            detail.elements.update(element)
        elif type(element) is str:
            detail.elements.add(element)


def refusals_of(name: str, identity: str, limit: Counted | None, observed: list[str]) -> Refusals:
    """Nothing yet. The fan-out is that of what the limit counts distinct, else of hosts, else of mailboxes."""
    likely = [limit.distinct if limit else None, "sender.host", "rcpt.address"]
    of = next((name for name in likely if name in observed and name not in identity.split(" + ")), None)
    return Refusals(name, identity, limit, None if of is None else observed.index(of), of)
