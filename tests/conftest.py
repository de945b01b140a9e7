"""One seed for everything random in a test run; the header of the run prints it.

Without `THROTTLE_SEED` the seed is fixed, so that a test means the same every day. `make soak` sets new ones.
It knows no throttle.
Invariant: `THROTTLE_SEED=<the printed number> make test` draws the same examples and the same random numbers again,
and so does a single test that is run alone with that seed.
"""

from __future__ import annotations

import math
import os
import random
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXED_SEED = "12"
SEED = os.environ.get("THROTTLE_SEED") or FIXED_SEED
#: `make soak` says at which time (seconds since the epoch) the run has to stop.
UNTIL = float(os.environ.get("THROTTLE_SOAK_UNTIL", "inf"))

# No deadline: the machine may be shared, and what costs time is measured elsewhere.
# No database of examples in either profile: a seed alone has to repeat a failure, on any machine.
settings.register_profile("fixed", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("soak", deadline=None, print_blob=True, database=None)
settings.load_profile("soak" if "THROTTLE_SEED" in os.environ else "fixed")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.hypothesis_seed is None:  # before Hypothesis reads its own option
        config.option.hypothesis_seed = SEED


def pytest_report_header() -> str:
    return f"seed: THROTTLE_SEED={SEED}{' (fixed; make soak draws others)' if SEED == FIXED_SEED else ''}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if math.isfinite(UNTIL):  # a soak may stop before the last test, so each seed begins with other tests
        random.Random(SEED).shuffle(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Draws what the library draws, the seeds of its hashes, from this run's seed, too."""
    drawn, os.urandom = os.urandom, random.Random(f"{SEED} {item.nodeid} urandom").randbytes
    try:
        return (yield)
    finally:
        os.urandom = drawn
        if time.time() >= UNTIL:
            item.session.shouldstop = "the time of this soak is over"


@pytest.fixture(scope="session")
def seed() -> str:
    """This run's seed, for what several tests share."""
    return SEED


@pytest.fixture
def rng(request: pytest.FixtureRequest, seed: str) -> random.Random:
    """Random numbers of this run's seed; each test has a sequence of its own."""
    return random.Random(f"{seed} {request.node.nodeid}")
