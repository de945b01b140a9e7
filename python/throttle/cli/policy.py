"""`throttle policy`: what an operator asks about a policy file.

It knows how to show a limit, not what is allowed in one.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads the annotations when it runs
from typing import Annotated, Any

import typer

from throttle import Limit, Policy, Throttle, ThrottleError
from throttle.cli import fail

app = typer.Typer(
    name="policy",
    help="Work with policy files.",
    epilog="Example: throttle policy check policy.toml",
    no_args_is_help=True,
)

#: Shown beside the rule, not in it.
HEADING = ("name", "per")


@app.callback()
def _options() -> None:
    """Work with policy files."""


@app.command(epilog="Example: throttle policy check policy.toml")
def check(
    file: Annotated[Path, typer.Argument(help="A policy file (TOML).", metavar="FILE", show_default=False)],
    memory: Annotated[str, typer.Option(help="Memory that it has to fit into.", metavar="SIZE")] = "16 MiB",
) -> None:
    """Say what is wrong with a policy file, or show its limits."""
    try:
        policy = Policy.from_file(file)
        guard = Throttle(policy, memory=memory)  # a policy can be right and still not fit into the memory
    except OSError as error:
        fail(f"{file}: {error.strerror or error}")
    except (ThrottleError, ValueError) as error:
        fail(error)
    typer.echo(f"{file}: {len(policy.limits)} limits, {guard.memory_bytes:,} bytes of counters")
    width = max((len(limit.name) for limit in policy.limits), default=0)
    for limit in policy.limits:
        typer.echo(f"  {limit.name:<{width}}  per {limit.per}: {rule(limit)}")


def rule(limit: Limit) -> str:
    """What a limit says besides its name and what it is kept per, in the words of the file."""
    return words({field: value for field, value in limit.fields.items() if field not in HEADING})


def words(value: Any) -> str:
    """A list as `Limit.per` writes one; a table's fields one after another, in brackets where it lies in another."""
    match value:
        case dict():
            inner = {
                field: f"({words(held)})" if isinstance(held, dict) else words(held) for field, held in value.items()
            }
            return ", ".join(f"{field} {held}" for field, held in inner.items())
        case list():
            return " + ".join(value)
    return str(value)
