"""For those who test their own servers: a guard on a clock that stands still, and short ways to envelopes.

In a ``conftest.py``::

    pytest_plugins = ["throttle.testing"]

and then::

    @pytest.mark.throttle(policy="policy.toml", memory="8 MiB")
    def test_a_flood_is_deferred_and_a_day_later_forgotten(throttle_guard, throttle_clock):
        decisions = [throttle_guard.check(message) for message in fresh_hosts("example.com", 300)]
        assert not decisions[-1]
        throttle_clock.advance(86_400)
        assert throttle_guard.check(message("joe@another.example.com"))

It needs pytest. Nothing here sleeps, and nothing is random: the hashes have a fixed seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from throttle import Envelope, ManualClock, Throttle

if TYPE_CHECKING:
    from collections.abc import Iterator

#: When a test begins, in Unix seconds.
START = 1_700_000_000.0

#: Of the guard's hashes: the same slots in every run.
SEED = b"for tests only.."

#: What the marker takes: the arguments of :class:`throttle.Throttle` but for clock and seed, which are the fixtures'.
MARKER = (
    "throttle(policy=None, *, memory=None, max_open=None, suffix_list=None): what the fixture throttle_guard is made of"
)


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def throttle_clock() -> ManualClock:
    """The clock of ``throttle_guard``: it stands at ``START`` until ``advance(seconds)``."""
    return ManualClock(START)


@pytest.fixture
def throttle_guard(request: pytest.FixtureRequest, throttle_clock: ManualClock) -> Throttle:
    """A guard on ``throttle_clock``: of the policy ``inbound``, unless ``@pytest.mark.throttle(…)`` says otherwise.

    Raises:
        PolicyError: a wrong policy in the marker.
        TypeError: the marker sets the clock or the seed.
    """
    marker = request.node.get_closest_marker("throttle")
    given: dict[str, Any] = dict(marker.kwargs) if marker else {}
    return Throttle(*(marker.args if marker else ()), **given, clock=throttle_clock, seed=SEED)


def message(mail_from: str | bytes = "joe@example.com", **fields: Any) -> Envelope:
    """One message to one mailbox from one client; ``fields`` are those of :class:`throttle.Envelope`, and replace
    what is set here.
    """
    return Envelope(**{"client_ip": "198.51.100.7", "rcpt_to": "in@example.net", **fields, "mail_from": mail_from})


def fresh_hosts(below: str, count: int, **fields: Any) -> Iterator[Envelope]:
    """``count`` messages, each from a host below ``below`` that none before came from: the flood that per-host limits
    do not see.
    """
    for number in range(count):
        yield message(f"joe@host{number}.{below}", **fields)
