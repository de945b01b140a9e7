"""`throttle replay` on a million lines with the outage in them: seconds of one core, and whether the report names it.

    .venv/bin/python benches/replay.py [--lines 1000000] [--seed SEED] [--keep DIR] [postfix|jsonl ...]

It writes the logs by `tests/outage_log.py`, of that seed (a minute), runs the command on each with no other processor
than one, and prints what was found.
It ends with 1 when it took longer than the bound, when the flood was not refused after 250 of its messages,
when anybody else was refused, or when the report
does not name the organisation, the limit and, where the log has one, the Reply-To. Machine and load are printed,
since seconds mean nothing without them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from outage_log import FLOOD_PARENT, FLOODED, REPLY_TO, json_lines, postfix, said
from throttle import Throttle
from throttle.replay.notes import Notes
from throttle.replay.reading import Log

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_SECONDS = 30
MOST_BEFORE = 250
LINES_A_MESSAGE = 7  # in a Postfix log


def lines(form: str, count: int, seed: str) -> Iterator[str]:
    """A tenth of the messages is the flood; the ordinary ones are 100,000 an hour, as `inbound` suits."""
    messages = count if form == "jsonl" else count // LINES_A_MESSAGE
    flood = messages // 10
    hours = max(0.9 * messages / 100_000 + 0.15, 0.75)  # a little more than is needed
    sent = said(seed, 100_000, hours, flood)
    return islice(json_lines(sent) if form == "jsonl" else postfix(sent, seed), count)


class Flood(NamedTuple):
    """What became of it, and of everybody else."""

    before: int  # admitted before its first refusal
    admitted: int
    refused: int
    others_refused: int


def asked(path: Path) -> Flood:
    """A guard, about each transaction: whose a message is, the report does not tell."""
    guard = Throttle()
    before = admitted = refused = others = 0
    for at, envelope, *_ in Log([str(path)], Notes(), now=2e9, year=2026).transactions():
        allowed = guard.check(envelope, now=at).allowed
        sender = envelope.mail_from
        if not isinstance(sender, str) or not sender.endswith(f".{FLOOD_PARENT}"):
            others += not allowed
        elif allowed:
            admitted += 1
            before += not refused
        else:
            refused += 1
    return Flood(before, admitted, refused, others)


def timed(path: Path) -> tuple[float, float, dict[str, Any]]:
    """Seconds of processor and of the clock, and the report."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    before, began = getrusage(RUSAGE_CHILDREN), perf_counter()
    command = [sys.executable, "-m", "throttle", "replay", str(path), "--year", "2026", "--json"]
    out = subprocess.run(command, check=True, capture_output=True, env=os.environ | {"TZ": "UTC"}).stdout
    took, after = perf_counter() - began, getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, took, json.loads(out)


def run(form: str, count: int, seed: str, folder: Path) -> bool:
    """Prints what was found; whether all of it is as it should be."""
    path = folder / f"outage.{form}"
    with path.open("w") as out:
        out.writelines(lines(form, count, seed))
    cpu_s, wall_s, told = timed(path)
    flood = asked(path)
    by = told["refused_by"][0] if told["refused_by"] else None
    limit, key = (by["limit"], by["keys"][0]["key"]) if by else (None, None)
    reply_to = told["reply_to"][0]["value"] if told["reply_to"] else None
    print(
        f"{form}: {told['log']['lines']:,} lines, {told['transactions']:,} transactions\n"
        f"  {cpu_s:.1f} s of one core (bound {MOST_SECONDS} s), {wall_s:.1f} s of the clock; load "
        f"{os.getloadavg()[0]:.1f}\n"
        f"  refused {told['refused']:,}; by {limit}, {key}, Reply-To {reply_to}\n"
        f"  of the flood {flood.before:,} were admitted before the first was refused (bound {MOST_BEFORE}), "
        f"{flood.admitted:,} of {flood.admitted + flood.refused:,} in all\n"
        f"  of others {flood.others_refused:,} were refused (bound 0)",
        flush=True,
    )
    found = {
        f"seconds: {cpu_s:.1f}": cpu_s <= MOST_SECONDS,
        f"lines: {told['log']['lines']}": told["log"]["lines"] == count,
        f"broken lines: {told['log']['broken']}": told["log"]["broken"] == 0,
        f"flood refused: {flood.refused}": flood.refused > 0,
        f"admitted before: {flood.before}": flood.before <= MOST_BEFORE,
        f"others refused: {flood.others_refused}": flood.others_refused == 0,
        f"limit: {limit}": limit == "org-fan-out",
        f"organisation: {key}": key == FLOODED,
        f"Reply-To: {reply_to}": reply_to == (REPLY_TO if form == "jsonl" else None),
    }
    for name, is_right in found.items():
        if not is_right:
            print(f"  not as it should be: {name}")
    return all(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("forms", nargs="*", default=["postfix", "jsonl"], metavar="FORM")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    options = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, seed {options.seed}")
    with tempfile.TemporaryDirectory() as made:
        folder = options.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        kept = [run(form, options.lines, options.seed, folder) for form in options.forms]
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
