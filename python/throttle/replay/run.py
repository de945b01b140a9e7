"""Asks a guard about each transaction, at the transaction's time, and counts what it says.

It knows no format of a log and prints nothing.
Invariants: every transaction is asked about once; one that lies back in time counts at the latest time seen, as in the guard. Memory is bounded: see `counting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from throttle.replay.counting import MOST_KEYS, Heavy, Panes, Tally
from throttle.replay.learning import memories
from throttle.replay.limits import JOINED, Counted, counted, uncounted
from throttle.replay.refusals import MOST_DETAILS, Refusals, refusals_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from throttle import Decision, Throttle
    from throttle.replay.limits import Values
    from throttle.replay.transaction import Transaction

_REPLY_TOS = 10_000
_AT_ONCE = 20_000  # keys that wait to be counted


class Need:
    """What a limit's keys had in its own period, of what it counts."""

    def __init__(self, limit: Counted, tally: Tally, panes: Panes | None) -> None:
        self.limit = limit
        self.tally = tally
        self.panes = panes or Panes(limit.period_s)
        self.is_own = panes is None
        self.seen: set[tuple[str, str]] = set()  # of the period at hand, where the whole key is refused
        self.pane = 0


class Replay:
    """A guard, and all that is told in the end."""

    def __init__(self, guard: Throttle) -> None:
        self.guard = guard
        self.observed: list[str] = guard._observed  # noqa: SLF001  ours
        self.limits = counted(guard.policy, self.observed)
        self.not_replayed = uncounted(guard.policy)
        self.remembered = memories(self.limits, self.observed)
        self.refused: dict[str, Refusals] = {}
        self.shadow: dict[str, Refusals] = {}
        self.reply_to = Heavy(_REPLY_TOS)
        self.transactions = self.admitted = self.rejected = 0
        self.since = self.until = 0.0
        self.lay_back = 0
        self.lay_back_s = 0.0
        self.per_hour = Panes(3600)
        self._minute = 0.0
        self._flushed = 0
        self._named = {limit.name: limit for limit in self.limits}
        self.keys = {limit.identity: limit.per for limit in self.limits}
        #: By identity and class, `any` for both, as limits count them.
        self.tallies: dict[tuple[str, str], Tally] = {}
        for limit in self.limits:
            periods = [other.period_s for other in self.limits if _is_plain(other) and other.identity == limit.identity]
            self.tallies.setdefault((limit.identity, limit.verified), Tally(periods))
        self.needs = [self._need(limit) for limit in self.limits]
        self._own = [need for need in self.needs if need.is_own]
        #: By identity: whom one of its limits refused. An attacker is not to say what is usual.
        self._left_out: dict[str, set[str]] = {name: set() for name in self.keys}
        for (name, _), tally in self.tallies.items():
            for panes in tally.panes.values():
                panes.left_out = self._left_out[name]
        for need in self._own:
            need.panes.left_out = self._left_out[need.limit.identity]
        self._fresh = [[need for need in self.needs if need.limit in memory.limits] for memory in self.remembered]
        self._slow = [need for need in self._own if need.limit.distinct is None or need.limit.refuses_all]

        def of_class(word: str) -> list[tuple[str, list[str]]]:
            return [(name, tally.waiting) for (name, of), tally in self.tallies.items() if of in ("any", word)]

        self._waiting = {True: of_class("proven"), False: of_class("claimed")}
        self._keys = [(name, keys.places[0], len(keys.places) == 1, keys.of) for name, keys in self.keys.items()]

    def _need(self, limit: Counted) -> Need:
        """Messages are counted with the tally; what else a limit counts, by itself."""
        tally = self.tallies[limit.identity, limit.verified]
        return Need(limit, tally, tally.panes[limit.period_s] if _is_plain(limit) else None)

    def add(self, transaction: Transaction) -> Decision:
        """Ask about one more."""
        at, envelope, reply_to, rejected = transaction
        decision = self.guard.check(envelope, now=at)
        values: Values = self.guard._values(envelope)  # noqa: SLF001  ours
        if at < self.until and self.transactions:
            self.lay_back += 1
            self.lay_back_s = max(self.lay_back_s, self.until - at)
            at = self.until
        if at >= self._minute + 60:
            self._flush()
            self._minute = at // 60 * 60
        if not self.transactions:
            self.since = at
        self.until = at
        self.transactions += 1
        self.rejected += rejected
        if decision.allowed:
            self.admitted += 1
            shadow = decision.shadow
            self._admit(at, transaction, values, shadow)
            for name in shadow:
                self._refuse(self.shadow, at, name, transaction, values, None)
        else:
            if reply_to:
                self.reply_to.add(reply_to)
            self._refuse(self.refused, at, decision.limit or "", transaction, values, decision)
        return decision

    def close(self) -> None:
        """Take down what the last periods had."""
        self._flush()
        self.per_hour.close()
        for tally in self.tallies.values():
            tally.close()
        for need in self._own:
            need.panes.close()

    def _flush(self) -> None:
        if self.transactions > self._flushed:
            self.per_hour.add(self._minute, "", self.transactions - self._flushed)
            self._flushed = self.transactions
        for tally in self.tallies.values():
            tally.flush(self._minute)

    def _admit(self, at: float, transaction: Transaction, values: Values, shadow: tuple[str, ...]) -> None:
        keys: dict[str, Sequence[str]] = {}
        for name, place, is_one, keys_of in self._keys:
            value = values[place]
            keys[name] = (value,) if is_one and type(value) is str else keys_of(values)  # mostly no call is needed
        waiting: list[str] = []
        for name, waiting in self._waiting[values[-1]]:  # type: ignore[index]
            waiting += keys[name]
        for need in self._slow:
            self._count(need, at, transaction, values, keys[need.limit.identity])
        for memory, needs in zip(self.remembered, self._fresh, strict=True):
            if shadow and all(limit.name in shadow for limit in memory.limits):
                continue
            for key, fresh in memory.add(at, keys[memory.per.name], values):
                for need in needs:
                    need.panes.add(at, key, fresh)
        if len(waiting) >= _AT_ONCE:
            self._flush()

    def _count(self, need: Need, at: float, transaction: Transaction, values: Values, keys: Sequence[str]) -> None:
        limit = need.limit
        if limit.verified != "any" and limit.verified != ("proven" if values[-1] else "claimed"):
            return
        if limit.refuses_all:
            self._appear(need, at, values, keys)
            return
        amount = self._amount(limit, transaction)
        for key in keys:
            need.panes.add(at, key, amount)

    def _refuse(
        self,
        refused: dict[str, Refusals],
        at: float,
        name: str,
        transaction: Transaction,
        values: Values,
        decision: Decision | None,
    ) -> None:
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
            admitted = self.tallies[identity, limit.verified].count(key)
        value = key if whole else next(iter(own), "")
        if limit and len(self._left_out[identity]) < MOST_KEYS:
            self._left_out[identity].add(value)
        amount = self._amount(limit, transaction) if limit else 1
        refusals.add(at, key, values, transaction.reply_to, admitted, None if whole else value or None, amount)

    def _amount(self, limit: Counted, transaction: Transaction) -> int:
        """What one message is to a limit, of one of its keys."""
        if limit.unit == "bytes":
            return transaction.envelope.size or 0
        if limit.unit == "recipients" and not any(name.startswith("rcpt.") for name in limit.identity.split(JOINED)):
            return len(set(transaction.envelope.rcpt_to))
        return 1

    def _appear(self, need: Need, at: float, values: Values, keys: Sequence[str]) -> None:
        """Different elements in one period, where nothing is remembered beyond it."""
        pane = int(at // need.limit.period_s)
        if pane != need.pane:
            need.pane = pane
            need.seen.clear()
        value = values[self.observed.index(need.limit.distinct or "")]
        for element in value if type(value) is tuple else (value,):
            for key in keys:
                if type(element) is str and (key, element) not in need.seen and len(need.seen) < MOST_KEYS:
                    need.seen.add((key, element))
                    need.panes.add(at, key)


def _is_plain(limit: Counted) -> bool:
    """Whether it counts one a message and key, in whole minutes: then it is counted with what the keys send at all."""
    per_rcpt = any(name.startswith("rcpt.") for name in limit.identity.split(JOINED))
    counts_one = limit.unit == "messages" or (limit.unit == "recipients" and per_rcpt)
    return limit.distinct is None and counts_one and limit.period_s % 60 == 0
