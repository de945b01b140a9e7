"""The page on replay: its blocks and commands run one after another, as a reader would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "replay.md"


def test_the_page_is_true(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    load, write = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (command,) = re.findall(r"^    throttle (replay outage.*)$", text, re.MULTILINE)

    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    run("-c", write)
    shown = run("-m", "throttle", *command.split())
    assert "case-00d3f000@salesforce.com (100%)" in shown
    run("-c", load)
