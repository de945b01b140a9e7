"""`throttle.sketch`: counts that are never too low, distinct counts within theory, and bytes that come back whole."""

import copy
import math
import pickle
import random
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siphash import siphash13
from throttle import sketch
from throttle.sketch import CountMin, HyperLogLog

SEED = b"sixteen octets!!"
Sketch: TypeAlias = CountMin | HyperLogLog

#: For what their types forbid.
ANY_COUNTS: Any = CountMin
ANY_DISTINCT: Any = HyperLogLog

#: Both kinds, with something in them.
FILLED: dict[str, Callable[[], Sketch]] = {
    "CountMin": lambda: with_keys(CountMin(50, 3, seed=SEED), "a", "a", "b"),
    "HyperLogLog": lambda: with_keys(HyperLogLog(6, seed=SEED), "a", "b"),
    "merged HyperLogLog": lambda: merged(HyperLogLog(6, seed=SEED), HyperLogLog(6, seed=SEED), "a", "b"),
}


def with_keys(made: Any, *keys: str) -> Any:
    made.update(keys)
    return made


def merged(made: Any, other: Any, *keys: str) -> Any:
    made.merge(with_keys(other, *keys))
    return made


def in_time(*work: Callable[[], object]) -> None:
    """All at once, each in a thread: one that waits for ever is a failure here, and not the end of the run."""
    threads = [threading.Thread(target=each, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "it waits for ever"


@pytest.fixture(params=FILLED)
def filled(request: pytest.FixtureRequest) -> Sketch:
    return FILLED[request.param]()


texts = st.text(st.characters(codec="utf-8"), max_size=3) | st.binary(max_size=3)
counts = st.integers(min_value=0, max_value=1000)


@given(
    width=st.integers(1, 20),
    depth=st.integers(1, 5),
    added=st.lists(st.tuples(texts, counts)),
    split=st.integers(0, 50),
)
def test_a_count_is_never_too_low_and_a_total_exact_also_when_merged(
    width: int, depth: int, added: list[tuple[str | bytes, int]], split: int
) -> None:
    truth: Counter[bytes] = Counter()
    parts = [CountMin(width, depth, seed=SEED) for _ in range(2)]
    for number, (key, count) in enumerate(added):
        parts[number < split].add(key, count)
        truth[key.encode() if isinstance(key, str) else key] += count
    parts[0].merge(parts[1])
    assert parts[0].total == truth.total()
    assert all(truth[key] <= parts[0].estimate(key) <= truth.total() for key in truth)


def test_a_count_alone_in_its_cells_is_exact() -> None:
    made = CountMin(width=10_000, depth=4, seed=SEED)
    made.add("joe@org.com")
    made.add("joe@org.com", 41)
    made.add("ann@org.com", count=7)
    made.add("bob@org.com", 0)
    assert [made.estimate(f"{name}@org.com") for name in ("joe", "ann", "bob", "sue")] == [42, 7, 0, 0]


def test_errors_stay_within_the_bound_that_was_asked_for(rng: random.Random) -> None:
    made = CountMin.for_error(epsilon=0.005, delta=0.02)
    assert (made.width, made.depth) == (544, 4)
    truth = Counter(f"sender{min(int(rng.paretovariate(1.0)), 20_000)}" for _ in range(50_000))
    for key, count in truth.items():
        made.add(key, count)
    assert made.error_bound == pytest.approx(math.e * 50_000 / 544)
    assert made.error_bound <= 0.005 * 50_000
    beyond = sum(made.estimate(key) - count > made.error_bound for key, count in truth.items())
    assert beyond <= 0.02 * len(truth)


@pytest.mark.parametrize("precision", [10, 12, 14])
def test_distinct_counts_are_within_six_sigma_by_both_estimators(precision: int, rng: random.Random) -> None:
    one = HyperLogLog(precision, seed=rng.randbytes(16))
    known = 0
    # not ten or a hundred: two that meet by chance are more than six sigma there, and this run's seed may be the one
    for count in (1, 1_000, 10_000, 100_000):
        one.update(f"user{number}@org.com" for number in range(known // 2, count))  # some of them again
        known = count
        by_registers = merged(HyperLogLog(precision, seed=one.seed), one)
        assert one.relative_error == pytest.approx(0.833 / 2 ** (precision / 2))
        assert by_registers.relative_error == pytest.approx(1.04 / 2 ** (precision / 2))
        for made in (one, by_registers):
            assert made.estimate() == pytest.approx(count, rel=6 * made.relative_error)


@given(first=st.lists(texts), second=st.lists(texts), precision=st.integers(4, 8))
def test_merged_distinct_counts_are_those_of_one_sketch_that_saw_both(
    first: list[str | bytes], second: list[str | bytes], precision: int
) -> None:
    def of(keys: list[str | bytes]) -> HyperLogLog:
        made = HyperLogLog(precision, seed=SEED)
        made.update(keys)
        return made

    one, other, both = of(first), of(second), of(first + second)
    one.merge(other)
    both.merge(of([]))  # from now on the registers alone tell
    assert one == both
    assert one.estimate() == both.estimate()
    assert other == of(second)


def test_an_empty_sketch_estimates_nothing() -> None:
    assert (HyperLogLog().estimate(), CountMin(5, 2).estimate("a"), CountMin(5, 2).total) == (0.0, 0, 0)
    empty = HyperLogLog(seed=SEED)
    empty.merge(HyperLogLog(seed=SEED))
    assert empty.estimate() == 0.0


def test_text_and_its_octets_are_one_key() -> None:
    made = CountMin(1000, 2)
    for key in (
        "jörg",
        "jörg".encode(),
        "j\udcc3\udcb6rg",
    ):  # the last: octets that a server could not decode (PEP 383)
        made.add(key)
    assert made.estimate("jörg") == 3
    distinct = HyperLogLog()
    distinct.update(["jörg", "jörg".encode(), "j\udcc3\udcb6rg"])
    assert distinct.estimate() == pytest.approx(1)


def test_a_sum_stops_at_the_largest_number() -> None:
    made = CountMin(10, 2)
    made.add("a", 2**63)
    made.add("a", 2**70)
    made.merge(made.copy())
    assert made.estimate("a") == made.total == 2**64 - 1


def test_merging_with_itself_doubles_counts_and_changes_no_distinct_ones() -> None:
    counts, distinct = with_keys(CountMin(50, 3), "a", "b", "a"), with_keys(HyperLogLog(), "a", "b", "a")
    in_time(lambda: counts.merge(counts), lambda: distinct.merge(distinct))
    assert (counts.estimate("a"), counts.total) == (4, 6)
    assert distinct.estimate() == pytest.approx(2, rel=0.01)


def test_two_that_are_merged_into_each_other_by_two_threads_come_to_an_end() -> None:
    a, b = (HyperLogLog(12, seed=SEED) for _ in range(2))

    def merge(into: HyperLogLog, other: HyperLogLog) -> None:
        for number in range(300):
            into.add(f"{number}")
            into.merge(other)

    in_time(lambda: merge(a, b), lambda: merge(b, a))
    assert a.estimate() == pytest.approx(300, rel=0.1)


def test_no_addition_of_eight_threads_is_lost() -> None:
    made = CountMin(100, 3)
    in_time(*[lambda: made.update(["a", "b"] * 5_000)] * 8)
    assert (made.total, made.estimate("a"), made.estimate("b")) == (80_000, 40_000, 40_000)


def test_memory_is_what_the_shape_says() -> None:
    assert CountMin(1000, 3).memory_bytes == 24_000
    assert [HyperLogLog(precision).memory_bytes for precision in (4, 10, 14)] == [32, 784, 12_304]
    assert HyperLogLog().precision == 14
    large = HyperLogLog(18)
    large.update(str(number) for number in range(1000))
    assert large.memory_bytes == 196_624
    assert len(large.to_bytes()) == 196_608 + 64


def test_a_seed_is_drawn_or_given() -> None:
    assert CountMin(5, 1).seed != CountMin(5, 1).seed
    assert len(HyperLogLog().seed) == 16
    assert CountMin.for_error(0.1, 0.1, seed=SEED).seed == HyperLogLog(seed=SEED).seed == SEED
    same, other = (with_keys(HyperLogLog(seed=seed), *map(str, range(100))) for seed in (SEED, bytes(16)))
    assert same == with_keys(HyperLogLog(seed=SEED), *map(str, range(100)))
    assert same != other
    assert [CountMin(5, 1) == CountMin(5, 1), HyperLogLog() == HyperLogLog()] == [
        False,
        False,
    ]  # empty, and of two seeds


COPIES: dict[str, Callable[[Any], Any]] = {
    "bytes": lambda made: type(made).from_bytes(made.to_bytes()),
    "pickle": lambda made: pickle.loads(pickle.dumps(made)),
    "oldest pickle": lambda made: pickle.loads(pickle.dumps(made, protocol=0)),
    "copy()": lambda made: made.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_is_the_same_and_goes_its_own_way(filled: Any, way: str) -> None:
    other = COPIES[way](filled)
    assert other == filled
    assert (repr(other), other.seed, other.to_bytes()) == (repr(filled), filled.seed, filled.to_bytes())
    again = COPIES[way](filled)
    for made in (other, again):
        made.update(["c", "d"])
    assert other == again
    assert other != filled


def framed(kind: int, numbers: list[int], words: list[int]) -> bytes:
    """Bytes as they are specified, with a check that is right, whatever the numbers are."""
    before = struct.pack("<4sBBxx16s", b"thrS", 1, kind, SEED)
    before += b"".join(number.to_bytes(8, "little") for number in (*numbers, len(words), *words))
    return before + siphash13(SEED, before).to_bytes(8, "little")


def test_bytes_are_those_of_the_stated_format() -> None:
    made = CountMin(2, 1, seed=SEED)
    made.add("a", 5)
    upper = siphash13(SEED, b"a") * 0xF1357AEA2E62A9C5 >> 63 & 1
    assert made.to_bytes() == framed(1, [2, 1, 5], [0, 5] if upper else [5, 0])
    distinct = with_keys(HyperLogLog(4, seed=SEED), "a")
    key = siphash13(SEED, b"a")
    run = 61 - (key % 2**60).bit_length()
    registers = run << 6 * (key >> 60)
    left, words = (2**60 // 2**run - 2**60) % 2**64, [registers % 2**64, registers >> 64]
    assert distinct.to_bytes() == framed(2, [4, left, 2**16], words)
    assert HyperLogLog.from_bytes(framed(2, [4, 0, 2**64 - 1], words)) == merged(HyperLogLog(4, seed=SEED), distinct)


@pytest.mark.parametrize(
    ("kind", "numbers", "words"),
    [
        (CountMin, [2, 1, 0], [0]),
        (CountMin, [0, 1, 0], []),
        (CountMin, [2**63, 2, 0], []),
        (CountMin, [2**64 - 1, 2**64 - 1, 0], [0]),
        (HyperLogLog, [4, 0, 0], [0]),
        (HyperLogLog, [4, 0, 0], [62, 0]),
        (HyperLogLog, [4, 0, 2**64 - 1], [62, 0]),
        (HyperLogLog, [4, 0, 2**64 - 1], [0, 2**32]),
        (HyperLogLog, [4, 0, 0], [1, 0]),
        (HyperLogLog, [4, 1, 0], [0, 0]),
        (HyperLogLog, [3, 0, 0], [0]),
        (HyperLogLog, [2**32 + 4, 0, 0], [0, 0]),
    ],
)
def test_numbers_that_no_sketch_has_are_refused_though_their_check_is_right(
    kind: Any, numbers: list[int], words: list[int]
) -> None:
    with pytest.raises(ValueError, match=r"^data: found [^;]*(cells|registers)"):
        kind.from_bytes(framed(1 if kind is CountMin else 2, numbers, words))


def test_every_changed_octet_is_found(filled: Any) -> None:
    data = filled.to_bytes()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match=r"^data: found .*; allowed: "):
            type(filled).from_bytes(bytes(changed))


def test_every_length_but_its_own_is_found(filled: Any) -> None:
    data = filled.to_bytes()
    for wrong in (*(data[:length] for length in range(len(data))), data + b"\0", data + bytes(8)):
        with pytest.raises(
            ValueError, match=r"^data: found \d+ bytes; allowed: (at least 64|as many as the header says)$"
        ):
            type(filled).from_bytes(wrong)


@given(data=st.binary(max_size=200), head=st.booleans())
def test_any_octets_are_refused_without_a_crash(data: bytes, head: bool) -> None:
    for kind, number in ((CountMin, 1), (HyperLogLog, 2)):
        with pytest.raises(ValueError, match=r"^data: found "):
            kind.from_bytes(b"thrS\x01" + bytes([number]) + data if head else data)


def test_bytes_of_another_kind_or_version_are_named() -> None:
    counts, distinct = FILLED["CountMin"]().to_bytes(), FILLED["HyperLogLog"]().to_bytes()
    with pytest.raises(ValueError, match="data: found another kind of sketch; allowed: a CountMin"):
        CountMin.from_bytes(distinct)
    with pytest.raises(ValueError, match="data: found another kind of sketch; allowed: a HyperLogLog"):
        HyperLogLog.from_bytes(counts)
    with pytest.raises(ValueError, match="data: found version 2; allowed: version 1"):
        CountMin.from_bytes(counts[:4] + b"\2" + counts[5:])
    with pytest.raises(TypeError, match="data: found str; allowed: bytes"):
        CountMin.from_bytes("thrS")  # type: ignore[arg-type]


def test_what_differs_does_not_merge_and_changes_nothing() -> None:
    made = with_keys(CountMin(50, 3, seed=SEED), "a")
    distinct = with_keys(HyperLogLog(6, seed=SEED), "a")
    before = made.copy(), distinct.copy()
    wrong: list[tuple[Any, Any, type[Exception], str]] = [
        (made, CountMin(50, 2, seed=SEED), ValueError, "other: found width=50, depth=2; allowed: width=50, depth=3"),
        (made, CountMin(51, 3, seed=SEED), ValueError, "other: found width=51, depth=3; allowed: width=50, depth=3"),
        (made, CountMin(50, 3), ValueError, "other: found another seed; allowed: the same one"),
        (made, distinct, TypeError, "other: found HyperLogLog; allowed: CountMin"),
        (distinct, HyperLogLog(7, seed=SEED), ValueError, "other: found precision=7; allowed: precision=6"),
        (distinct, HyperLogLog(6), ValueError, "other: found another seed; allowed: the same one"),
        (distinct, made, TypeError, "other: found CountMin; allowed: HyperLogLog"),
        (distinct, None, TypeError, "other: found None; allowed: HyperLogLog"),
    ]
    for into, other, error, message in wrong:
        with pytest.raises(error, match=f"^{message}"):
            into.merge(other)
    assert (made, distinct) == before


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ANY_COUNTS(0, 1), ValueError, "width: found 0; allowed: an integer of at least 1"),
        (lambda: ANY_COUNTS(1, -1), ValueError, "depth: found -1; allowed: an integer of at least 1"),
        (lambda: ANY_COUNTS(1.5, 1), TypeError, "width: found float; allowed: int"),
        (lambda: ANY_COUNTS(2**40, 2**30), ValueError, r"width, depth: found \d+ × \d+ cells; allowed: at most"),
        (lambda: ANY_COUNTS(2**99, 1), ValueError, r"width, depth: found \d+ × 1 cells; allowed: at most"),
        (lambda: ANY_COUNTS(5, 1, seed=b"short"), ValueError, "seed: found 5 bytes; allowed: bytes of length 16"),
        (lambda: ANY_COUNTS.for_error(0, 0.1), ValueError, "epsilon, delta: found 0, 0.1; allowed: between 0 and 1"),
        (
            lambda: ANY_COUNTS.for_error(0.1, math.nan),
            ValueError,
            "epsilon, delta: found 0.1, NaN; allowed: between 0 and 1",
        ),
        (lambda: ANY_DISTINCT(3), ValueError, "precision: found 3; allowed: an integer from 4 to 18"),
        (lambda: ANY_DISTINCT(19), ValueError, "precision: found 19; allowed: an integer from 4 to 18"),
        (lambda: ANY_DISTINCT("14"), TypeError, "precision: found str; allowed: int"),
        (lambda: ANY_DISTINCT(seed="sixteen letters!"), TypeError, "seed: found str; allowed: bytes of length 16"),
        (lambda: ANY_DISTINCT().add(5), TypeError, "key: found int; allowed: str or bytes"),
        (lambda: ANY_DISTINCT().update("abc"), TypeError, "keys: found str; allowed: an iterable of str or bytes"),
        (lambda: ANY_COUNTS(5, 1).update(b"abc"), TypeError, "keys: found bytes; allowed: an iterable of str or bytes"),
        (lambda: ANY_COUNTS(5, 1).update([5]), TypeError, "key: found int; allowed: str or bytes"),
        (lambda: ANY_COUNTS(5, 1).estimate(None), TypeError, "key: found None; allowed: str or bytes"),
        (lambda: ANY_COUNTS(5, 1).add("a", -1), ValueError, "count: found -1; allowed: an integer of at least 0"),
        (lambda: ANY_COUNTS(5, 1).add("a", 1.0), TypeError, "count: found float; allowed: int"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(
    make: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        make()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
def test_memory_that_there_is_not_is_an_error() -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, limits[1]))
    try:
        with pytest.raises(MemoryError, match="a sketch of 34359738368 words"):
            CountMin(2**33, 4)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_it_prints_and_has_no_hash() -> None:
    assert repr(with_keys(CountMin(50, 3), "a", "b")) == "CountMin(width=50, depth=3, total=2)"
    assert repr(with_keys(HyperLogLog(), "a", "b")) == "HyperLogLog(precision=14, estimate=2)"
    for made in (CountMin(5, 1), HyperLogLog()):
        with pytest.raises(TypeError, match="unhashable"):
            hash(made)
        assert made != 5


def test_the_module_is_a_list_of_both() -> None:
    assert sketch.__all__ == ["CountMin", "HyperLogLog"]
    assert [getattr(sketch, name).__module__ for name in sketch.__all__] == ["throttle.sketch"] * 2
