"""One label combination of a guarded metric: its slot, and the handles that `labels` returns.

It does not know which combinations have a name; `find` of the metric tells.
Invariant: an update and its slot are found under one lock, so none reaches a series that is no longer exported.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.context_managers import ExceptionCounter, InprogressTracker, Timer

from throttle.metrics.names import bounded

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Lock

    from throttle.metrics.names import Key

M = TypeVar("M", bound="Counter | Gauge | Histogram")
Exceptions = type[BaseException] | tuple[type[BaseException], ...]


class Slot(Generic[M]):
    """One exported combination. Handles keep it as long as it is `named`; `other` never is."""

    __slots__ = ("child", "named", "pending", "series", "updates")

    def __init__(self, child: M, updates: int, *, named: bool) -> None:
        self.child = child
        self.named = named
        self.pending = 0.0  # not yet in the child
        self.series: object = None  # the handle that labels() returns
        self.updates = updates  # halved every half-life


class Series(Generic[M]):
    """One label combination, as `labels` returns it. It may be kept, and finds the slot of its combination."""

    __slots__ = ("_find", "_key", "_lock", "_slot")

    def __init__(self, lock: Lock, find: Callable[[Key], Slot[M]], key: Key, slot: Slot[M]) -> None:
        self._lock = lock
        self._find = find
        self._key = key
        self._slot = slot

    def _updated(self) -> Slot[M]:
        """Returns the slot that an update goes to, and counts the update, as `find` does. The lock is held."""
        slot = self._slot
        if slot.named:
            slot.updates += 1
        else:
            slot = self._slot = self._find(self._key)
        return slot


class CounterSeries(Series[Counter]):
    """One label combination of a `GuardedCounter`."""

    __slots__ = ()

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """Adds `amount`, which is not negative."""
        if amount < 0:
            raise ValueError("Counters can only be incremented by non-negative amounts.")
        with self._lock:
            slot = self._slot  # _updated(), written out: this is the hot path
            if slot.named:
                slot.updates += 1
            else:
                slot = self._slot = self._find(self._key)
            if exemplar:
                slot.child.inc(amount, _bounded_exemplar(exemplar))
            else:
                slot.pending += amount

    def reset(self) -> None:
        """Sets the value to 0, if the combination has a name. What counts in `other` stays."""
        with self._lock:
            slot = self._updated()
            if slot.named:
                slot.pending = 0.0
                slot.child.reset()

    def count_exceptions(self, exception: Exceptions = Exception) -> ExceptionCounter:
        """Counts exceptions: a decorator or a context manager."""
        return ExceptionCounter(cast("Counter", self), exception)


class GaugeSeries(Series[Gauge]):
    """One label combination of a `GuardedGauge`."""

    __slots__ = ()

    def inc(self, amount: float = 1) -> None:
        """Adds `amount`."""
        with self._lock:
            self._updated().pending += amount

    def dec(self, amount: float = 1) -> None:
        """Subtracts `amount`."""
        with self._lock:
            self._updated().pending -= amount

    def set(self, value: float) -> None:
        """Sets the value; without a name, the value of `other`."""
        value = float(value)
        with self._lock:
            slot = self._updated()
            slot.pending = 0.0
            slot.child.set(value)

    def set_to_current_time(self) -> None:
        """Sets the value to the seconds since the epoch."""
        self.set(time.time())

    def track_inprogress(self) -> InprogressTracker:
        """Adds 1 at the start of a block or function, and subtracts it at the end."""
        return InprogressTracker(self)  # type: ignore[no-untyped-call]

    def time(self) -> Timer:
        """Sets the value to the seconds that a block or function took."""
        return Timer(self, "set")  # type: ignore[no-untyped-call]

    def set_function(self, f: Callable[[], float]) -> None:
        """Raises `ValueError`: a function needs a series that stays, and no combination has one."""
        raise ValueError("set_function needs a series that stays; found a guarded combination: register a Gauge for it")


class HistogramSeries(Series[Histogram]):
    """One label combination of a `GuardedHistogram`."""

    __slots__ = ()

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Counts `amount` in its bucket."""
        with self._lock:
            self._updated().child.observe(amount, _bounded_exemplar(exemplar) if exemplar else None)

    def time(self) -> Timer:
        """Observes the seconds that a block or function took."""
        return Timer(self, "observe")  # type: ignore[no-untyped-call]


def _bounded_exemplar(exemplar: dict[str, str]) -> dict[str, str]:
    return {name: bounded(value) for name, value in exemplar.items()}
