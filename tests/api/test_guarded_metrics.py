"""Guarded metrics: the most frequent label values have a name, the total is exact, and memory is flat."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import timeit
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from throttle import ManualClock, metrics
from throttle.errors import ThrottleError
from throttle.metrics import GuardedCounter, GuardedGauge, GuardedHistogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.registry import Collector

openmetrics: Any = exposition.generate_latest  # has no types

HOSTILE = [
    "<script>alert(1)</script>",
    'quote " and back\\slash',
    "line\nend\r\n# HELP mails forged",
    "\x1b]0;title\x07\x1b[2J",
    "lone \ud800 surrogate \udfff",
    "right to left \u202e",
    "nul \x00",
    "",
    "x" * 100_000,
    "\x1b" * 100_000,
    "ж" * 70,
    "other",
    "released",
]


def values(metric: Collector, suffix: str = "_total") -> dict[tuple[str, ...], float]:
    """What is exported, by the values of its labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in metric.collect()
        for sample in family.samples
        if sample.name == family.name + suffix
    }


def counter(**arguments: Any) -> tuple[GuardedCounter, ManualClock]:
    clock = ManualClock(0.0)
    return GuardedCounter("mails", "Messages.", ["sender"], registry=None, clock=clock, **arguments), clock


def test_after_100_000_invented_names_three_heavy_ones_are_visible_and_the_total_is_exact() -> None:
    mails, _ = counter()
    for number in range(100_000):
        mails.labels(f"h{number}.flood.org").inc()
    for _ in range(1_000):
        for sender in ("a.com", "b.com", "c.com"):
            mails.labels(sender).inc()
    shown = values(mails)
    assert {sender: shown[sender,] for sender in ("a.com", "b.com", "c.com")} == dict.fromkeys(
        ("a.com", "b.com", "c.com"), 1_000 - 10
    ), "ten updates make a name beside names of one update, and they count in `other`"
    assert sum(shown.values()) == 103_000
    assert len(shown) == 100


def test_heavy_names_are_found_while_the_flood_goes_on() -> None:
    mails, _ = counter()
    for number in range(100_000):
        mails.labels(f"h{number}.flood.org").inc()
        if number % 50 == 0:
            mails.labels("a.com").inc()
    assert values(mails)["a.com",] > 0.95 * 2_000


def test_a_combination_that_fits_has_its_name_and_its_whole_count_at_once() -> None:
    mails, _ = counter(max_series=5)
    mails.labels("a.com")
    mails.labels(sender="b.com").inc(2.5)
    assert values(mails) == {("other",): 0, ("a.com",): 0, ("b.com",): 2.5}


def test_a_name_starts_at_0_and_what_a_released_one_counted_stays_in_the_total() -> None:
    mails, _ = counter(max_series=3)
    mails.labels("old.com").inc(5)
    for _ in range(20):
        mails.labels("new.com").inc()
    assert values(mails) == {("other",): 10, ("new.com",): 10, ("released",): 5}


def test_a_name_that_comes_back_starts_at_0_with_a_new_time_of_creation() -> None:
    mails, clock = counter(max_series=3)

    def update(sender: str) -> None:
        clock.advance(3_600)
        for _ in range(100):
            mails.labels(sender).inc()

    update("a.com")
    before, created = values(mails)["a.com",], values(mails, "_created")["a.com",]
    update("b.com")
    assert ("a.com",) not in values(mails)
    update("a.com")
    assert 0 < values(mails)["a.com",] < before, "lower, so a reset to Prometheus"
    assert values(mails, "_created")["a.com",] > created
    assert sum(values(mails).values()) == 300


def test_a_kept_handle_follows_its_combination() -> None:
    mails, clock = counter(max_series=3)
    kept, rival = mails.labels("a.com"), mails.labels("b.com")
    kept.inc()
    for _ in range(20):
        rival.inc()
    assert values(mails) == {("other",): 10, ("b.com",): 10, ("released",): 1}
    kept.inc()
    assert values(mails)["other",] == 11
    clock.advance(86_400)
    for _ in range(20):
        kept.inc()
    assert values(mails)["a.com",] > 0
    assert sum(values(mails).values()) == 42


