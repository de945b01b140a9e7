"""What a benchmark found besides its table: told at the end, when pytest-benchmark has printed its own.

It knows no benchmark. Invariant: what is told at the end stands in the saved file, too, as ``extra_info``.
"""

from typing import Any, Protocol

import pytest

from throttle.bench.machine import describe

FINDINGS = pytest.StashKey[list[str]]()


class Benchmark(Protocol):
    """What is used of pytest-benchmark's fixture, which has no types."""

    extra_info: dict[str, Any]
    group: str | None

    def pedantic(self, target: Any, *, setup: Any = None, rounds: int = 1, iterations: int = 1) -> Any: ...


class Findings:
    """Lines for the end of the run, and the numbers in them."""

    def __init__(self, lines: list[str], benchmark: Benchmark) -> None:
        self._lines = lines
        self._benchmark = benchmark

    def tell(self, title: str, lines: list[str], **numbers: Any) -> None:
        self._lines += ["", title, *(f"  {line}" for line in lines)]
        self._benchmark.extra_info.update(numbers)


@pytest.fixture
def findings(request: pytest.FixtureRequest, benchmark: Benchmark) -> Findings:
    return Findings(request.config.stash.setdefault(FINDINGS, []), benchmark)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(FINDINGS, [])
    if lines:
        terminalreporter.section("side by side")
        terminalreporter.write_line(str(describe()))
        for line in lines:
            terminalreporter.write_line(line)
