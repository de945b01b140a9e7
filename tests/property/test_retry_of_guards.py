"""P10 for whole policies: several limits, fan-outs that forget and settle, tables without room.

What fits now need not fit when told, since an element may be forgotten by then: the time told is when everything fits
at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from given_guards import REAL, guard, is_sound, limit
from given_quotas import MOST_US, SECOND_US, around
from strategies import RATES
from throttle import Envelope, Limit, ManualClock

if TYPE_CHECKING:
    from throttle.types import WhenFull

BURSTS = st.none() | st.sampled_from([1, 2, 3]) | st.integers(1, 50)

PER = st.sampled_from(
    [["client.net"], ["sender.org"], ["sender.host"], ["client.ip", "sender.org"], ["global"], ["sender.org+1"]]
)

FULL: st.SearchStrategy[WhenFull] = st.sampled_from(["admit", "sketch", "refuse"])


@st.composite
def rates(draw: st.DrawFn, name: str) -> Limit:
    burst = draw(BURSTS)
    return limit(name, draw(PER), draw(RATES), when_full=draw(FULL), **({} if burst is None else {"burst": burst}))


@st.composite
def recipients(draw: st.DrawFn, name: str) -> Limit:
    per = draw(st.sampled_from(["rcpt.address", "rcpt.host", "client.net"]))
    return limit(name, per, draw(RATES), count="recipients", when_full=draw(FULL))


@st.composite
def fan_outs(draw: st.DrawFn, name: str) -> Limit:
    """Rates that refuse soon, memories that forget soon."""
    remember_seconds = draw(st.sampled_from([1, 5, 60, 3600]))
    kind = draw(st.sampled_from(["ladder", "flat", "orgs", "rcpts"]))
    fields: dict[str, Any] = {
        "ladder": {
            "per": "sender.registered",
            "distinct": "sender.host",
            "settle": f"{draw(st.integers(1, remember_seconds))} seconds",
        },
        "flat": {"per": "sender.org", "distinct": "sender.host"},
        "orgs": {"per": "client.net", "distinct": "sender.org"},
        "rcpts": {"per": "client.ip", "distinct": "rcpt.address"},
    }[kind]
    rate = draw(st.sampled_from(["1/second", "1/3 seconds", "2/minute", "3/hour", "7/7 seconds"]))
    return Limit(name=name, rate=rate, remember=f"{remember_seconds} seconds", when_full=draw(FULL), **fields)


@st.composite
def whole_fan_outs(draw: st.DrawFn, name: str) -> Limit:
    """Those that refuse the whole key: few elements and many, one in a message and several."""
    per, distinct = draw(
        st.sampled_from(
            [
                ("client.net", "rcpt.address"),
                ("sender.org", "client.ip"),
                (["client.ip", "sender.registered"], "sender.host"),
                ("rcpt.host", "sender.host"),
                ("global", "sender.host"),
            ]
        )
    )
    rate = draw(st.sampled_from(["1/second", "1/3 seconds", "2/minute", "3/hour", "7/7 seconds"]))
    burst = draw(st.sampled_from([1, 2, 3, 5, 8, 20]))
    fulls: list[WhenFull] = ["admit", "refuse"]
    full = draw(st.sampled_from(fulls))
    return Limit(name=name, per=per, distinct=distinct, rate=rate, burst=burst, refuse="all", when_full=full)


@st.composite
def policies(draw: st.DrawFn) -> list[Limit]:
    makers = draw(
        st.lists(
            st.sampled_from([rates, recipients, fan_outs, fan_outs, whole_fan_outs, whole_fan_outs]),
            min_size=1,
            max_size=4,
        )
    )
    return [draw(maker(f"limit-{number}")) for number, maker in enumerate(makers)]


HOSTS = st.sampled_from(
    ["b.org", "a.b.org", "c.a.b.org", "d.c.a.b.org", "e.c.a.b.org", "f.a.b.org", "x.net", "y.x.net", "[192.0.2.9]"]
)

ENVELOPES = st.builds(
    Envelope,
    client_ip=st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
    mail_from=HOSTS.map(lambda host: f"u@{host}"),
    rcpt_to=st.lists(st.sampled_from(["p@q.net", "r@q.net", "s@t.net"]), max_size=3),
    spf=st.sampled_from([None, "pass"]),
)

# What a memory counts in, ⌈remember / 32,000⌉, and the wraps of its times at 2^15 and 2^16 of those.
MEMORY_UNITS_US = [32, 157, 1875, 112_500]

PAUSES_US = (
    st.sampled_from([0, 0, 1, 1000, SECOND_US, 3 * SECOND_US])
    | around(
        [unit * times for unit in MEMORY_UNITS_US for times in (32_000, 32_001, 1 << 15, 1 << 16, 3 << 15, 1 << 32)]
    )
    | st.integers(0, 100 * SECOND_US)
)


@given(
    limits=policies(),
    steps=st.lists(st.tuples(PAUSES_US, ENVELOPES), min_size=15, max_size=60),
    start_us=st.sampled_from([0, int(REAL) * SECOND_US]),
)
@settings(max_examples=400)
def test_a_retry_passes_when_told_and_not_a_microsecond_before(
    limits: list[Limit], steps: list[tuple[int, Envelope]], start_us: int
) -> None:
    clock = ManualClock(start_us / 1e6)
    pace = guard(*limits, clock=clock, memory="1 MiB")
    now_us = start_us
    for pause_us, envelope in steps:
        if now_us + pause_us > MOST_US:
            break
        now_us += pause_us
        clock.now = now_us / 1e6
        decision = pace.check(envelope)
        assert is_sound(decision)
        if decision:
            continue
        if decision.retry_after == math.inf:
            assert not pace.peek(envelope, now=(now_us + 10**14) / 1e6)
            continue
        wait_us = round(decision.retry_after * 1e6)
        if now_us + wait_us > MOST_US:
            continue
        at = [
            pace.peek(envelope, now=(now_us + after_us) / 1e6) for after_us in (0, wait_us // 2, wait_us - 1, wait_us)
        ]
        assert [bool(one) for one in at] == [False, False, False, True], (decision, at)
