"""Tests marked `servers` need root and Debian's mail servers. `make servers` has both, and there a skip fails.

It also makes what a service knows before the flood.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from integrations.sent_outage import SEED
from throttle.demo.traffic import quiet_hours

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `throttle replay --learn` makes of the hours before the flood."""
    directory = tmp_path_factory.mktemp("learned")
    log, state = directory / "quiet.jsonl", directory / "known.jsonl.gz"
    now = time.time()
    with log.open("w") as lines:
        for seconds_before, message in quiet_hours(SEED):
            fields = {"client_ip": message.client_ip, "helo": message.helo, "mail_from": message.mail_from}
            line = {"time": now - seconds_before, "rcpt_to": [message.rcpt_to], **fields}
            lines.write(json.dumps(line) + "\n")
    subprocess.run(
        [sys.executable, "-m", "throttle", "replay", str(log), "--learn", str(state)],
        check=True, stdout=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    return state
