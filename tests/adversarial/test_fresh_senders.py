"""P1: ten million senders that nobody has seen before take no memory beyond what was allocated at the start.

In a process of its own, so that nothing else moves its resident set. The program also times it (P2);
time is no matter of a test.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benches" / "fresh_senders.py"
SENDERS = 10_000_000
MIB = 1 << 20
MEMORY_BYTES = 16 * MIB


@pytest.mark.slow
def test_ten_million_fresh_senders_take_no_memory_after_the_first_hundred_thousand() -> None:
    arguments = ["--json", f"--count={SENDERS}", f"--memory={MEMORY_BYTES // MIB} MiB"]
    command = [sys.executable, str(PROGRAM), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    print(f"\n{seen}")
    assert seen["checks"] == SENDERS
    assert seen["admitted"] >= SENDERS * 9 // 10
    assert seen["resident_growth_bytes"] <= MIB
    assert seen["memory_bytes_after"] == seen["memory_bytes_before"]
    assert MEMORY_BYTES * 99 // 100 < seen["memory_bytes_before"] <= MEMORY_BYTES