def test_names_spend_the_budget_and_a_frequent_one_that_is_active_gets_the_next_token() -> None:
    mails, clock = counter(max_series=3, names_per_hour=2)
    mails.labels("first.com").inc()
    seen = {"first.com"}
    for number in range(50):
        for _ in range(100 * (number + 1)):
            mails.labels(f"rotating{number}.com").inc()
        seen |= {name for (name,) in values(mails)}
    assert len(seen - {"other", "released"}) == 1 + 2
    clock.advance(1_800)
    for _ in range(100):
        mails.labels("light.com").inc()
    for _ in range(1_000):
        mails.labels("heavy.com").inc()
    assert ("heavy.com",) in values(mails)


def test_a_name_of_yesterday_yields_to_a_name_of_today() -> None:
    mails, clock = counter(max_series=3)
    mails.labels("yesterday.com").inc()
    for _ in range(100_000):
        mails.labels("yesterday.com").inc()
    clock.advance(86_400)
    for _ in range(100):
        mails.labels("today.com").inc()
    assert ("today.com",) in values(mails)


def test_other_and_released_are_the_reserved_series() -> None:
    mails, _ = counter(max_series=4)
    mails.labels("other").inc()
    mails.labels("released").inc()
    mails.labels("a.com").inc()
    assert values(mails) == {("other",): 2, ("a.com",): 1}


def test_several_labels_fold_together() -> None:
    mails = GuardedCounter("mails", "Messages.", ["stage", "sender"], registry=None, max_series=3)
    mails.labels("mail", "a.com").inc()
    mails.labels(sender="b.com", stage="data").inc(2)
    assert values(mails) == {("other", "other"): 2, ("mail", "a.com"): 1}


def test_a_gauge_shows_set_values_and_its_sum_is_exact() -> None:
    gauge = GuardedGauge("open", "Connections.", ["client"], registry=None, max_series=3)
    first, second = gauge.labels("a"), gauge.labels("b")
    first.inc(3)
    for _ in range(20):
        second.inc()
    second.dec()
    assert values(gauge, "") == {("other",): 13, ("b",): 9}
    second.set(4)
    assert values(gauge, "") == {("other",): 13, ("b",): 4}
    with second.track_inprogress():
        assert values(gauge, "")["b",] == 5
    with gauge.time() as timed:
        timed.labels("b")
    assert 0 <= values(gauge, "")["b",] < 4
    second.set_to_current_time()
    assert values(gauge, "")["b",] > 1e9
    with pytest.raises(ValueError, match="register a Gauge"):
        second.set_function(lambda: 1.0)


def test_a_histogram_keeps_buckets_count_and_sum_of_released_names() -> None:
    took = GuardedHistogram("took", "Time.", ["client"], unit="seconds", registry=None, max_series=3, buckets=(1, 2))
    took.labels("a").observe(0.5)
    took.labels("a").observe(1.5)
    for _ in range(20):
        took.labels("b").observe(9)
    assert values(took, "_count") == {("other",): 12, ("b",): 8, ("released",): 2}
    assert values(took, "_sum")["released",] == 2
    buckets = {key: value for key, value in values(took, "_bucket").items() if key[0] == "released"}
    assert buckets == {("released", "1.0"): 1, ("released", "2.0"): 2, ("released", "+Inf"): 2}
    with took.time() as timed:
        timed.labels("b")
    with took.labels("b").time():
        pass
    assert values(took, "_count")["b",] == 10


def test_exceptions_are_counted_and_exemplars_reach_openmetrics() -> None:
    mails, _ = counter()
    with pytest.raises(KeyError), mails.labels("a.com").count_exceptions():
        raise KeyError
    mails.labels("a.com").inc(2, {"trace": "\ud800"})
    assert values(mails)["a.com",] == 3
    registry = CollectorRegistry()
    registry.register(mails)
    assert b'trace="\\\\ud800"' in openmetrics(registry)


