"""Counts in bounded memory against exact ones."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from throttle._replay import Counts, Texts
from throttle.replay import counting
from throttle.replay.counting import Heavy, Panes

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    import pytest


def counts_of(exact: Mapping[str, int]) -> Counts:
    counts = Counts()
    for key, count in exact.items():
        counts.add(key, count)
    return counts


def test_heavy_keys_are_too_low_by_no_more_than_is_told_and_never_too_high(rng: random.Random) -> None:
    heavy, exact = Heavy(most=100), Counter[str]()
    for n in range(30_000):
        key = f"heavy{rng.randrange(20)}" if n % 3 == 0 else f"once{n}"
        heavy.add(key)
        exact[key] += 1
    assert heavy.short <= 30_000 / 100
    assert len(heavy.counts) <= 200
    for key, count in exact.items():
        assert count - heavy.short <= heavy.counts[key] <= count
    assert {key for key, _ in heavy.top(20)} == {f"heavy{n}" for n in range(20)}


def test_percentiles_are_those_of_every_key_in_every_period(rng: random.Random) -> None:
    panes, exact = Panes(60), defaultdict[tuple[int, str], int](int)
    at = 1_600_000_000.0
    for _ in range(20_000):
        at += rng.expovariate(10)
        key = f"k{int(rng.paretovariate(1.0))}"
        panes.add(at, key)
        exact[int(at // 60), key] += 1
    panes.close()
    amounts = sorted(exact.values())
    assert panes.count == len(amounts)
    assert panes.most == amounts[-1]
    for share in (0.5, 0.99, 0.999):
        told = panes.percentile(share)
        assert sum(amount <= told for amount in amounts) >= share * len(amounts)
        assert sum(amount < told for amount in amounts) < share * len(amounts)


def test_of_a_period_with_too_many_keys_what_is_left_out_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST_KEYS", 10)
    panes = Panes(60)
    for n in range(25):
        panes.add(0.0, f"k{n}")
    panes.update(0.0, Texts(["k1", "k24"]))
    panes.close()
    assert (panes.count, panes.uncounted, panes.most, panes.most_key) == (10, 16, 2, "k1")


def test_keys_that_are_left_out_have_no_say_in_percentiles_and_may_have_the_most() -> None:
    panes = Panes(60)
    panes.left_out = {"flood", "never seen"}
    for minute in range(3):
        panes.update(minute * 60.0, Texts(["a"] * 2 + ["b"] * 3 + ["flood"] * 50))
    panes.close()
    assert (panes.count, panes.percentile(0.999), panes.most, panes.most_key) == (6, 3, 50, "flood")


def test_a_period_of_nobody_else_says_nothing() -> None:
    panes = Panes(60)
    panes.left_out = {"flood"}
    panes.update(0.0, Texts(["flood"] * 50))
    panes.close()
    assert (panes.count, panes.percentile(0.5), panes.percentile(0.999)) == (0, 0, 0)


def test_large_amounts_are_kept_to_one_part_in_256_and_none_is_lost(rng: random.Random) -> None:
    panes, amounts = Panes(60), sorted(rng.randrange(1, 1 << rng.randrange(1, 40)) for _ in range(2_000))
    for n, amount in enumerate(rng.sample(amounts, len(amounts))):
        panes.add(0.0, f"k{n}", amount)
    panes.close()
    assert (panes.count, panes.most) == (len(amounts), amounts[-1])
    assert len(panes._closed) < 8_000
    for share in (0.1, 0.5, 0.9, 0.999):
        exact = amounts[max(-int(-share * len(amounts) // 1), 1) - 1]
        assert exact <= panes.percentile(share) <= exact + exact // 128


def test_the_highest_come_in_order_and_of_equals_the_first_by_name(rng: random.Random) -> None:
    heavy, exact = Heavy(), {f"k{n}": rng.randrange(1, 20) for n in range(500)}
    heavy.update(counts_of(exact))
    ranked = sorted(exact.items(), key=lambda item: (-item[1], item[0]))
    for n in (1, 7, 60, 499, 500, 600):
        assert heavy.top(n) == ranked[:n]
    assert Heavy().top(5) == []


def test_counts_are_those_of_a_counter_whichever_way_they_come(rng: random.Random) -> None:
    counts, exact = Counts(), Counter[str]()
    for turn in range(60):
        keys = [f"k{int(rng.paretovariate(0.8)) % 400}" for _ in range(rng.randrange(200))]
        match turn % 4:
            case 0:
                counts.update(Texts(keys))
                exact.update(keys)
            case 1:
                known = [key for key in keys if key in exact]
                assert counts.update_known(Texts(keys)) == len(keys) - len(known)
                exact.update(known)
            case 2:
                counts.merge(counts_of(Counter(keys)))
                exact.update(keys)
            case _:
                for key in keys:
                    counts.add(key, 3)
                    exact[key] += 3
        assert len(counts) == len(exact)
        assert {key: counts[key] for key in exact} == exact
        assert all(key in counts for key in exact)
        assert counts.most() == next(((key, n) for key, n in exact.items() if n == max(exact.values())), None)
        for left_out in (set(keys[:3]), {*exact, "never seen"}, set[str]()):
            assert counts.amounts(left_out) == Counter(n for key, n in exact.items() if key not in left_out)
    assert ("never seen" in counts, counts["never seen"]) == (False, 0)
    less = counts.prune(50)
    assert less == sorted(exact.values(), reverse=True)[50]
    exact = Counter({key: n - less for key, n in exact.items() if n > less})
    assert counts.top(1000) == sorted(exact.items(), key=lambda item: (-item[1], item[0]))
    assert counts.most() == next((key, n) for key, n in exact.items() if n == max(exact.values()))
    assert counts.prune(1000) == 0
    counts.clear()
    assert (len(counts), counts.most(), counts.top(3), counts.amounts(set())) == (0, None, [], {})


def test_of_equals_the_first_that_came_has_the_most(rng: random.Random) -> None:
    keys = rng.sample([f"k{n}" for n in range(500)], 500)
    counts = Counts()
    counts.update(Texts(["once", *keys, *reversed(keys)]))
    assert counts.most() == (keys[0], 2)
    counts.prune(500)
    assert counts.most() == (keys[0], 1)


def test_text_that_is_no_unicode_comes_back_as_it_was_and_in_its_order() -> None:
    texts = ["", "a", "\u00e9", "\ud800", "\udcc3\udca9", "\uffff", "\U0001f4e7"]
    counts = counts_of(dict.fromkeys(reversed(texts), 2))
    assert counts.top(10) == [(text, 2) for text in texts]
    assert counts.amounts(set(texts[1:])) == {2: 1}
    assert [counts[text] for text in texts] == [2] * len(texts)


def test_a_count_ends_where_64_bits_do() -> None:
    counts = counts_of({"a": 2**64 - 2})
    counts.update(Texts(["a"] * 3))
    assert counts.top(1) == [("a", 2**64 - 1)]
