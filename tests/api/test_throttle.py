"""`Throttle`: where a policy, a clock, a seed and a suffix list come from, and what is wrong with other values."""

from __future__ import annotations

import gc
import math
import pickle
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from given_guards import REAL, SEED, guard, limit
from throttle import Envelope, Limit, ManualClock, Policy, PolicyError, RateLimiter, Throttle, ThrottleError
from throttle.suffixes import bundled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PACE = limit("pace", "sender.org", "1/minute")

SENDER = Envelope(client_ip="192.0.2.1", mail_from="a@b.com")


def test_without_a_policy_it_takes_the_built_in_one_and_16_mib() -> None:
    pace = Throttle()
    assert pace.policy == Policy.builtin()
    assert 0.99 * (16 << 20) < pace.memory_bytes <= 16 << 20
    assert repr(pace) == f'Throttle("inbound.toml", limits=28, memory_bytes={pace.memory_bytes})'


def test_a_policy_is_an_object_or_the_path_of_a_file(tmp_path: Path) -> None:
    policy = Policy([PACE])
    path = tmp_path / "mine.toml"
    path.write_text(policy.to_toml())
    assert Throttle(policy).policy is policy
    assert Throttle(path).policy == Throttle(str(path)).policy == policy
    assert Throttle(path).policy.file == str(path)


def quotas_of(limit: Limit) -> list[str]:
    """What the tables of the limit's quotas are called: values with the same numbers share one."""
    groups: dict[str, list[str]] = {}
    for value, numbers in limit.fields.get("quota", {}).items():
        groups.setdefault(repr(sorted(numbers.items())), []).append(value)
    names = [f"{values[0]} and {len(values) - 1} more" if values[1:] else values[0] for values in groups.values()]
    return [f"{limit.name}, quota of {name}" for name in names]


@pytest.mark.parametrize(("memory", "most"), [("8 MiB", 8 << 20), (8_000_000, 8_000_000), ("64 MiB", 64 << 20)])
def test_memory_is_at_most_what_was_asked_for_and_the_tables_are_in_it(memory: int | str, most: int) -> None:
    pace = Throttle(memory=memory)
    tables = pace.tables()
    assert 0.98 * most < pace.memory_bytes <= most
    rest = pace.memory_bytes - sum(table.bytes for table in tables)
    # the header's page and that of counters; what observes; what operators say, and blocks; what is spare
    assert 8192 < rest <= 8192 + most // 16 + most // 56 + most // 64 + most // 32
    limits = Policy.builtin().limits
    quotas = [row for limit in limits for row in quotas_of(limit)]
    assert quotas[0] == "client-pace, quota of 2a00:1450:4864:20::/64 and 1 more"
    assert len(quotas) == 11
    assert [table.table for table in tables] == [
        *(limit.name for limit in limits),
        *quotas,
        "sketch of auth-pace",
        "memory of org-fan-out, org-fresh, org-fan-out-rcpt",
        "memory of org-net-fan-out",
        "memory of net-org-fan-out, client-org-fan-out",
        "memory of all-org-fan-out, all-org-fan-out-spf",
        "memory of reply-to-fan-out",
        "memory of dkim-fan-out",
        "notes of all-org-fan-out, all-org-fan-out-spf",
        "in flight per client.net/32/64",
        "in flight per client.net/24/48",
        "in flight per client.net/24/29",
        "permits",
    ]


def test_memory_too_small_for_the_policy_says_how_much_would_do() -> None:
    with pytest.raises(PolicyError) as raised:
        Throttle(memory="64 KiB")
    error = raised.value
    assert (error.file, error.field, error.found) == ("inbound.toml", "memory", "a budget of 65536 bytes (64 KiB)")
    enough = int(error.allowed.removeprefix("at least ").split()[0])
    assert Throttle(memory=enough).memory_bytes == enough
    with pytest.raises(PolicyError, match=f"at least {enough} bytes"):
        Throttle(memory=enough - 1)


def test_tables_tell_what_is_in_use_and_what_found_no_room() -> None:
    pace = guard(limit("pace", "client.ip", "9/minute", memory="4 KiB"), memory="64 KiB")
    for number in range(1000):
        assert pace.check(SENDER.replace(client_ip=f"10.0.{number // 250}.{number % 250}"))
    [table] = pace.tables()
    assert (table.table, table.bytes, table.slots) == ("pace", 4096, 448)
    assert table.used + table.untracked == 1000
    assert 430 < table.used <= 448


