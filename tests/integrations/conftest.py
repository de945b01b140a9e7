"""Tests marked `servers` need root and Debian's mail servers. `make servers` has both, and there they never skip."""

from __future__ import annotations

import os
import shutil

import pytest


@pytest.hookimpl
def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = os.geteuid() != 0 or not shutil.which("postfix", path=f"{os.environ['PATH']}:/usr/sbin")
    if item.get_closest_marker("servers") and missing and "THROTTLE_SERVERS" not in os.environ:
        pytest.skip("needs root and Postfix: make servers")
