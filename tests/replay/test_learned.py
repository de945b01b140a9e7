"""What a replay has learned, a guard starts from: no cold hour, and nothing that was not admitted."""

from __future__ import annotations

import gzip
import json
import logging
from typing import TYPE_CHECKING

import pytest

from throttle import Envelope, Limit, ManualClock, Policy, Throttle, ThrottleError
from throttle.replay.learning import write
from throttle.replay.run import Replay
from throttle.replay.transaction import Transaction

if TYPE_CHECKING:
    import random
    from pathlib import Path

ORGANISATION = "manyhosts.com"
START = 1_795_000_000.0
DAY = 86_400.0
HOSTS = 1000


def mail(at: float, host: str, network: int = 1) -> Transaction:
    return Transaction(
        at, Envelope(client_ip=f"203.0.{network % 100}.7", mail_from=f"news@{host}", rcpt_to="in@box.com")
    )


def quiet_day() -> list[Transaction]:
    """Every host twice, fourteen hosts a minute: less than what a new organisation may bring."""
    return [mail(START + n * 60 / 14, f"mx{n % HOSTS}.{ORGANISATION}", n) for n in range(2 * HOSTS)]


def learned(path: Path, transactions: list[Transaction]) -> Replay:
    replay = Replay(Throttle(clock=lambda: START))
    for transaction in transactions:
        replay.add(transaction)
    replay.close()
    write(path, replay.until, replay.remembered)
    return replay


def deferred_at_once(guard: Throttle, at: float, label: str = "mx") -> int:
    """Of a message of each host, all in ten minutes."""
    messages = (mail(at + n * 600 / HOSTS, f"{label}{n}.{ORGANISATION}", n) for n in range(HOSTS))
    return sum(not guard.check(message.envelope, now=message.time) for message in messages)


@pytest.mark.parametrize("name", ["known.jsonl", "known.jsonl.gz"])
@pytest.mark.parametrize("memory", ["8 MiB", "64 MiB"])
def test_an_organisation_that_is_deferred_cold_is_not_when_it_was_learned(
    tmp_path: Path, memory: str, name: str
) -> None:
    learned(tmp_path / name, quiet_day())
    next_day = START + DAY
    assert deferred_at_once(Throttle(clock=ManualClock(next_day), memory=memory), next_day) > 500
    warm = Throttle(clock=ManualClock(next_day), memory=memory, learned=tmp_path / name)
    assert deferred_at_once(warm, next_day) == 0


def test_an_element_is_as_old_as_it_was_and_forgotten_in_its_time(tmp_path: Path) -> None:
    learned(tmp_path / "known", quiet_day())
    end = START + 2 * HOSTS * 60 / 14
    for days, deferred in ((7.9, 0), (8.1, 400)):
        at = end + days * DAY
        guard = Throttle(clock=ManualClock(at), learned=tmp_path / "known")
        last = [mail(at, f"mx{n}.{ORGANISATION}", n) for n in range(HOSTS - 600, HOSTS)]  # seen in the log's last hour
        assert (
            sum(not guard.check(one.envelope, now=one.time) for one in last) == deferred
        )  # of 600 a new organisation may bring 200


def test_parts_of_names_are_learned_with_the_host_so_a_settled_tenant_brings_fresh_hosts(tmp_path: Path) -> None:
    tenants = [f"t{n}.eu.{ORGANISATION}" for n in range(10)]
    log = [mail(START + n * 60, f"h{n}.{tenants[n % 10]}", n) for n in range(600)]
    learned(tmp_path / "known", log)
    at = log[-1].time + 60
    fresh = [mail(at + n * 0.5, f"new{n}.{tenants[n % 10]}", n) for n in range(1000)]

    def deferred(guard: Throttle) -> int:
        return sum(not guard.check(one.envelope, now=one.time) for one in fresh)

    assert deferred(Throttle(clock=ManualClock(at), learned=tmp_path / "known")) == 0
    assert deferred(Throttle(clock=ManualClock(at))) > 500


def test_a_part_of_a_name_settles_in_the_log_when_it_comes_back_as_in_a_guard_that_saw_it(
    tmp_path: Path, rng: random.Random
) -> None:
    tenants = [f"t{n}.eu-{n}.{ORGANISATION}" for n in range(300)]
    returned = rng.sample(tenants, 20)
    log = [mail(START + n * 30, f"h0.{tenant}", n) for n, tenant in enumerate(tenants)]
    log += [mail(START + 4 * 3600 + n * 30, f"h1.{tenant}", n) for n, tenant in enumerate(returned)]
    replay = learned(tmp_path / "known", log)
    assert replay.admitted == len(log)
    at = log[-1].time + 3600
    loaded = Throttle(clock=ManualClock(at), learned=tmp_path / "known")
    saw = Throttle(clock=ManualClock(START))
    assert all(saw.check(one.envelope, now=one.time) for one in log)
    once = [tenant for tenant in tenants if tenant not in returned]
    # One fresh host of each of the 280 others has the organisation's 200, and one more each 3 of 16.8 seconds.
    for of, count, admitted in ((once, 280, 205), (returned, 500, 500)):
        fresh = [mail(at + n * 0.06, f"fresh{n}.{of[n % len(of)]}", n) for n in range(count)]
        for guard in (loaded, saw):
            assert sum(bool(guard.check(one.envelope, now=one.time)) for one in fresh) == admitted
        at += 30


