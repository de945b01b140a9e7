"""The whole run: three sides one after another, act two, then the report.

It knows the order of things and what is shown meanwhile, not how anything is measured.
Invariant: every number shown was measured in this run; with `as_json` standard output holds one JSON object and
nothing else.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from throttle.demo import invented, measure, monitors, picture, report
from throttle.demo.sides import SIDES

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import TaskID

    from throttle.demo.plan import Plan

PICTURE = "outage.png"


def run(plan: Plan, out: Path, *, as_json: bool, with_prometheus: bool) -> None:
    """Replay the outage and report: JSON alone on stdout, or the table and the picture's path; progress on stderr."""
    progress = Console(stderr=True)
    found = monitors.find() if with_prometheus else {}
    if with_prometheus and (line := monitors.missing(found)):
        progress.print(line, soft_wrap=True, highlight=False)
        found.clear()
    outcomes = replay(plan, found, progress)
    path = out / PICTURE
    picture.draw(outcomes, path)
    if as_json:
        sys.stdout.write(json.dumps(report.as_json(outcomes), indent=2) + "\n")
        return
    console = Console()
    console.print(report.as_table(outcomes, plan.interval_seconds))
    console.print(f"picture: {path}", soft_wrap=True, highlight=False)


def replay(plan: Plan, found: dict[str, str], console: Console) -> list[measure.Outcome]:
    """Both acts, one outcome a side."""
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[news]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        tasks = {side: bars.add_task(side, total=plan.mix.total, news="") for side in SIDES}
        act_two = bars.add_task("invented organisations", total=plan.invented * len(invented.GUARDS), news="")
        outcomes = []
        for side in SIDES:
            task = tasks[side]
            bars.reset(task)

            def show(sample: measure.Sample | None, waits_for: str, task: TaskID = task) -> None:
                news = waits_for
                if sample and not waits_for:
                    news = f"flood admitted {sample.flood_admitted:,}, {report.mebibytes(sample.resident_bytes)}"
                bars.update(task, completed=sample.sent if sample else 0, news=news)

            outcomes.append(measure.flood(side, plan, found, show))
        bars.reset(act_two)
        grown = invented.growth(plan, lambda asked: bars.update(act_two, completed=asked))
    for outcome in outcomes:
        if outcome.side in grown:
            outcome.act_two = grown[outcome.side]
    return outcomes
