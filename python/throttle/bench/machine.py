"""Where something was measured: without it a figure says nothing.

It measures nothing. Invariant: what cannot be found out is `unknown`, never left out.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import throttle

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine, and what ran on it."""

    processor: str
    cores: int
    system: str
    python: str
    throttle: str
    commit: str
    date: str

    def __str__(self) -> str:
        return (
            f"{self.processor}, {self.cores} cores, {self.system}, Python {self.python}, "
            f"throttle {self.throttle}, commit {self.commit}, {self.date}"
        )


def describe() -> Machine:
    """This machine, today."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        throttle=throttle.__version__,
        commit=_commit(Path(throttle.__file__).parents[2]),
        date=time.strftime("%Y-%m-%d"),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine() or UNKNOWN


def _commit(tree: Path) -> str:
    """Of the source tree that the package lies in; a wheel lies in none, and another project's tree is not ours."""
    if not (tree / "rust" / "core").is_dir():
        return UNKNOWN
    try:
        said = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=tree, capture_output=True, text=True, check=False
        )
    except OSError:
        return UNKNOWN
    return said.stdout.strip() or UNKNOWN