def test_a_metric_without_labels_is_that_of_prometheus_client() -> None:
    registry = CollectorRegistry()
    mails = GuardedCounter("mails", "Messages.", registry=registry)
    mails.inc(2)
    with pytest.raises(KeyError), mails.count_exceptions():
        raise KeyError
    gauge = GuardedGauge("open", "Connections.", registry=registry)
    gauge.inc(5)
    gauge.dec(2)
    took = GuardedHistogram("took", "Time.", registry=registry)
    took.observe(1)
    with took.time():
        pass
    found = [registry.get_sample_value(name) for name in ("mails_total", "open", "took_count")]
    assert found == [3, 3, 2]
    mails.reset()
    gauge.set_function(lambda: 7.0)
    assert [registry.get_sample_value(name) for name in ("mails_total", "open")] == [0, 7]
    gauge.set_to_current_time()
    with gauge.track_inprogress(), gauge.time():
        gauge.set(1)


@pytest.mark.parametrize(
    ("guarded", "plain"), [(GuardedCounter, Counter), (GuardedGauge, Gauge), (GuardedHistogram, Histogram)]
)
def test_names_units_and_mistakes_are_those_of_prometheus_client(guarded: Any, plain: Any) -> None:
    texts = []
    for of_class in (guarded, plain):
        registry = CollectorRegistry()
        metric = of_class("open", "It\nhelps.", ["a", "b"], "ns", "sub", "bytes", registry)
        metric.labels(1, "x")
        texts.append([line for line in generate_latest(registry).decode().splitlines() if "other" not in line])
        with pytest.raises(ValueError, match="Duplicated timeseries"):
            of_class("open", "It helps.", ["a"], "ns", "sub", "bytes", registry)
        for values, named in [((1,), {}), ((1, 2, 3), {}), ((), {}), ((1,), {"b": 2}), ((), {"a": 1, "c": 2})]:
            with pytest.raises(ValueError, match=r"Incorrect label|Can't pass both"):
                metric.labels(*values, **named)
        with pytest.raises(ValueError, match="No label names were set"):
            of_class("open", "It helps.", registry=None).labels("a")
        with pytest.raises(ValueError, match="label"):
            of_class("open", "It helps.", ["__reserved"], registry=None)
    assert [line for line in texts[0] if "_created{" not in line] == [
        line for line in texts[1] if "_created{" not in line
    ]


def test_a_labelled_metric_wants_its_labels() -> None:
    mails, _ = counter()
    with pytest.raises(ValueError, match="missing label values"):
        mails.inc()
    with pytest.raises(ValueError, match="non-negative"):
        mails.labels("a.com").inc(-1)
    assert sum(values(mails).values()) == 0


