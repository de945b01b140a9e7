"""Tests marked `servers` need root and Debian's mail servers. `make servers` has both, and there a skip fails."""

from __future__ import annotations

import os
import shutil

import pytest

RUN_BY_MAKE_SERVERS = "THROTTLE_SERVERS" in os.environ


@pytest.hookimpl
def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = os.geteuid() != 0 or not shutil.which("postfix", path=f"{os.environ['PATH']}:/usr/sbin")
    if item.get_closest_marker("servers") and missing and not RUN_BY_MAKE_SERVERS:
        pytest.skip("needs root and Postfix: make servers")


@pytest.hookimpl
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if RUN_BY_MAKE_SERVERS and reporter is not None and reporter.stats.get("skipped"):
        print("\nmake servers: no test may be skipped")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
