"""Asks a guard about each transaction, at the transaction's time, and counts what it says.

What was admitted waits and is counted many at a time: of one step, which lies in one minute and in one period of
every limit.
It knows no format of a log and prints nothing.
Invariants: every transaction is asked about once; one that lies back in time counts at the latest time seen, as in
the guard. Memory is bounded: see `counting`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from throttle._replay import Rows, observed, values
from throttle.replay.counting import MOST_KEYS, Heavy, Panes, Tally
from throttle.replay.learning import memories
from throttle.replay.limits import counted, uncounted
from throttle.replay.needs import Amounts, Need, amount_of, amounts_of, is_plain
from throttle.replay.refusals import MOST_DETAILS, Refusals, refusals_of

if TYPE_CHECKING:
    from throttle import Decision, Envelope, Throttle
    from throttle.replay.learning import Remembered
    from throttle.replay.limits import Counted, Values
    from throttle.replay.transaction import Transaction

_REPLY_TOS = 10_000
_MINUTE = 60
_AT_ONCE = 20_000  # recipients of transactions that wait to be counted


class Replay:
    """A guard, and all that is told in the end."""

    def __init__(self, guard: Throttle) -> None:
        self.guard = guard
        self.observed = observed(guard)
        self.limits = counted(guard.policy, self.observed)
        self.not_replayed = uncounted(guard.policy)
        self.remembered = memories(self.limits, self.observed)
        self.refused: dict[str, Refusals] = {}
        self.shadow: dict[str, Refusals] = {}
        self.reply_to = Heavy(_REPLY_TOS)
        self.transactions = self.admitted = self.rejected = self.by_throttle = 0
        self.since = self.until = 0.0
        self.lay_back = 0
        self.lay_back_s = 0.0
        self.per_hour = Panes(3600)
        #: Limits without a key in any refused transaction.
        self._without_key = self.limits
        self._named = {limit.name: limit for limit in self.limits}
        self.keys = {limit.identity: limit.per for limit in self.limits}
        #: By identity and class, `any` for both, as limits count them.
        self.tallies: dict[tuple[str, str], Tally] = {}
        for limit in self.limits:
            periods = [other.period_s for other in self.limits if is_plain(other) and other.identity == limit.identity]
            self.tallies.setdefault((limit.identity, limit.verified), Tally(periods))
        #: By identity: whom one of its limits refused. An attacker is not to say what is usual.
        self._left_out: dict[str, set[str]] = {name: set() for name in self.keys}
        for (name, _), tally in self.tallies.items():
            for panes in tally.panes.values():
                panes.left_out = self._left_out[name]
        self.needs = [self._need(limit) for limit in self.limits]
        self._fresh = [
            [need for need in self.needs if need.limit in memory.limits and need.is_told] for memory in self.remembered
        ]
        self._slow = [need for need in self.needs if need.is_own and need.limit.memory is None]
        #: Memories that learn nothing of senders of one class.
        self._of_class = [
            memory for memory in self.remembered if all(limit.verified != "any" for limit in memory.limits)
        ]
        self._step_s = math.gcd(_MINUTE, *(limit.period_s for limit in self.limits))
        self._step_at, self._step_ends = 0.0, float(self._step_s)
        self._flushed = 0  # transactions
        # What was admitted in the step at hand, and waits: a message with many recipients has as many keys.
        self._waiting = 0
        self._rows = Rows(guard)
        self._amounts: list[tuple[Values, Amounts]] = []  # where something of them is counted
        self._in_shadow: dict[int, tuple[str, ...]] = {}  # by its place among them

    def _need(self, limit: Counted) -> Need:
        """Messages are counted with the tally; what else a limit counts, by itself."""
        tally = self.tallies[limit.identity, limit.verified]
        place = self.observed.index(limit.distinct) if limit.distinct else None
        memory = next((memory for memory in self.remembered if limit in memory.limits), None)
        is_told = memory is None or (limit.is_told and memory.agrees_with(limit))
        panes = tally.panes[limit.period_s] if is_plain(limit) else None
        return Need(limit, tally, panes, place, self._left_out[limit.identity], is_told=is_told)

    def add(self, transaction: Transaction) -> bool:
        """Ask about one more; whether it was admitted."""
        now, envelope, reply_to, rejected, by_throttle = transaction
        at, rows = now, self._rows
        if now < self.until and self.transactions:
            self.lay_back += 1
            self.lay_back_s = max(self.lay_back_s, self.until - now)
            at = self.until
        if at >= self._step_ends or self._waiting >= _AT_ONCE:
            self._flush()
            self._step_at = at // self._step_s * self._step_s
            self._step_ends = self._step_at + self._step_s
        if not self.transactions:
            self.since = at
        self.until = at
        self.transactions += 1
        self.rejected += rejected and not by_throttle
        self.by_throttle += by_throttle
        self._waiting += max(1, len(envelope.rcpt_to))
        decision = rows.ask(now, at, envelope)
        if decision is None:
            self.admitted += 1
        elif decision.allowed:
            self.admitted += 1
            shadow = decision.shadow
            for name in shadow:
                self._refuse(self.shadow, at, name, transaction, None)
            self._in_shadow[len(rows)] = shadow
            rows.add(at, envelope)
        else:
            if reply_to:
                self.reply_to.add(reply_to)
            self._refuse(self.refused, at, decision.limit or "", transaction, decision)
            return False
        if self._slow or self._of_class:
            self._amounts.append((self._values(envelope), amounts_of(envelope)))
        return True

    def close(self) -> None:
        """Take down what the last periods had."""
        self._flush()
        self.per_hour.close()
        for tally in self.tallies.values():
            tally.close()
        for need in self.needs:
            need.close()

    def has_key(self, need: Need) -> bool:
        """Returns whether any transaction had a key of this limit, also one that was refused."""
        return need.tally.hour.most > 0 or need.limit not in self._without_key

    def _flush(self) -> None:
        at, rows = self._step_at, self._rows
        self.per_hour.add(at, "", self.transactions - self._flushed)
        self._flushed = self.transactions
        self._waiting = 0
        if not rows:
            return
        for (name, verified), tally in self.tallies.items():
            tally.update(at, rows.keys(self.keys[name].places, verified))
        for need in self._slow:
            need.count(at, self._amounts)
        for memory, needs in zip(self.remembered, self._fresh, strict=True):
            fresh = memory.update(rows, self._not_learned_by(memory))
            for need in needs:
                need.panes.update(at, fresh)
        for waiting in (rows, self._amounts, self._in_shadow):
            waiting.clear()

    def _not_learned_by(self, memory: Remembered) -> list[int]:
        """Places of what no limit of this memory counts, or every one would have refused: a guard does not get to know
        it either.
        """
        names = {limit.name for limit in memory.limits}
        places = {place for place, shadow in self._in_shadow.items() if names <= set(shadow)}
        if memory in self._of_class:
            places.update(
                place
                for place, (values, _) in enumerate(self._amounts)
                if not any(limit.counts_sender(values) for limit in memory.limits)
            )
        return sorted(places)

    def _values(self, envelope: Envelope) -> Values:
        return values(self.guard, envelope)

    def _refuse(
        self,
        refused: dict[str, Refusals],
        at: float,
        name: str,
        transaction: Transaction,
        decision: Decision | None,
    ) -> None:
        values = self._values(transaction.envelope)
        self._without_key = [limit for limit in self._without_key if not limit.keys_of(values)]
        limit = self._named.get(name)
        identity = limit.identity if limit else (decision.identity if decision else None) or "global"
        own = limit.per.of(values) if limit else ()
        key = (decision.key if decision else None) or next(iter(own), "")
        refusals = refused.get(name)
        if refusals is None:
            refusals = refused[name] = refusals_of(name, identity, limit, self.observed)
        whole = key in own
        admitted = None
        if limit and whole and key not in refusals.details and len(refusals.details) < MOST_DETAILS:
            self._flush()
            admitted = self.tallies[identity, limit.verified].count(key)
        value = key if whole else next(iter(own), "")
        if limit and len(self._left_out[identity]) < MOST_KEYS:
            self._left_out[identity].add(value)
        amount = amount_of(limit, amounts_of(transaction.envelope)) if limit else 1
        refusals.add(at, key, values, transaction.reply_to, admitted, None if whole else value or None, amount)
