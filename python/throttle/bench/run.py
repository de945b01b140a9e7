"""Times one group after another and tells what came out: a table for people, one JSON object for programs.

It knows no limiter. Invariant: a ratio is made of two medians of the same rounds.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from throttle.bench import plan
from throttle.bench.machine import describe
from throttle.bench.side_by_side import rounds

if TYPE_CHECKING:
    from throttle.bench.plan import Group

#: Rounds that a median is made of at least, however little time there is.
LEAST_ROUNDS = 3

FOOT = "Processor time of one call, its background work included: medians of interleaved rounds."


def run(seconds: float, *, as_json: bool) -> None:
    """Measures for about so long, and prints."""
    machine = describe()
    groups, count, missing = plan.groups()
    told = []
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True), transient=True
    )
    with progress:
        task = progress.add_task("", total=count * seconds)
        progress.update(task, description="preparing")
        for number, group in enumerate(groups):
            progress.update(task, description=group.title.partition(",")[0])
            start = time.monotonic()
            made = 0
            while made < LEAST_ROUNDS or time.monotonic() - start < seconds / count:
                rounds(group.ways, 1)
                made += 1
                part = min(1.0, (time.monotonic() - start) * count / seconds)
                progress.update(task, completed=(number + part) * seconds)
            told.append(_told(group, made))
            progress.update(task, description="preparing")
    if as_json:
        json.dump({"machine": asdict(machine), "seconds": seconds, "missing": missing, "groups": told}, sys.stdout)
        sys.stdout.write("\n")
        return
    console = Console()
    console.print(str(machine), highlight=False, soft_wrap=True)
    for one in told:
        console.print(f"\n{one['title']} ({one['rounds']} rounds)", style="bold", highlight=False, soft_wrap=True)
        console.print(_table(one))
        console.print(_lost(one), highlight=False, soft_wrap=True)
    console.print(f"\n{FOOT}", highlight=False, soft_wrap=True)
    if missing:
        sys.stderr.write(
            f"throttle: not installed, so not compared: {', '.join(missing)}; pip install 'mailthrottle[bench]' "
            "brings them\n"
        )


def _told(group: Group, made: int) -> dict[str, Any]:
    ours = group.ways[0].median
    rows = [
        {"name": way.name, "nanoseconds": way.median, "ratio": way.median / ours, "admitted": tally.share}
        for way, tally in zip(group.ways, group.tallies, strict=True)
    ]
    return {"title": group.title, "rounds": made, "rows": rows}


def _lost(one: dict[str, Any]) -> str:
    cheaper = [row["name"] for row in one["rows"] if row["ratio"] < 1]
    return f"cheaper than the first: {', '.join(cheaper) or 'none'}"


def _table(one: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("ns", "× the first", "admitted"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in one["rows"]:
        admitted = "" if row["admitted"] is None else f"{row['admitted']:.1%}"
        style = "bold" if row["name"].startswith("throttle,") else ""
        table.add_row(f"{row['nanoseconds']:,.0f}", f"{row['ratio']:.2f}", admitted, row["name"], style=style)
    return table
