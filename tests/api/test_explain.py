"""`explain` and `tables`: frozen results with a text that people can read."""

from __future__ import annotations

import dataclasses
import pickle
import sys
import threading
import time
from typing import Any

import pytest

from given_guards import guard, limit
from throttle import Envelope, Limit, Policy, Throttle
from throttle.tags import TAGS
from throttle.types import ExplainedIdentity, Explanation, Table

SENDER = Envelope(client_ip="192.0.2.1", mail_from="a@b.unlisted", spf="pass")


def test_an_explanation_is_frozen_and_equal_and_travels() -> None:
    pace = guard(limit("pace", "sender.registered", "1/day"))
    told = pace.explain(SENDER)
    assert isinstance(told, Explanation)
    assert pickle.loads(pickle.dumps(told)) == told == pace.explain(SENDER)
    assert told.identities["sender.registered"] == ExplainedIdentity(("UNLISTED",), trust="proven")
    frozen: Any = told
    with pytest.raises(dataclasses.FrozenInstanceError):
        frozen.allowed = False
    assert dataclasses.asdict(told)["limits"][0]["limit"] == "pace"


def test_the_text_says_what_it_comes_to_and_explains_tags() -> None:
    pace = guard(limit("pace", "sender.registered", "1/day"))
    assert str(pace.explain(SENDER)).splitlines()[0] == "Allowed."
    pace.check(SENDER)
    lines = str(pace.explain(SENDER)).splitlines()
    assert lines[0].startswith("Refused at mail by pace: 451 4.7.1 UNLISTED is sending too fast; retry in 86400 s")
    pace_line = next(line for line in lines if line.startswith("  pace: "))
    assert pace_line == (
        "  pace: refuses; room again in 86,400 s: sender.registered UNLISTED: 1 of 1 messages used, +1 (1/day)"
    )
    assert lines[-1] == f"  UNLISTED stands for {TAGS['UNLISTED']}."


def test_a_limit_that_was_not_asked_says_why() -> None:
    told = guard(limit("pace", "rcpt.address", "1/day", count="recipients")).explain(SENDER)
    [row] = told.limits
    assert (row.verdict, row.key, row.missing, told.unchecked) == ("not checked", None, ("rcpt_to",), ("pace",))
    assert str(row) == f"pace: not checked: {row.reason}"
    assert str(told).startswith("Allowed; not checked yet: pace.")


def test_keys_that_are_left_out_are_counted() -> None:
    pace = guard(limit("pace", "rcpt.address", "1/day", count="recipients"))
    told = pace.explain(SENDER.replace(rcpt_to=[f"u{number}@b.com" for number in range(5000)]))
    assert told.left_out > 0
    assert told.left_out + len(told.limits) == 5000
    assert f"  {told.left_out:,} more keys are left out." in str(told)


def test_values_that_are_left_out_are_counted() -> None:
    pace = guard(limit("pace", "rcpt.address", "1/day", count="recipients"))
    told = pace.explain(SENDER.replace(rcpt_to=[f"u{number}@b.com" for number in range(5000)]))
    mailboxes = told.identities["rcpt.address"].values
    assert (mailboxes[0], mailboxes[-1], len(mailboxes)) == ("u0@b.com", "u99@b.com", 100)
    assert told.values_left_out == {"rcpt.address": 4900}
    assert any(line.endswith(", u99@b.com and 4,900 more") for line in str(told).splitlines())
    assert pace.explain(SENDER).values_left_out == {}


def test_ten_times_the_recipients_take_about_ten_times_as_long() -> None:
    """Where it was quadratic, a hundred times."""
    pace = guard(limit("pace", "rcpt.address", "1/day", count="recipients"))

    def seconds(count: int) -> float:
        message = SENDER.replace(rcpt_to=[f"u{number}@b.com" for number in range(count)])
        runs = []
        for _ in range(5):
            start = time.perf_counter()
            pace.explain(message)
            runs.append(time.perf_counter() - start)
        return min(runs)

    few, many = seconds(2_000), seconds(20_000)
    print(f"2,000 recipients {few * 1e3:.1f} ms, 20,000 {many * 1e3:.1f} ms")
    assert many < 25 * few


def test_other_threads_run_during_an_explanation() -> None:
    pace = guard(limit("pace", "rcpt.address", "1/day", count="recipients"))
    message = SENDER.replace(rcpt_to=[f"u{number}@b.com" for number in range(5000)])
    pace.explain(message)
    begins, ran = threading.Lock(), threading.Event()

    def wait() -> None:
        with begins:
            ran.set()

    begins.acquire()
    other = threading.Thread(target=wait)
    other.start()
    interval = sys.getswitchinterval()
    # No thread has to give its turn to another: it does so only where it releases the interpreter.
    sys.setswitchinterval(1000)
    try:
        begins.release()
        for _ in range(100):
            if not ran.is_set():
                pace.explain(message)
        assert ran.is_set()
    finally:
        sys.setswitchinterval(interval)
        other.join()


@pytest.mark.parametrize("client_ip", ["192.0.2.256", b"somewhere", ""])
def test_an_address_that_is_none_is_reported(client_ip: str | bytes) -> None:
    told = guard(limit("pace", "client.ip", "1/day")).explain(SENDER.replace(client_ip=client_ip))
    assert told.problems == (f"client_ip: found {client_ip!r}; allowed: an IPv4 or IPv6 address",)
    assert told.problems[0] in str(told).splitlines()
    assert told.identities["client.ip"].values == ("UNKNOWN",)


def test_an_address_that_is_right_or_absent_is_no_problem() -> None:
    pace = guard(limit("pace", "client.ip", "1/day"))
    assert pace.explain(SENDER).problems == pace.explain(SENDER.replace(client_ip=None)).problems == ()


def test_a_table_says_how_full_it_is() -> None:
    pace = guard(limit("pace", "client.ip", "1/day"))
    pace.check(SENDER)
    [table, *_] = pace.tables()
    assert isinstance(table, Table)
    assert (table.table, table.used) == ("pace", 1)
    assert str(table).startswith(f"pace: 1 of {table.slots:,} slots used (0%), ")
    assert str(Table("pace", 4096, 448, 448, 52)) == (
        "pace: 448 of 448 slots used (100%), 4 KiB, 52 charges found no room"
    )


def test_an_in_flight_limit_has_a_table_without_bytes() -> None:
    pace = Throttle(Policy([Limit(name="open", per="global", in_flight=10)]), memory="4 MiB")
    table = next(table for table in pace.tables() if table.table == "open")
    assert str(table) == "open: 0 of 10 slots used (0%)"
