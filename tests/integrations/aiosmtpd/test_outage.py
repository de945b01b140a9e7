"""The outage against a real aiosmtpd: it is refused, and nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integrations.private_postfix import numbers_of_messages
from integrations.sent_outage import SentOutage

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.servers

SCRIPT = Path(__file__).with_name("guarded_server.py")


@contextmanager
def guarded_server(maildir: Path, log: Path) -> Iterator[int]:
    """A server in a process of its own; yields its port. At the end its guard holds nothing."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, SCRIPT, maildir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    try:
        assert process.stdout is not None
        port = process.stdout.readline()
        assert port, log.read_text()
        yield int(port)
        rest, _ = process.communicate(timeout=60)
        assert json.loads(rest) == {}
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("flood", [12_000, pytest.param(20_000, marks=pytest.mark.soak)])
def test_the_outage_is_refused_and_nobody_else(tmp_path: Path, flood: int) -> None:
    maildir, log = tmp_path / "maildir", tmp_path / "log"
    with guarded_server(maildir, log) as port:
        with SentOutage(port, 100, flood, by_proxy=True) as outage:
            pass
    print(f"\n{outage.report()}")
    outage.assert_at_most_two_in_a_hundred_of_the_flood_passed()
    outage.assert_only_the_flood_was_refused("MAIL", "451 4.7.28")
    assert numbers_of_messages(maildir / "new") == Counter(outage.accepted())
    assert log.read_text() == ""