@pytest.mark.parametrize("variable", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
def test_multiprocess_mode_is_an_error_that_says_why(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "/nowhere")
    with pytest.raises(ThrottleError, match=f"'mails': {variable} is set.*multiprocess mode.*unset it"):
        counter()


@pytest.mark.parametrize("arguments", [{"max_series": 2}, {"names_per_hour": 0}])
def test_a_bound_that_cannot_hold_is_an_error(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} of 'mails' is .*; allowed: "):
        counter(**arguments)


@pytest.mark.parametrize("name", ["max_series", "names_per_hour"])
def test_a_bound_that_is_no_number_is_a_type_error(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} of 'mails': found str; allowed: int"):
        counter(**{name: "many"})


def test_removed_series_are_gone_and_their_places_cost_tokens() -> None:
    mails, _ = counter(max_series=4, names_per_hour=1)
    kept = mails.labels("a.com")
    kept.inc(5)
    mails.labels("b.com").inc(7)
    mails.remove("a.com")
    mails.remove_by_labels({"sender": "b.com"})
    mails.remove_by_labels({})
    with pytest.raises(ValueError, match="Unknown label names: found x; allowed: sender"):
        mails.remove_by_labels({"x": "b.com"})
    assert values(mails) == {("other",): 0}
    for sender in ("c.com", "d.com"):
        for _ in range(20):
            mails.labels(sender).inc()
    assert values(mails) == {("other",): 8 + 20, ("c.com",): 12}
    kept.inc()
    assert values(mails)["other",] == 29
    mails.labels("c.com").inc()
    mails.labels("c.com").reset()
    mails.labels("d.com").reset()
    assert values(mails) == {("other",): 29, ("c.com",): 0}
    mails.clear()
    kept.inc()
    assert values(mails) == {("other",): 1}


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_value_is_harmless_in_both_formats(value: str) -> None:
    registry = CollectorRegistry()
    mails = GuardedCounter("mails", "Messages.", ["sender"], registry=registry)
    mails.labels(value).inc(3)
    for text, parse in (
        (generate_latest(registry), parse_text),
        (openmetrics(registry), parse_openmetrics),
    ):
        assert text.decode().replace("\n", "").isprintable(), "no control character but the ends of lines"
        samples = [sample for family in parse(text.decode()) for sample in family.samples]
        counted = [sample for sample in samples if sample.name == "mails_total" and sample.value]
        assert [sample.value for sample in counted] == [3]
        assert len(counted[0].labels["sender"].encode()) <= 100


def test_long_values_that_differ_at_their_end_stay_different() -> None:
    mails, _ = counter()
    for end in "ab":
        for _ in range(2):
            mails.labels("x" * 1_000 + end).inc()
    assert sorted(values(mails).values()) == [0, 2, 2]


@pytest.mark.parametrize("long", [False, True])
def test_memory_is_flat_whatever_is_invented(long: bool) -> None:
    """The size after 10,000 names and after 40,000 more; a table may be just before or after a purge."""
    mails, _ = counter()
    pad = "x" * 2_000 if long else ""

    def invent(first: int, count: int) -> int:
        for number in range(first, first + count):
            mails.labels(f"h{number}.org.com{pad}").inc()
        values(mails)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = invent(0, 10_000)
        after = invent(10_000, 40_000)
    finally:
        tracemalloc.stop()
    assert after - before < 400_000, "1,024 candidates of at most 400 bytes"
    assert after < 1_500_000


def test_updates_and_exports_hold_the_lock() -> None:
    held: list[bool] = []

    def clock() -> float:
        held.append(mails._lock.locked() if len(held) else False)  # the first call is the constructor's
        return 0.0

    mails = GuardedCounter("mails", "Messages.", ["sender"], registry=None, max_series=3, clock=clock)
    mails.labels("first.com")
    for _ in range(11):
        mails.labels("a.com").inc()
    mails.collect()
    assert held == [False, True, True], "at the ninth update, which gets a name, and at the export"


def test_threads_lose_nothing_and_every_export_is_whole() -> None:
    mails, clock = counter(max_series=6, names_per_hour=1_000_000)
    handle = mails.labels("kept.com")
    rounds, each = 4, 5_000
    totals: list[float] = []

    def update(thread: int) -> None:
        for number in range(each):
            mails.labels(f"h{thread}-{number // 50}.com").inc()
            handle.inc(2)
            if number % 1_000 == 0:
                clock.advance(700)

    threads = [threading.Thread(target=update, args=(thread,)) for thread in range(rounds)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        shown = values(mails)
        assert len(shown) <= 6
        totals.append(sum(shown.values()))
    for thread in threads:
        thread.join()
    assert totals == sorted(totals)
    assert sum(values(mails).values()) == rounds * each * 3
    assert values(mails)["released",] > 0


@pytest.mark.parametrize("kept", [False, True], ids=["labels().inc()", "kept handle"])
def test_an_update_costs_at_most_one_and_a_half_times_that_of_prometheus_client(kept: bool) -> None:
    """A value with a name; the best of rounds in turn. benches/guarded_metrics.py prints the figures."""
    mails, _ = counter()
    plain = Counter("mails", "Messages.", ["sender"], registry=None)

    def update(metric: Any) -> Callable[[], object]:
        if kept:
            return metric.labels("a.com").inc  # type: ignore[no-any-return]
        return lambda: metric.labels("a.com").inc()

    ours, theirs = timeit.Timer(update(mails)), timeit.Timer(update(plain))
    rounds = [(ours.timeit(2_000), theirs.timeit(2_000)) for _ in range(100)]
    assert min(our for our, _ in rounds) <= 1.5 * min(their for _, their in rounds)


def test_without_prometheus_client_the_package_imports_and_the_classes_say_what_to_install() -> None:
    code = "import sys; sys.modules['prometheus_client'] = None; import throttle.metrics as m; m.GuardedCounter"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: GuardedCounter needs prometheus_client: pip install 'mailthrottle[metrics]'"
    )
    assert not hasattr(metrics, "GuardedSummary")
