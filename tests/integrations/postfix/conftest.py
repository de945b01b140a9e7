"""What the policy service knows before the flood."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from integrations.sent_outage import SEED
from throttle.demo.traffic import quiet_hours

if TYPE_CHECKING:
    from pathlib import Path


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
