"""Mistakes of the caller follow one rule: `TypeError`, `ValueError` with found and allowed, or `PolicyError`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

import throttle
from throttle import Envelope, ManualClock, PolicyError
from throttle.sketch import CountMin, HyperLogLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Wrong arguments are what is tested, so nothing here has types.
API: Any = throttle
GUARD: Any = throttle.Throttle()
COUNTS: Any = CountMin
DISTINCT: Any = HyperLogLog
CLOCK: Any = ManualClock

WRONG_TYPES: list[Callable[[], object]] = [
    lambda: GUARD.check("envelope"),
    lambda: GUARD.check(Envelope(), now="0"),
    lambda: GUARD.check(Envelope(), stage=3),
    lambda: GUARD.admit(Envelope(), stage=[3]),
    lambda: GUARD.session(client_ip=3),
    lambda: GUARD.block(3, "192.0.2.1"),
    lambda: GUARD.block("client.ip", 3),
    lambda: GUARD.block("client.ip", "192.0.2.1", seconds="60"),
    lambda: GUARD.reset("client.ip", None),
    lambda: GUARD.unblock("client.ip", None),
    lambda: GUARD.distinct(3),
    lambda: GUARD.top("client.ip", n="3"),
    lambda: GUARD.reload(None),
    lambda: setattr(GUARD, "mode", 3),
    lambda: API.Throttle(3),
    lambda: API.Throttle(memory=1.5),
    lambda: API.Throttle(max_open="3"),
    lambda: API.Throttle(seed="16 secret bytes."),
    lambda: API.Throttle(clock=3),
    lambda: API.Throttle(learned=3),
    lambda: API.Throttle(suffix_list=3),
    lambda: API.Policy(3),
    lambda: API.Policy(["limit"]),
    lambda: API.Policy.parse(3),
    lambda: API.Policy.from_file(3),
    lambda: API.Policy.builtin(3),
    lambda: API.RateLimiter(3),
    lambda: API.RateLimiter("1/day", memory=1.5),
    lambda: API.RateLimiter("1/day").hit(3),
    lambda: API.RateLimiter("1/day").hit("key", "3"),
    lambda: Envelope.from_message(API),
    lambda: CLOCK("0"),
    lambda: COUNTS("3", 3),
    lambda: DISTINCT(seed="16 secret bytes."),
]

WRONG_VALUES: list[Callable[[], object]] = [
    lambda: GUARD.check(Envelope(), now=float("nan")),
    lambda: GUARD.check(Envelope(), stage="quit"),
    lambda: GUARD.block("client.ip", "somewhere"),
    lambda: GUARD.block("client.ips", "192.0.2.1"),
    lambda: GUARD.block("client.ip", "192.0.2.1", seconds=0),
    lambda: GUARD.allow("rcpt.address", "a@b.com"),
    lambda: GUARD.allow("helo.host", "b.com"),
    lambda: GUARD.unblock("client.ip", "somewhere"),
    lambda: GUARD.reset("client.ip", "somewhere"),
    lambda: GUARD.distinct("client.ips"),
    lambda: GUARD.distinct("client.net", "day"),
    lambda: GUARD.top("client.net", n=-1),
    lambda: setattr(GUARD, "mode", "off"),
    lambda: API.Throttle("outbound"),
    lambda: API.Throttle(memory="lots"),
    lambda: API.Throttle(max_open=0),
    lambda: API.Throttle(seed=b"short"),
    lambda: API.Policy.builtin("outbound"),
    lambda: API.RateLimiter("often"),
    lambda: API.RateLimiter("1/day", algorithm="leaky"),
    lambda: API.RateLimiter("1/day", when_full="drop"),
    lambda: API.RateLimiter("1/day", memory=1),
    lambda: API.RateLimiter("1/day").hit("key", -1),
    lambda: CLOCK(float("inf")),
    lambda: COUNTS(0, 3),
    lambda: DISTINCT(99),
]

WRONG_POLICIES: list[Callable[[], object]] = [
    lambda: API.Throttle(memory="64 KiB"),
    lambda: API.Policy.parse("scale = true"),
    lambda: API.Policy([], mode="off"),
    lambda: API.Limit(name="a", per="client.ips", rate="1/day"),
    lambda: API.Limit(name="a", per="client.ip", rates="1/day"),
]


#: A right argument for each name that a call needs.
RIGHT: dict[str, Any] = {
    "address": "a@b.com",
    "data": b"",
    "delta": 0.1,
    "envelope": Envelope(),
    "epsilon": 0.1,
    "headers": b"",
    "identity": "client.net",
    "key": "a",
    "keys": [],
    "limits": [throttle.Limit(name="a", per="client.ip", rate="1/day")],
    "name": "b.com",
    "outcome": "spam",
    "path": "policy.toml",
    "policy": "inbound",
    "rate": "1/day",
    "recipients": "a@b.com",
    "seconds": 1.0,
    "text": "",
    "value": "192.0.2.1",
    "width": 10,
    "depth": 2,
}

#: Arguments that are fields of a policy, as a file has them: a wrong type is a `PolicyError`.
FIELDS = {("Policy", name) for name in ("scale", "mode", "max_recipients", "largest_message", "help_url")}

MADE: list[Any] = [
    GUARD,
    GUARD.session(),
    GUARD.check(Envelope()),
    CLOCK(0.0),
    COUNTS(10, 2),
    DISTINCT(),
    API.Policy.builtin(),
    API.RateLimiter("1/day"),
    API.RateLimiter("1/day").hit("a"),
]


def wrong_arguments() -> Iterator[Any]:
    """Every argument of every call that is written in Rust."""
    calls: list[tuple[str, Any]] = [(type(made).__name__, type(made)) for made in MADE[:1] + MADE[3:8]]
    for made in MADE:
        names = [name for name in dir(made) if not name.startswith("_") and name != "collector"]
        calls += [(f"{type(made).__name__}.{name}", getattr(made, name)) for name in names]
    for place, call in calls:
        if callable(call):
            for name in inspect.signature(call).parameters:
                if (place, name) not in FIELDS:
                    yield pytest.param(call, name, id=f"{place}({name})")


@pytest.mark.parametrize(("call", "name"), list(wrong_arguments()))
def test_an_argument_of_a_wrong_type_is_named_with_what_is_allowed(call: Callable[..., object], name: str) -> None:
    parameters = inspect.signature(call).parameters.values()
    arguments = {
        one.name: object() if one.name == name else RIGHT[one.name]
        for one in parameters
        if one.name == name or one.default is one.empty
    }
    with pytest.raises(TypeError, match=f"^{name}: found object; allowed: .+"):
        call(**arguments)


@pytest.mark.parametrize("call", WRONG_TYPES)
def test_a_wrong_type_is_a_type_error_with_found_and_allowed(call: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=r"^\w+: found \w+; allowed: .+"):
        call()


@pytest.mark.parametrize("call", WRONG_VALUES)
def test_a_wrong_value_is_a_value_error_with_found_and_allowed(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"^[\w, -]+: found .+; allowed: .+") as caught:
        call()
    assert not isinstance(caught.value, PolicyError)


@pytest.mark.parametrize("call", WRONG_POLICIES)
def test_a_wrong_policy_is_a_policy_error_with_found_and_allowed(call: Callable[[], object]) -> None:
    with pytest.raises(PolicyError, match=r"found .+; allowed: .+"):
        call()