@pytest.mark.parametrize("algorithm", ["gcra", "sliding-window"])
def test_a_fan_out_beside_a_full_table_counts_in_the_sketch_and_lets_no_key_bring_more(algorithm: Any) -> None:
    fans: dict[str, Any] = {"name": "fans", "per": "client.ip", "distinct": "sender.org", "rate": "2/hour"}
    gate = guard(Limit(**fans, when_full="sketch", algorithm=algorithm), memory="1 MiB")
    names = [f"10.{number // 65_536}.{number // 256 % 256}.{number % 256}" for number in range(60_000)]
    brought = dict.fromkeys(names, 0)
    for org in "abc":
        for name in names:
            brought[name] += bool(gate.check(Envelope(client_ip=name, mail_from=f"m@{name}{org}.com")))
    table, sketch, _ = gate.tables()
    assert max(brought.values()) == 2
    assert (sketch.table, sketch.untracked, table.untracked) == ("sketch of fans", 0, 0)
    assert sum(brought.values()) > table.slots
    assert 0 < sketch.used <= sketch.slots
    assert table.used > table.slots * 9 // 10


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"policy": "none/such.toml"}, FileNotFoundError, r"none/such\.toml"),
        ({"policy": 3}, TypeError, "policy: found int; allowed: a path, the name of a built-in policy, or a Policy"),
        ({"policy": "outbound"}, ValueError, r'policy: found "outbound"; allowed: a built-in policy \(inbound, submis'),
        ({"memory": "1 KiB"}, ValueError, r'memory: found "1 KiB"; allowed: a size from "4 KiB" on'),
        ({"memory": "lots"}, ValueError, r'memory: found "lots"'),
        ({"memory": -1}, ValueError, "memory: found -1"),
        ({"memory": 1.5}, TypeError, "memory: found float; allowed: a number of bytes, or text such as"),
        ({"seed": b"fifteen bytes.."}, ValueError, "seed: found 15 bytes; allowed: bytes of length 16, or None"),
        ({"seed": "16 secret bytes."}, TypeError, "seed: found str; allowed: bytes of length 16, or None"),
        ({"clock": 3.0}, TypeError, "clock: found float; allowed: a callable that returns Unix seconds, or None"),
        ({"suffix_list": "none/such.dat"}, ThrottleError, r"suffix list none/such\.dat: No such file"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Throttle(**options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff", "not UTF-8 at byte 0"),
        (b"com\nco.uk\n", "===BEGIN ICANN DOMAINS==="),
        (
            b"// ===BEGIN ICANN DOMAINS===\na..b\n// ===END ICANN DOMAINS===\n// ===BEGIN PRIVATE DOMAINS===\n",
            "line 2: found",
        ),
    ],
)
def test_a_broken_suffix_list_is_told_with_its_place(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "list.dat"
    path.write_bytes(text)
    with pytest.raises(ThrottleError, match=message) as raised:
        Throttle(suffix_list=path)
    assert str(path) in str(raised.value)


def test_a_fresher_suffix_list_and_the_operators_own_suffixes_are_obeyed(tmp_path: Path) -> None:
    sender = Envelope(mail_from="a@x.tenant.b.com")
    path = tmp_path / "list.dat"
    path.write_text(
        bundled().read_text(encoding="utf-8").replace("// ===END PRIVATE", "b.com\n// ===END PRIVATE"), encoding="utf-8"
    )
    for pace in (
        Throttle(suffix_list=path),
        Throttle(suffix_list=str(path)),
        Throttle(Policy([PACE], suffixes=["b.com"])),
    ):
        assert pace.identities(sender)["sender.org"] == "tenant.b.com"
        assert pace.identities(sender)["sender.registered"] == "b.com"
    assert Throttle(Policy([PACE])).identities(sender)["sender.org"] == "b.com"


def test_a_clock_is_any_callable() -> None:
    now = REAL
    pace = guard(PACE, clock=lambda: now)
    assert pace.check(SENDER)
    now += 59.0
    assert pace.check(SENDER).retry_after == 1.0
    now += 1.0
    assert pace.check(SENDER)


def test_without_a_clock_it_tells_unix_time() -> None:
    pace = Throttle(Policy([limit("pace", "sender.org", "1/366 days")]))
    assert pace.check(SENDER, now=time.time() + 1000)
    assert (
        366 * 86_400 + 900 < pace.check(SENDER).retry_after + 1000 <= 366 * 86_400 + 1000
    )  # ours lies back by a thousand seconds, and is clamped


def test_what_a_clock_raises_goes_through_and_charges_nothing() -> None:
    def broken() -> float:
        raise KeyError("mine")

    pace = guard(PACE, clock=broken)
    for ask in (pace.check, pace.peek):
        with pytest.raises(KeyError, match="mine"):
            ask(SENDER)
    assert pace.check(SENDER, now=REAL)  # who states the time needs no clock


@pytest.mark.parametrize(
    ("told", "error"),
    [(math.nan, ValueError), (math.inf, ValueError), (1e13, ValueError), ("noon", TypeError), (None, TypeError)],
)
def test_what_is_no_time_is_refused_from_a_clock_and_as_now(told: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        guard(PACE, clock=lambda: told).check(SENDER)
    pace = guard(PACE)
    if told is not None:
        with pytest.raises(error):
            pace.check(SENDER, now=told)
    assert pace.check(SENDER)


@pytest.mark.parametrize("stage", ["data ", "MAIL", "", ["mail", "quit"]])
def test_an_unknown_stage_is_told_with_those_there_are_and_charges_nothing(stage: Any) -> None:
    pace = guard(PACE)
    for ask in (pace.check, pace.peek):
        with pytest.raises(ValueError, match=r"stage: found .*; allowed: connect, helo, mail, rcpt, data"):
            ask(SENDER, stage=stage)
    assert pace.check(SENDER)


@pytest.mark.parametrize("stage", [3, [None], ["mail", b"data"]])
def test_a_stage_of_another_type_is_told_and_charges_nothing(stage: Any) -> None:
    pace = guard(PACE)
    with pytest.raises(TypeError, match=r"stage: found .*; allowed: a stage, an iterable of stages, or None"):
        pace.check(SENDER, stage=stage)
    assert pace.check(SENDER)


def test_it_takes_envelopes_only_and_the_rest_by_keyword() -> None:
    pace = guard(PACE)
    wrong: Any = pace
    calls: list[Callable[[], object]] = [
        lambda: wrong.check("a@b.com"),
        lambda: wrong.identities(None),
        lambda: wrong.check(SENDER, "mail"),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()


def test_peek_says_what_a_check_would_and_charges_nothing() -> None:
    pace = guard(PACE)
    for _ in range(3):
        assert pace.peek(SENDER)
    assert pace.check(SENDER)
    assert pace.peek(SENDER) == pace.peek(SENDER) == pace.check(SENDER)


def test_peek_moves_no_time_and_a_refused_check_does() -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("pace", "sender.org", "1/hour"), clock=clock)
    assert pace.check(SENDER)
    assert not pace.peek(SENDER, now=REAL + 1000.0)
    assert pace.peek(SENDER).retry_after == 3600.0
    assert not pace.check(SENDER, now=REAL + 1000.0)
    assert pace.peek(SENDER).retry_after == 2600.0


def test_the_seed_says_where_keys_lie_and_nothing_of_what_is_decided() -> None:
    def admitted(seed: bytes | None) -> list[bool]:
        pace = Throttle(Policy([limit("pace", "client.ip", "1/hour")]), memory="76 KiB", seed=seed)
        return [bool(pace.check(SENDER.replace(client_ip=f"10.0.0.{number % 99}"), now=REAL)) for number in range(198)]

    assert admitted(SEED) == admitted(b"another 16 bytes") == admitted(None) == [True] * 99 + [False] * 99


def test_it_refuses_to_pickle() -> None:
    with pytest.raises(TypeError, match="a Throttle does not pickle: its counters live in this process"):
        pickle.dumps(guard(PACE))


def test_a_clock_that_belongs_to_who_holds_the_guard_keeps_neither_alive() -> None:
    class Server:
        def __init__(self) -> None:
            self.pace = guard(PACE, clock=self.time)
            self.limiter = RateLimiter("1/minute", clock=self.time)

        def time(self) -> float:
            return REAL

    server = Server()
    assert server.pace.check(SENDER)
    assert server.limiter.hit("a")
    known = weakref.ref(server)
    del server
    gc.collect()
    assert known() is None


@pytest.mark.parametrize("answer", ["check", "admit", "session", "rcpt", "hit"])
def test_an_answer_that_the_owner_of_the_clock_keeps_is_collected_with_it(answer: str) -> None:
    class Server:
        def __init__(self) -> None:
            self.pace = guard(PACE, clock=self.time)
            self.limiter = RateLimiter("1/minute", clock=self.time)
            self.kept: Any = None

        def time(self) -> float:
            return REAL

        def answer(self) -> Any:
            if answer == "hit":
                return self.limiter.hit("a")
            if answer in ("check", "admit"):
                return getattr(self.pace, answer)(SENDER)
            session = self.pace.session(client_ip="192.0.2.1")
            mail = session.mail("a@b.com")
            return mail if answer == "session" else session.rcpt("a@b.com")

    def gone() -> weakref.ref[Server]:
        server = Server()
        # The second answer takes the memory of the first, as all but the first few do.
        server.answer()
        server.kept = server.answer()
        assert gc.is_tracked(server.kept)
        return weakref.ref(server)

    servers = [gone() for _ in range(200)]
    gc.collect()
    assert [server() for server in servers] == [None] * 200


def test_a_permit_that_is_collected_is_released() -> None:
    pace = Throttle(Policy([Limit(name="cap", per="global", in_flight=1)]), memory="4 MiB")

    class Holder:
        def __init__(self) -> None:
            self.permit = pace.admit(SENDER)
            self.itself = self

    gc.disable()
    try:
        assert Holder().permit
        assert not pace.admit(SENDER)
        gc.collect()
        assert pace.admit(SENDER)
    finally:
        gc.enable()


def test_more_memory_than_the_machine_gives_is_an_error_and_no_abort() -> None:
    with pytest.raises(PolicyError, match="memory: found a budget of") as raised:
        Throttle(memory="100 TiB")
    assert raised.value.field == "memory"
