"""A page of documentation as the blocks that stand on it, for the tests that run them. It knows Markdown's fences,
not what a block means.

    <!-- file: policy.toml -->      the block is also a file in the directory in which the page's commands run
    <!-- not run: why -->           the block is not run, for a reason
    <!-- part: acl -->              the block is a part of a file that another test makes and runs
    <!-- wrong -->                  the policy is wrong on purpose

A block of `text`, or of no language, right behind another is what that prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]

BLOCK = re.compile(
    r"(?P<marks>(?:^<!-- [^\n]* -->\n)*)^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
MARK = re.compile(r"<!-- (?P<name>[a-z ]+)(?:: (?P<value>.*?))? -->")


@dataclass(frozen=True)
class Block:
    """One fenced block; `prints` is the block behind it, where that says what this one prints."""

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str]
    prints: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def not_run(self) -> str | None:
        """Why it is not run, where it is not."""
        return self.marks.get("not run")


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in order, without those that another prints."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    matches = list(BLOCK.finditer(text))
    printed = {id(b) for a, b in pairwise(matches) if is_printed(text, a, b)}
    for here, behind in zip(matches, [*matches[1:], None][: len(matches)], strict=True):
        if id(here) in printed:
            continue
        prints = behind["text"] if behind is not None and id(behind) in printed else None
        marks = {mark["name"]: mark["value"] or "" for mark in MARK.finditer(here["marks"])}
        line = text.count("\n", 0, here.start("language")) + 1
        found.append(Block(page.name, line, here["language"], here["text"], marks, prints))
    return found


def is_printed(text: str, block: re.Match[str], behind: re.Match[str]) -> bool:
    """Whether only a blank line stands between a program and a block without a language."""
    adjacent = not text[block.end() : behind.start()].strip()
    return adjacent and block["language"] == "python" and behind["language"] in ("", "text")
