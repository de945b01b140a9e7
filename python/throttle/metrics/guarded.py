"""prometheus_client's Counter, Gauge and Histogram with a bound on their series, for labels that strangers can invent.

    mails = GuardedCounter("mails_total", "Messages received.", ["sender"], max_series=100)
    mails.labels("example.com").inc()

At most ``max_series`` label combinations are exported. Two of them are reserved: every label is ``other`` in the first,
and ``released`` in the second. The rest are names:

    an update of a combination without a name counts in `other`, and makes the combination a candidate (names.py)
    while there are first names left:  each new combination takes one
    afterwards:  a candidate that is updated takes the place of the quietest name if it has more than twice its updates,
                 plus 8, and more than half of those of the most frequent candidate, and if the budget has a token
    a new name starts at 0;  what a released name counted moves to `released` (of a gauge: to `other`)
    every 10 minutes all numbers of updates are halved, so that names are those that are frequent now

The budget has ``names_per_hour`` tokens each hour, and saves as many. So there are at most
max_series + names_per_hour · (T + 1) different combinations in T hours.

prometheus_client validates, keeps the values of the series and exports them: each class here has one of its metrics
inside, without a registry, and uses only its documented interface. What a counter or a gauge adds up waits in the slot
until the next export, because one lock is faster than two.

Invariant: the sum over all exported combinations is the sum of all `inc`, `dec` and `observe`, at each export; counters
and histograms in `other` and `released` never fall; memory depends on the arguments, never on the values of labels.
"""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.context_managers import Timer
from prometheus_client.registry import Collector

from throttle.errors import ThrottleError
from throttle.metrics.names import Budget, Candidates, bounded
from throttle.metrics.series import CounterSeries, GaugeSeries, HistogramSeries, M, Series, Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client.context_managers import ExceptionCounter, InprogressTracker

    from throttle.metrics.names import Key
    from throttle.metrics.series import Exceptions

__all__ = ["GuardedCounter", "GuardedGauge", "GuardedHistogram"]

OTHER = "other"
RELEASED = "released"
#: Updates that a candidate needs more than twice those of the name that it replaces.
MARGIN = 8
HALF_LIFE_US = 600_000_000
#: The clock is read at every 16th update of a candidate, where one may get a name, and at each export.
LOOK_MASK = 15
#: The table of candidates has at least so many entries.
FEWEST_CANDIDATES = 1024

S = TypeVar("S", bound="Series[Any]")


