"""`throttle replay` on a million lines with the outage in them: seconds of one core, and whether the report names it.

    .venv/bin/python benches/replay.py [--lines 1000000] [--seed SEED] [--keep DIR] [postfix|jsonl ...]

It writes the logs by `tests/outage_log.py`, of that seed (a minute), runs the command on each with no other processor than one, and prints what was found.
It fails when the flood was not refused after 250 of its messages, or is not named. Machine and load are printed, since seconds mean nothing without them.
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
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from outage_log import FLOODED, REPLY_TO, json_lines, postfix, said
from throttle import Throttle
from throttle.replay.notes import Notes
from throttle.replay.reading import Log
from throttle.replay.run import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_SECONDS = 30
MOST_BEFORE = 250
LINES_A_MESSAGE = 7  # in a Postfix log


def lines(form: str, count: int, seed: str) -> Iterator[str]:
    """A tenth of the messages is the flood; the ordinary ones are 100,000 an hour, as `inbound` suits."""
    messages = count if form == "jsonl" else count // LINES_A_MESSAGE
    flood = messages // 10
    hours = max(0.9 * messages / 100_000 + 0.05, 0.75)
    sent = said(seed, 100_000, hours, flood)
    return islice(json_lines(sent) if form == "jsonl" else postfix(sent, seed), count)


def first_refused(path: Path) -> tuple[int, int]:
    """How many messages of the flood were admitted before its first refusal, and how many others were refused."""
    replay, before, refused, others = Replay(Throttle()), 0, 0, 0
    for transaction in Log([str(path)], Notes(), now=2e9, year=2026).transactions():
        allowed = replay.add(transaction).allowed
        sender = transaction.envelope.mail_from
        if isinstance(sender, str) and sender.endswith(f".cs17.bnc.sandbox.{FLOODED}"):
            refused += not allowed
            before += allowed and not refused
        else:
            others += not allowed
    return before if refused else sys.maxsize, others


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
    path = folder / f"outage.{form}"
    with path.open("w") as out:
        out.writelines(lines(form, count, seed))
    cpu_s, wall_s, told = timed(path)
    top = told["refused_by"][0]["keys"][0]
    before, others = first_refused(path)
    reply_to = told["reply_to"][0]["value"] if told["reply_to"] else None
    named = (told["refused_by"][0]["limit"], top["key"], reply_to)
    print(
        f"{form}: {told['log']['lines']:,} lines, {told['transactions']:,} transactions: {cpu_s:.1f} s of one core, {wall_s:.1f} s of the clock "
        f"(bound {MOST_SECONDS} s); load {os.getloadavg()[0]:.1f}\n"
        f"  refused {told['refused']:,}; by {named[0]}, {named[1]}, Reply-To {named[2]}\n"
        f"  of the flood {before} were admitted before the first was refused (bound {MOST_BEFORE}); of others {others} were refused"
    )
    wanted = ("org-fan-out", FLOODED, REPLY_TO if form == "jsonl" else None)
    return cpu_s <= MOST_SECONDS and before <= MOST_BEFORE and named == wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("forms", nargs="*", default=["postfix", "jsonl"], metavar="FORM")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    asked = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, seed {asked.seed}")
    with tempfile.TemporaryDirectory() as made:
        folder = asked.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        kept = [run(form, asked.lines, asked.seed, folder) for form in asked.forms]
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
