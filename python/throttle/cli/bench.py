"""`throttle bench`: its options.

It measures nothing: that is a package of its own, loaded only here.
"""

from __future__ import annotations

from typing import Annotated

import typer

from throttle.cli import fail, missing

INTERRUPTED = 130

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")]
Seconds = Annotated[
    float, typer.Option(min=0.1, max=3600, help="How long to measure, about; preparing takes a few seconds more.")
]


def command(*, as_json: AsJson = False, seconds: Seconds = 30) -> None:
    """Measure what a call costs on this machine, and what other limiters cost that are installed."""
    try:
        from throttle.bench.run import run
    except ModuleNotFoundError as error:
        missing(error, "the benchmark", "cli")
    try:
        run(seconds, as_json=as_json)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
