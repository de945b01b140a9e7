"""promtool accepts what guarded metrics export, whatever a sender is called, and the rules of their page."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pages import ROOT, blocks
from throttle.metrics import GuardedCounter, GuardedGauge, GuardedHistogram

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.servers
HOSTILE = ["<script>", 'a"b\\c', "line\nend\r\n# HELP x y", "\x1b[2J", "\ud800", "", "ж" * 200, "other"]


def promtool(*arguments: str, given: bytes = b"") -> tuple[int, str]:
    """Its exit code, and what it complains about."""
    program = shutil.which("promtool")
    assert program, "Debian's package prometheus has it"
    done = subprocess.run([program, *arguments], input=given, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stderr.decode()


def test_promtool_accepts_all_three_kinds_with_hostile_values() -> None:
    registry = CollectorRegistry()
    mails = GuardedCounter("mails", "Messages received.", ["sender"], registry=registry, max_series=5)
    size = GuardedGauge("message_size", "Size of the last.", ["sender"], unit="bytes", registry=registry, max_series=5)
    took = GuardedHistogram("check", "Time of a check.", ["sender"], unit="seconds", registry=registry, max_series=5)
    for value in HOSTILE:
        for _ in range(200 if len(value) == 200 else 50):  # the long one takes the place of another
            mails.labels(value).inc()
            size.labels(value).set(5)
            took.labels(value).observe(0.1)
    text = generate_latest(registry)
    assert b'sender="released"' in text
    assert promtool("check", "metrics", given=text) == (0, "")
    broken = text.replace(b'sender="released"', b"sender=released")
    assert promtool("check", "metrics", given=broken)[0] == 1


def test_the_rules_of_the_page_are_right(tmp_path: Path) -> None:
    (rules,) = [block.text for block in blocks(ROOT / "docs" / "guarded-metrics.md") if "file" in block.marks]
    path = tmp_path / "rules.yml"
    path.write_text(rules)
    assert promtool("check", "rules", str(path)) == (0, "")
    path.write_text(rules.replace("sum by", "sum buy"))
    assert promtool("check", "rules", str(path))[0] == 1