def test_a_flood_in_the_log_teaches_nothing_beyond_what_was_admitted(tmp_path: Path, rng: random.Random) -> None:
    flood = [mail(START + n / 50, f"x{rng.getrandbits(60):x}.deep.flood.com", n) for n in range(20_000)]
    replay = Replay(Throttle(clock=lambda: START))
    admitted = {str(one.envelope.mail_from).partition("@")[2] for one in flood if replay.add(one)}
    replay.close()
    write(tmp_path / "known", replay.until, replay.remembered)
    entries = [json.loads(line) for line in (tmp_path / "known").read_text().splitlines()[1:]]
    assert {element for memory, _, element, *_ in entries if memory == 0} == admitted
    assert len(admitted) < 400
    again = Throttle(clock=ManualClock(replay.until), learned=tmp_path / "known")
    later = [mail(replay.until + n / 50, f"y{rng.getrandbits(60):x}.deep.flood.com", n) for n in range(5_000)]
    assert sum(bool(again.check(one.envelope, now=one.time)) for one in later) < 250


def test_a_clock_before_the_end_of_the_log_counts_as_standing_there(tmp_path: Path) -> None:
    learned(tmp_path / "known", quiet_day())
    early = START - 30 * DAY
    assert deferred_at_once(Throttle(clock=ManualClock(early), learned=tmp_path / "known"), early) == 0


def test_what_another_policy_has_no_use_for_is_told_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    learned(tmp_path / "known", quiet_day())
    pace = Policy([Limit(name="pace", per="sender.org", rate="5/minute")])
    with caplog.at_level(logging.INFO, "throttle"):
        Throttle(pace, learned=tmp_path / "known", clock=ManualClock(START))
    count = len((tmp_path / "known").read_text().splitlines()) - 1
    assert f"{count} are of no use to this policy" in caplog.text


def test_how_many_found_no_room_is_told_as_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    head = {
        "format": "throttle-known",
        "version": 1,
        "until_us": 0,
        "memories": [{"per": ["sender.org"], "distinct": "sender.host"}],
    }
    lines = [json.dumps(head | {"elements": 12_000})]
    lines += [json.dumps([0, ["wide.com"], f"h{n}.wide.com", 0, 0]) for n in range(12_000)]
    (tmp_path / "known").write_text("\n".join(lines) + "\n")
    small = Limit(name="hosts", per="sender.org", distinct="sender.host", rate="10/minute")
    guard = Throttle(Policy([small]), memory="144 KiB", learned=tmp_path / "known", clock=ManualClock(1.0))
    slots = next(table for table in guard.tables() if table.table.startswith("memory of"))
    assert slots.used <= slots.slots < 12_000
    assert caplog.records[0].levelname == "WARNING"
    assert f"{slots.used} elements are known" in caplog.text
    assert f" {12_000 - slots.used} found no room" in caplog.text


HEAD = (
    '{"format": "throttle-known", "version": 1, "until_us": 5, '
    '"memories": [{"per": ["sender.org"], "distinct": "sender.host"}], "elements": 1}\n'
)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", None, "an empty file"),
        ("not json\n", 1, "JSON"),
        ('{"format": "other"}\n', 1, "'throttle-known'"),
        (HEAD.replace('"version": 1', '"version": 9'), 1, "version: found 9"),
        (HEAD.replace('["sender.org"]', "7"), 1, "memories"),
        (HEAD, 1, "elements: found 0; allowed: 1"),
        (HEAD + '[0, ["a.com"], "h.a.com", 1, 2]\n' * 2, 3, "elements: found 2"),
        (HEAD + '[1, ["a.com"], "h.a.com", 1, 2]\n', 2, "memory: found 1"),
        (HEAD + '[0, [], "h.a.com", 1, 2]\n', 2, "sender.org"),
        (HEAD + '[0, ["a.com"], 3, 1, 2]\n', 2, "element: found 3"),
        (HEAD + '[0, ["a.com"], "h.a.com", 2, 1]\n', 2, "times"),
        (HEAD + '[0, ["a.com"], "h.a.com", 1, 1e99]\n', 2, "times"),
        (HEAD + '[0, ["a.com"], "h.a.com", 1\n', 2, "JSON"),
    ],
)
def test_a_state_that_is_broken_is_told_with_file_and_line(
    tmp_path: Path, text: str, line: int | None, said: str
) -> None:
    (tmp_path / "known").write_text(text)
    with pytest.raises(ThrottleError) as raised:
        Throttle(learned=tmp_path / "known")
    assert str(tmp_path / "known") in str(raised.value)
    assert line is None or f"line {line}" in str(raised.value)
    assert said in str(raised.value)


def test_a_state_that_is_missing_or_cut_short_is_told(tmp_path: Path) -> None:
    with pytest.raises(ThrottleError, match="missing"):
        Throttle(learned=tmp_path / "missing")
    whole = gzip.compress((HEAD + '[0, ["a.com"], "h.a.com", 1, 2]\n').encode())
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ThrottleError, match=r"cut\.gz"):
        Throttle(learned=tmp_path / "cut.gz")


def test_values_that_no_check_could_bring_are_counted_and_teach_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "known").write_text(HEAD + '[0, ["a.b.com"], "MALFORMED", 1, 2]\n')
    policy = Policy([Limit(name="hosts", per="sender.org", distinct="sender.host", rate="10/minute")])
    Throttle(policy, learned=tmp_path / "known", clock=ManualClock(1.0))
    assert "1 are no values" in caplog.text
