"""One seed for everything random in a test run, printed in the header of each.

It knows no throttle.
Invariant: `THROTTLE_SEED=<the printed number> make test` draws the same examples and the same random numbers again.
"""

import os
import random

import pytest
from hypothesis import settings

# No deadline: the machine may be shared, and what costs time is measured elsewhere.
settings.register_profile("throttle", deadline=None, print_blob=True, derandomize=False)
settings.load_profile("throttle")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.hypothesis_seed is None:  # before Hypothesis reads its own option
        config.option.hypothesis_seed = os.environ.get("THROTTLE_SEED") or str(random.SystemRandom().getrandbits(32))


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: THROTTLE_SEED={config.option.hypothesis_seed}"


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of this run's seed; each test has a sequence of its own."""
    return random.Random(f"{request.config.option.hypothesis_seed} {request.node.nodeid}")
