"""The shared parts of the commands that ask a running service: the option of its control socket, and errors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping  # noqa: TC003  typer reads the annotations when it runs
from typing import Annotated, Any

import typer

from throttle import control
from throttle.cli import fail
from throttle.control.client import ControlClient, ControlError

VARIABLE = "THROTTLE_CONTROL"

ControlPath = Annotated[
    str,
    typer.Option(
        "--control",
        metavar="PATH",
        help="The socket of `throttle serve --control PATH`.",
        envvar=VARIABLE,
        show_default=True,
    ),
]
PolicyName = Annotated[
    str | None,
    typer.Option("--policy", metavar="NAME", help="Only the policy of this name.", show_default="all of the service"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]

DEFAULT = control.PATH


def ask(path: str, verb: str, /, *, as_json: bool = False, **fields: Any) -> Any:
    """Returns the answer of the service at `path` to a verb.

    With `as_json`, it prints the answer as programs want it, with what a sender wrote unchanged, and ends the command.
    An error ends the command with one line on stderr and exit code 2.
    """
    try:
        with ControlClient(path) as service:
            answer = service.ask(verb, **fields)
    except ControlError as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        raise typer.Exit
    return answer


def counted(checks: Mapping[str, Mapping[str, int]]) -> str:
    """Returns checks by stage and decision as people say it: `12 admitted, 3 refused`."""
    decisions: Counter[str] = Counter()
    for by_decision in checks.values():
        decisions.update(by_decision)
    return ", ".join(f"{count:,} {decision}" for decision, count in decisions.items() if count) or "none yet"


def duration(seconds: float) -> str:
    """Returns a duration as people say it: `90 s`, `15 min`, `3 h`, `2 days`."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{max(0, round(seconds))} s"
