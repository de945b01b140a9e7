"""Ordinary mail for all attacks, and a table of what each attack gained and what innocents lost, after the tests.

`make attacks` sets THROTTLE_ATTACKS to a file, to which each run appends its outcomes; then it prints one table of all
runs (tests/attack_table.py). Without that variable a run prints its own table.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from attack import settling
from attack_table import Outcome, in_order, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from attack import Figures, Shot

#: Under this name a test's report carries an outcome.
OUTCOME = "attack under inbound"


@pytest.fixture(scope="session")
def innocents(seed: str) -> list[Shot]:
    """85 minutes of ordinary mail, the same for all attacks of a run."""
    return settling(seed)


@pytest.fixture
def write_outcome(seed: str, record_property: Callable[[str, object], None]) -> Callable[[Outcome], None]:
    """Puts an outcome into the table. It travels with the test's report, since several processes may run tests."""

    def write(outcome: Outcome) -> None:
        record_property(OUTCOME, asdict(replace(outcome, seed=seed)))
        print(f"\n{outcome}")

    return write


@pytest.fixture
def write_down(write_outcome: Callable[[Outcome], None]) -> Callable[[str, Figures], None]:
    """Puts the figures of an attack beside ordinary mail into the table, under its name: see :class:`Outcome`."""

    def write(name: str, figures: Figures) -> None:
        lost = {
            kind: (sum(count for (of, _), count in figures.lost.items() if of == kind), figures.innocent[kind])
            for kind in sorted(figures.innocent)
        }
        write_outcome(Outcome(name, figures.admitted, figures.sent, lost=lost if figures.innocent else None))
        print(
            f"  first refusal after {figures.before_refusal}, refused by {dict(figures.limits)}; innocents "
            f"{sum(figures.innocent.values())}, lost by limit {dict(figures.lost)}, known and lost "
            f"{sum(figures.lost_known.values())}"
        )

    return write


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for of in terminalreporter.stats.values() for report in of if hasattr(report, "user_properties")]
    lines = [
        {"place": f"{report.location[0]}:{report.location[1]} {report.nodeid}", "outcome": outcome}
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, outcome in report.user_properties
        if name == OUTCOME
    ]
    if file := os.environ.get("THROTTLE_ATTACKS"):
        with Path(file).open("a", encoding="utf-8") as appended:
            appended.writelines(json.dumps(line) + "\n" for line in lines)
    elif lines:
        terminalreporter.section("attacks under inbound")
        terminalreporter.write(table(in_order(lines)))
