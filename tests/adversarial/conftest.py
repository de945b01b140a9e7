"""Ordinary mail for all attacks, and a table of what each attack gained and what innocents lost, after the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import settling

if TYPE_CHECKING:
    from collections.abc import Callable

    from attack import Figures, Shot

#: Under this name a test's report carries its line of the table.
ROW = "attack under inbound"


@pytest.fixture(scope="session")
def innocents(seed: str) -> list[Shot]:
    """85 minutes of ordinary mail, the same for all attacks of a run."""
    return settling(seed)


@pytest.fixture
def write_down(record_property: Callable[[str, object], None]) -> Callable[[str, Figures], None]:
    """Puts a line into the table. The line travels with the test's report, since several processes may run tests."""

    def write(shape: str, figures: Figures) -> None:
        lost = ", ".join(f"{kind} {count} by {limit}" for (kind, limit), count in figures.lost.items())
        refused = sum(figures.lost.values())
        first = "never" if figures.before_refusal is None else str(figures.before_refusal)
        row = f"{shape:<64}{figures.sent:>8}{figures.admitted:>9}{figures.share:>8.1%}{first:>8}"
        row = f"{row}{sum(figures.innocent.values()):>11}{refused:>7}  {lost}"
        record_property(ROW, row)
        print(f"\n{row}\n  refused by {dict(figures.limits)}, known and lost {sum(figures.lost_known.values())}")

    return write


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Puts a line in words into the table, for an attack that is not counted in messages."""

    def write(line: str) -> None:
        record_property(ROW, line)
        print(f"\n{line}")

    return write


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for of in terminalreporter.stats.values() for report in of if hasattr(report, "user_properties")]
    rows = [
        row
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, row in report.user_properties
        if name == ROW
    ]
    if rows:
        terminalreporter.section("attacks under inbound")
        head = f"{'shape':<64}{'sent':>8}{'admitted':>9}{'':>8}{'refused':>8}{'innocents':>11}{'lost':>7}"
        terminalreporter.write_line(f"{head}  of whom\n{'':<81}{'after':>16}")
        for row in rows:
            terminalreporter.write_line(row)
