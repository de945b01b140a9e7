"""The page on the default policy: every limit is on it, and its numbers are those of the file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from throttle import Limit, Policy

FILE = Path(__file__).parents[2] / "docs" / "inbound.md"

PAGE = FILE.read_text(encoding="utf-8")

SECTIONS = dict(re.findall(r"^### `([a-z-]+)`\n\n(.*?)(?=^#)", PAGE, re.DOTALL | re.MULTILINE))

LIMITS = {limit.name: limit for limit in Policy.builtin().limits}

#: What is a number in a limit, or has one.
NUMBERS = ("rate", "burst", "in_flight", "reserve", "first", "remember", "settle", "warm_up", "readmit", "memory")

NUMBER = re.compile(r"\d[\d.]*(/[\w ]+| [\w]+)?")


def numbers(limit: Limit) -> set[str]:
    """Every number that the file states, as it states it."""
    fields: dict[str, Any] = limit.fields
    stated = {str(fields[name]) for name in NUMBERS if name in fields}
    stated |= {quota["rate"] for quota in fields.get("quota", {}).values()}
    share = fields.get("share", [])
    return stated | {tier["of_free"] for tier in ([share] if isinstance(share, dict) else share)}


def test_the_page_has_a_section_for_each_limit_in_the_order_of_the_file() -> None:
    assert list(SECTIONS) == list(LIMITS)


@pytest.mark.parametrize("name", LIMITS)
def test_the_numbers_of_a_section_are_those_of_the_file(name: str) -> None:
    told = {code for code in re.findall(r"`([^`]+)`", SECTIONS[name]) if NUMBER.fullmatch(code)}
    assert told == numbers(LIMITS[name])


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_says_what_is_stopped_and_what_it_costs(name: str) -> None:
    lines = SECTIONS[name].splitlines()
    assert lines[1].startswith("It stops ")
    assert lines[2].startswith("It costs ")


def test_the_table_is_what_the_command_prints() -> None:
    command = [sys.executable, "-m", "throttle", "policy", "show"]
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}  # as wide as the table is
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=env)
    printed = "".join(f"{line.rstrip()}\n" for line in done.stdout.strip().splitlines())
    begin, end = "<!-- show:start -->\n```\n", "```\n<!-- show:end -->"
    before, shown, after = PAGE.partition(begin)[0], PAGE.partition(begin)[2].partition(end)[0], PAGE.partition(end)[2]
    if os.environ.get("WRITE"):
        FILE.write_text(f"{before}{begin}{printed}{end}{after}", encoding="utf-8")
    else:
        assert shown == printed, "WRITE=1 pytest tests/inbound/test_page.py writes it anew"


def test_the_example_changes_what_it_says() -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    policy = Policy.parse(text)
    names = [limit.name for limit in policy.limits]
    assert names == [name for name in LIMITS if name != "auth-pace"] + ["helo-fan-out"]
    pair = next(limit for limit in policy.limits if limit.name == "pair-pace")
    assert (pair.fields["rate"], pair.fields["burst"]) == ("4500/minute", 30_000)
