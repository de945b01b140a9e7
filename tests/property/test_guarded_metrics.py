"""Guarded metrics against an exact model: the total is exact, the series and the names of a day are bounded, and what
`rate` makes of each series is never too high.
"""

from __future__ import annotations

from collections import Counter as Counts
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from throttle import ManualClock
from throttle.metrics import GuardedCounter, GuardedGauge, GuardedHistogram, guarded
from throttle.metrics.names import Budget, Candidates, bounded

#: Few names so that they come back, and bursts so that they cross the margin.
SENDERS = st.sampled_from([f"{letter}.com" for letter in "abcdefgh"])
BURSTS = st.lists(
    st.tuples(SENDERS, st.integers(1, 40), st.integers(0, 5), st.sampled_from([0, 1, 400, 4_000])), max_size=60
)
BOUNDS = {"max_series": st.integers(3, 6), "names_per_hour": st.integers(1, 4)}
RESERVED = {"other", "released"}


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "FEWEST_CANDIDATES", 4)


def exported(metric: Any, suffix: str) -> dict[str, float]:
    (family,) = metric.collect()
    return {sample.labels["x"]: sample.value for sample in family.samples if sample.name == family.name + suffix}


@given(bursts=BURSTS, **BOUNDS)
def test_a_counter_keeps_its_promises(
    bursts: list[tuple[str, int, int, int]], max_series: int, names_per_hour: int
) -> None:
    clock = ManualClock(0.0)
    metric = GuardedCounter(
        "m", "M.", ["x"], registry=None, max_series=max_series, names_per_hour=names_per_hour, clock=clock
    )
    exact: Counts[str] = Counts()
    increase: Counts[str] = Counts()
    before: dict[str, float] = {}
    names: set[str] = set()
    appearances = elapsed = 0
    for sender, times, amount, pause in bursts:
        clock.advance(pause)
        elapsed += pause
        for _ in range(times):
            metric.labels(sender).inc(amount)
        exact[sender] += times * amount
        now = exported(metric, "_total")
        assert sum(now.values()) == exact.total()
        assert len(now) <= max_series
        assert all(now.get(name, 0) >= before.get(name, 0) for name in RESERVED)
        for name in now.keys() - RESERVED:
            last = before.get(name, 0)
            increase[name] += int(now[name] - last if now[name] >= last else now[name])  # as Prometheus does
            assert now[name] <= exact[name]
            assert increase[name] <= exact[name]
        appearances += len(now.keys() - before.keys() - RESERVED)
        names |= now.keys() - RESERVED
        before = now
        assert len(names) <= appearances <= max_series - 2 + names_per_hour * (elapsed / 3_600 + 1)


@given(bursts=BURSTS, **BOUNDS)
def test_the_sum_of_a_gauge_is_exact(
    bursts: list[tuple[str, int, int, int]], max_series: int, names_per_hour: int
) -> None:
    clock = ManualClock(0.0)
    metric = GuardedGauge(
        "m", "M.", ["x"], registry=None, max_series=max_series, names_per_hour=names_per_hour, clock=clock
    )
    exact = 0
    for sender, times, amount, pause in bursts:
        clock.advance(pause)
        handle = metric.labels(sender)
        for _ in range(times):
            handle.inc(2 * amount)
            handle.dec(amount)
        exact += times * amount
        now = exported(metric, "")
        assert sum(now.values()) == exact
        assert len(now) <= max_series


@given(bursts=BURSTS, **BOUNDS)
def test_buckets_and_sums_of_a_histogram_are_exact(
    bursts: list[tuple[str, int, int, int]], max_series: int, names_per_hour: int
) -> None:
    clock = ManualClock(0.0)
    metric = GuardedHistogram(
        "m",
        "M.",
        ["x"],
        registry=None,
        buckets=(1, 3),
        max_series=max_series,
        names_per_hour=names_per_hour,
        clock=clock,
    )
    observed: Counts[int] = Counts()
    for sender, times, amount, pause in bursts:
        clock.advance(pause)
        for _ in range(times):
            metric.labels(sender).observe(amount)
        observed[amount] += times
    assert len(exported(metric, "_count")) <= max_series
    assert sum(exported(metric, "_count").values()) == observed.total()
    assert sum(exported(metric, "_sum").values()) == sum(value * count for value, count in observed.items())
    (family,) = metric.collect()
    for le in ("1.0", "3.0", "+Inf"):
        found = sum(sample.value for sample in family.samples if sample.labels.get("le") == le)
        assert found == sum(count for value, count in observed.items() if value <= float(le))


@given(keys=st.lists(st.integers(0, 20), max_size=300), most=st.integers(2, 12))
def test_the_number_of_a_candidate_is_never_too_high_and_too_low_within_the_bound(keys: list[int], most: int) -> None:
    candidates = Candidates(most)
    exact: Counts[int] = Counts()
    for seen, number in enumerate(keys, 1):
        exact[number] += 1
        updates = candidates.add((str(number),))
        assert exact[number] - 2 * seen / most <= updates <= exact[number]
        assert candidates.most_updates() >= updates


@given(names_per_hour=st.integers(1, 50), waits_us=st.lists(st.integers(0, 2_000_000_000), max_size=200))
def test_a_budget_gives_no_more_than_so_many_an_hour_and_as_many_saved(
    names_per_hour: int, waits_us: list[int]
) -> None:
    budget = Budget(names_per_hour)
    now_us, spent = 0, list[int]()
    for wait_us in waits_us:
        now_us += wait_us
        if budget.next_us(now_us) <= now_us:
            budget.spend(now_us)
            spent.append(now_us)
    for first, start_us in enumerate(spent):
        for last, end_us in enumerate(spent[first:], first):
            assert last - first + 1 <= names_per_hour + (end_us - start_us) * names_per_hour / 3_600_000_000
    assert budget.next_us(now_us) <= now_us + 3_600_000_000 / names_per_hour + 1


@given(text=st.text(st.characters(), max_size=400))
def test_a_bounded_value_is_short_printable_text_and_stays_as_it_is(text: str) -> None:
    value = bounded(text)
    assert value.isprintable()
    assert len(value.encode()) <= 100
    assert bounded(value) == value