class _Guarded(Collector, Generic[M, S]):
    """What the three classes have in common."""

    _make: type[S]

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        *,
        max_series: int = 100,
        names_per_hour: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if found := next(
            (v for v in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir") if v in os.environ), None
        ):
            raise ThrottleError(
                f"{type(self).__name__} {name!r}: {found} is set, so prometheus_client is in multiprocess mode; "
                "no bound holds there, because the files of all processes are exported: unset it"
            )
        for argument, value in (("max_series", max_series), ("names_per_hour", names_per_hour)):
            if not isinstance(value, int):
                raise TypeError(f"{argument} of {name!r}: found {type(value).__name__}; allowed: int")
        if max_series < 3:
            raise ValueError(
                f"max_series of {name!r} is {max_series}; allowed: 3 or more, {OTHER} and {RELEASED} included"
            )
        if names_per_hour < 1:
            raise ValueError(f"names_per_hour of {name!r} is {names_per_hour}; allowed: 1 or more")
        self._labelnames = tuple(labelnames)
        self._inner = self._metric(name, documentation, self._labelnames, namespace, subsystem, unit)
        self.max_series = max_series
        self.names_per_hour = names_per_hour
        self._names = max_series - 2
        self._clock = clock
        self._lock = Lock()
        self._count = len(self._labelnames)
        self._reserved = ((OTHER,) * self._count, (RELEASED,) * self._count)
        self._first_names = self._names  # left; no other name is free of charge
        self._budget = Budget(names_per_hour)
        self._halved_us = self._now_us()
        self._clear()
        if registry is not None:
            registry.register(self)

    @abstractmethod
    def _metric(
        self, name: str, documentation: str, labelnames: Key, namespace: str, subsystem: str, unit: str
    ) -> M: ...

    def _flush(self, slot: Slot[M]) -> None:
        """Moves what is pending into the child. Nothing of a histogram is pending."""
        if slot.pending:
            cast("Counter | Gauge", slot.child).inc(slot.pending)
            slot.pending = 0.0

    def _keep(self, child: M) -> None:
        """Keeps what a released name counted, by sample and bucket."""
        for sample in next(iter(child.collect())).samples:
            if not sample.name.endswith("_created"):
                place = (sample.name, sample.labels.get("le"))
                self._released[place] = self._released.get(place, 0) + sample.value

    def labels(self, *labelvalues: object, **labelkwargs: object) -> S:
        """Returns the combination of these values, by position or by name. It may be kept.

        While there are first names, this alone exports the combination, at 0.

        Raises:
            ValueError: the values do not fit the names of the labels.
        """
        if labelkwargs or len(labelvalues) != self._count or not labelvalues:
            labelvalues = self._in_order(labelvalues, labelkwargs)
        key = tuple(map(str, labelvalues))
        slot = self._slots.get(key)
        if slot is not None:
            series = slot.series
            if series is None:
                series = slot.series = self._make(self._lock, self._slot_of, key, slot)
            return cast("S", series)
        if key in self._candidates:  # so it is bounded already
            return self._make(self._lock, self._slot_of, key, self._other)
        key = tuple(map(bounded, key))
        if self._first_names:
            with self._lock:
                if self._first_names:
                    self._slot_of(key)
        return self._make(self._lock, self._slot_of, key, self._slots.get(key, self._other))

    def _in_order(self, values: tuple[object, ...], named: Mapping[str, object]) -> tuple[object, ...]:
        if not self._count:
            raise ValueError(f"No label names were set when constructing {self._inner}")
        if values and named:
            raise ValueError("Can't pass both *args and **kwargs")
        if named:
            if named.keys() != set(self._labelnames):
                raise ValueError(
                    f"Incorrect label names: found {', '.join(named)}; allowed: {', '.join(self._labelnames)}"
                )
            return tuple(named[name] for name in self._labelnames)
        if len(values) != self._count:
            raise ValueError(f"Incorrect label count: found {len(values)}; allowed: {self._count}")
        return values

    def remove(self, *labelvalues: object) -> None:
        """Drops the series of a combination that has a name, with what it counted. Another name there costs a token."""
        key = tuple(bounded(str(value)) for value in self._in_order(labelvalues, {}))
        with self._lock:
            self._drop(key)

    def remove_by_labels(self, labels: dict[str, str]) -> None:
        """Drops the series of all combinations with these values, as `remove` does."""
        if unknown := labels.keys() - set(self._labelnames):
            allowed = ", ".join(self._labelnames)
            raise ValueError(f"Unknown label names: found {', '.join(sorted(unknown))}; allowed: {allowed}")
        wanted = [(self._labelnames.index(name), bounded(str(value))) for name, value in labels.items()]
        with self._lock:
            for key in list(self._slots) if wanted else []:
                if all(key[place] == value for place, value in wanted):
                    self._drop(key)

    def clear(self) -> None:
        """Drops all series and what they counted. It gives no first names back."""
        with self._lock:
            for slot in self._slots.values():
                slot.named = False
            self._inner.clear()
            self._clear()

    def _clear(self) -> None:
        self._slots: dict[Key, Slot[M]] = {}
        self._candidates = Candidates(max(FEWEST_CANDIDATES, 2 * self.max_series))
        self._released: dict[tuple[str, str | None], float] = {}
        self._needed = MARGIN  # a candidate with no more updates takes no place
        self._look_us = 0  # when to halve, or to look for a token
        child = cast("M", self._inner.labels(*self._reserved[0]) if self._count else self._inner)
        self._other = Slot(child, 0, named=False)

    def describe(self) -> Iterable[Metric]:
        """Returns the name and type of the metric; a registry finds duplicates by it."""
        return self._inner.describe()

    def collect(self) -> Iterable[Metric]:
        """Returns all series of one moment."""
        if not self._count:
            return self._inner.collect()
        with self._lock:
            now_us = self._now_us()
            if now_us >= self._look_us:
                self._look(now_us)
            for slot in (self._other, *self._slots.values()):
                self._flush(slot)
            metrics = list(self._inner.collect())
            labels = dict(zip(self._labelnames, self._reserved[1], strict=True))
            for (name, le), value in self._released.items():
                metrics[0].add_sample(name, labels if le is None else {**labels, "le": le}, value)
        return metrics

    # --- which combinations have a name; the lock is held -------------------------------------------------------------

    def _slot_of(self, key: Key) -> Slot[M]:
        """Returns the slot for an update of `key`; without a name, counts it as a candidate."""
        candidates = self._candidates
        updates = candidates.get(key)
        if updates is not None:
            updates += 1
            candidates[key] = updates
        elif (slot := self._slots.get(key)) is not None:
            return slot
        elif key in self._reserved:
            return self._other
        elif self._first_names:
            self._first_names -= 1
            return self._name(key, 0)
        else:
            updates = candidates.add(key)
        if updates <= self._needed and updates & LOOK_MASK:
            return self._other
        now_us = self._now_us()
        if now_us >= self._look_us:
            self._look(now_us)
            updates = candidates.get(key, 0)
        return self._promoted(key, updates, now_us) if updates > self._needed else self._other

    def _promoted(self, key: Key, updates: int, now_us: int) -> Slot[M]:
        """Names `key`, if it is frequent enough and the budget has a token. A candidate that is idle gets no name."""
        quietest = None
        self._needed = max(MARGIN, self._candidates.most_updates() // 2)
        if len(self._slots) >= self._names:
            quietest = min(self._slots, key=lambda key: self._slots[key].updates)
            self._needed = max(self._needed, MARGIN + 2 * self._slots[quietest].updates)
        if updates <= self._needed:
            return self._other
        token_us = self._budget.next_us(now_us)
        if token_us > now_us:
            self._needed = 1 << 64  # nobody, until then
            self._look_us = min(self._look_us, token_us)
            return self._other
        self._budget.spend(now_us)
        if quietest is not None:
            self._flush(self._slots[quietest])
            self._keep(self._slots[quietest].child)
            self._drop(quietest)
        del self._candidates[key]
        self._needed = MARGIN
        return self._name(key, updates)

    def _name(self, key: Key, updates: int) -> Slot[M]:
        slot = self._slots[key] = Slot(cast("M", self._inner.labels(*key)), updates, named=True)
        return slot

    def _drop(self, key: Key) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            slot.named = False
            slot.series = None
            self._inner.remove(*key)

    def _look(self, now_us: int) -> None:
        """Halves all numbers of updates if it is time, and lets candidates try for a place again."""
        half_lives = (now_us - self._halved_us) // HALF_LIFE_US
        if half_lives > 0:
            self._halved_us += half_lives * HALF_LIFE_US
            shift = min(half_lives, 64)
            for slot in self._slots.values():
                slot.updates >>= shift
            self._candidates.halve(shift)
        self._look_us = self._halved_us + HALF_LIFE_US
        self._needed = MARGIN

    def _now_us(self) -> int:
        return int(self._clock() * 1e6)


class GuardedCounter(_Guarded[Counter, CounterSeries]):
    """A `prometheus_client.Counter` that exports at most `max_series` label combinations.

    The arguments before ``max_series`` are those of `prometheus_client.Counter`.

    Args:
        max_series: the bound on exported combinations, ``other`` and ``released`` included; 3 or more.
        names_per_hour: how many combinations may take the place of another in an hour; as many may be saved.
        clock: returns seconds that do not fall.

    Raises:
        ThrottleError: prometheus_client is in multiprocess mode.
        ValueError: an argument is wrong, or the registry has a metric of this name.
    """

    _make = CounterSeries

    def _metric(
        self, name: str, documentation: str, labelnames: Key, namespace: str, subsystem: str, unit: str
    ) -> Counter:
        return Counter(name, documentation, labelnames, namespace, subsystem, unit, registry=None)

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """Adds `amount` to a counter without labels."""
        self._inner.inc(amount, exemplar)

    def reset(self) -> None:
        """Sets a counter without labels to 0."""
        self._inner.reset()

    def count_exceptions(self, exception: Exceptions = Exception) -> ExceptionCounter:
        """Counts exceptions, in a counter without labels: a decorator or a context manager."""
        return self._inner.count_exceptions(exception)


class GuardedGauge(_Guarded[Gauge, GaugeSeries]):
    """A `prometheus_client.Gauge` that exports at most `max_series` label combinations; see `GuardedCounter`.

    The sum over all combinations is exact for `inc` and `dec`. `set` sets the combination if it has a name, and
    otherwise ``other``. There is no `multiprocess_mode`.
    """

    _make = GaugeSeries

    def _metric(
        self, name: str, documentation: str, labelnames: Key, namespace: str, subsystem: str, unit: str
    ) -> Gauge:
        return Gauge(name, documentation, labelnames, namespace, subsystem, unit, registry=None)

    def _keep(self, child: Gauge) -> None:
        self._other.pending += next(iter(child.collect())).samples[0].value

    def inc(self, amount: float = 1) -> None:
        """Adds `amount` to a gauge without labels."""
        self._inner.inc(amount)

    def dec(self, amount: float = 1) -> None:
        """Subtracts `amount` from a gauge without labels."""
        self._inner.dec(amount)

    def set(self, value: float) -> None:
        """Sets a gauge without labels."""
        self._inner.set(value)

    def set_to_current_time(self) -> None:
        """Sets a gauge without labels to the seconds since the epoch."""
        self._inner.set_to_current_time()

    def track_inprogress(self) -> InprogressTracker:
        """Adds 1 at the start of a block or function, and subtracts it at the end; of a gauge without labels."""
        return self._inner.track_inprogress()

    def time(self) -> Timer:
        """Sets the gauge to the seconds that a block or function took; with labels, name them inside the block."""
        return Timer(self, "set")  # type: ignore[no-untyped-call]

    def set_function(self, f: Callable[[], float]) -> None:
        """Takes the value of a gauge without labels from `f`."""
        self._inner.set_function(f)


class GuardedHistogram(_Guarded[Histogram, HistogramSeries]):
    """A `prometheus_client.Histogram` that exports at most `max_series` label combinations; see `GuardedCounter`.

    Each combination has a series for each bucket, and those of its count and sum.
    """

    DEFAULT_BUCKETS = Histogram.DEFAULT_BUCKETS
    _make = HistogramSeries

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        *,
        buckets: Sequence[float | str] = DEFAULT_BUCKETS,
        max_series: int = 100,
        names_per_hour: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bounds = buckets
        super().__init__(
            name,
            documentation,
            labelnames,
            namespace,
            subsystem,
            unit,
            registry,
            max_series=max_series,
            names_per_hour=names_per_hour,
            clock=clock,
        )

    def _metric(
        self, name: str, documentation: str, labelnames: Key, namespace: str, subsystem: str, unit: str
    ) -> Histogram:
        return Histogram(
            name, documentation, labelnames, namespace, subsystem, unit, registry=None, buckets=self._bounds
        )

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Counts `amount` in its bucket, in a histogram without labels."""
        self._inner.observe(amount, exemplar)

    def time(self) -> Timer:
        """Observes the seconds that a block or function took; with labels, name them inside the block."""
        return Timer(self, "observe")  # type: ignore[no-untyped-call]
