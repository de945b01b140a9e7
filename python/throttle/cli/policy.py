"""`throttle policy`: what an operator asks about a policy file.

It knows how to name what is wrong, not what is allowed; what a policy comes to is shown by `show`.
Invariant: every file named is looked at, and one wrong file makes the exit code 2.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from throttle import Limit, Policy, PolicyError, Throttle, ThrottleError, policies
from throttle.cli import BAD_INPUT, fail, missing
from throttle.cli.flags import POLICY_HELP, Command, Group
from throttle.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from throttle.types import LimitPlan

EXITS = "Exit code: 0 when all is right, 2 when something is wrong, a file cannot be read or an option is none."

COLUMNS = (
    "+ known: the memory of admitted names, the seen set.",
    "Keys a minute: so many new ones, with one message or one new name each, until one in a hundred finds no room.",
    "Hours to fill: until one key that brings new names at the full rate has filled the seen set.",
    "One key: the most that a single key gets. A sender that owns many keys gets this for each of them.",
    "Only in-flight limits bound the sum.",
)
"""What the columns of `show` mean."""

app = typer.Typer(
    name="policy",
    cls=Group,
    help="Work with policy files.",
    epilog="Example: throttle policy check policy.toml",
    no_args_is_help=True,
)

#: Shown beside the rule, not in it.
HEADING = ("name", "per")

Memory = Annotated[str, typer.Option(help="Memory that it has to fit into, as '64 MiB'.", metavar="SIZE")]
MaxOpen = Annotated[int | None, typer.Option(help="Permits at once.", metavar="N", show_default="10000")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]


@app.callback()
def _options() -> None:
    """Work with policy files."""


@app.command(
    cls=Command,
    epilog="Example: throttle policy check inbound policy.toml",
    help=f"Say what is wrong with policy files, or show their limits. {EXITS}",
)
def check(
    files: Annotated[
        list[str], typer.Argument(help=f"Policies: {POLICY_HELP}.", metavar="POLICY...", show_default=False)
    ],
    *,
    memory: Memory = "16 MiB",
    max_open: MaxOpen = None,
    as_json: AsJson = False,
) -> None:
    """Looks at every file."""
    told = [_checked(file, memory, max_open) for file in files]
    if as_json:
        typer.echo(json.dumps(told, indent=2))
    else:
        for one in told:
            _say(one)
    if any(one["error"] for one in told):
        sys.exit(BAD_INPUT)


@app.command(
    cls=Command,
    epilog="Example: throttle policy show policy.toml --memory '64 MiB'",
    help=f"Show what each limit of a policy gets of the memory, and what that is worth. {' '.join(COLUMNS)} {EXITS}",
)
def show(
    file: Annotated[str, typer.Argument(help=f"The policy: {POLICY_HELP}.", metavar="POLICY")] = "inbound",
    *,
    memory: Memory = "16 MiB",
    max_open: MaxOpen = None,
    as_json: AsJson = False,
    as_toml: Annotated[
        bool, typer.Option("--toml", help="Print the policy as one file: what it extends and its scale worked in.")
    ] = False,
) -> None:
    """Shows one policy."""
    try:
        policy, rows = _planned(file, memory, max_open)
    except (OSError, ThrottleError, ValueError) as error:
        fail(_sentence(file, error))
    if as_toml:
        typer.echo(policy.to_toml(), nl=False)
    elif as_json:
        typer.echo(
            json.dumps(
                {
                    "file": policy.file,
                    "mode": policy.mode,
                    "scale": policy.scale,
                    "series": policy.series_bound(),
                    "limits": rows,
                },
                indent=2,
            )
        )
    else:
        try:
            from throttle.cli.show import table
        except ModuleNotFoundError as error:
            missing(error, "the table", "cli")
        table(policy, rows, memory, _width())
        for line in COLUMNS:
            _print(line)
        ended = sum(entry.until <= time.time() for entry in policy.entries)
        for line in beside(policy.quota_file, policy.entries, ended):
            _print(line)
        now, a_day = policy.series_bound()
        _print(f"metrics: at most {now:,} series at once, and {a_day:,} different ones in a day")


@app.command(
    cls=Command,
    epilog="Example: throttle policy schema > policy.schema.json",
    help="Print the JSON Schema of policy files. Editors complete and check a file that begins with the line "
    "`#:schema ./policy.schema.json`.",
)
def schema() -> None:
    """Prints it."""
    typer.echo(Policy.schema(), nl=False)


def _width() -> int | None:
    """How wide the output may be: the terminal, or what `COLUMNS` says. Another program reads lines of any width."""
    return shutil.get_terminal_size().columns if "COLUMNS" in os.environ or sys.stdout.isatty() else None


def _print(line: str) -> None:
    """Prints a line, broken between words where it is too wide. A broken line goes on two columns further in."""
    width = _width()
    if width is not None:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        line = textwrap.fill(
            line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False,
            replace_whitespace=False,
        )  # fmt: skip
    typer.echo(line)


def _planned(file: str, memory: str, max_open: int | None) -> tuple[Policy, list[LimitPlan]]:
    policy = policies.load(file)
    return policy, policy.plan(memory=memory, max_open=max_open)


def _checked(file: str, memory: str, max_open: int | None) -> dict[str, Any]:
    """One file, as JSON tells it."""
    try:
        policy = policies.load(file)
        guard = Throttle(policy, memory=memory, max_open=max_open)  # right by itself, and still it may not fit
    except PolicyError as error:
        return {"file": file, "error": {"message": str(error), **vars(error)}}
    except (OSError, ThrottleError, ValueError) as error:
        return {"file": file, "error": {"message": _sentence(file, error)}}
    return {
        "file": file,
        "error": None,
        "memory_bytes": guard.memory_bytes,
        "quota_bytes": guard.quota_bytes,
        "quota_file": policy.quota_file,
        "entries": [asdict(entry) for entry in policy.entries],
        "ended": sum(entry.until <= time.time() for entry in policy.entries),
        "limits": [limit.fields for limit in policy.limits],
    }


def _sentence(file: str, error: Exception) -> str:
    return f"{file}: {error.strerror or error}" if isinstance(error, OSError) else str(error)


def _say(told: dict[str, Any]) -> None:
    if told["error"]:
        typer.echo(f"throttle: {printable(told['error']['message'])}", err=True)
        return
    limits = [Limit(**fields) for fields in told["limits"]]
    noun = "limit" if len(limits) == 1 else "limits"
    _print(f"{told['file']}: {len(limits)} {noun}, {told['memory_bytes']:,} bytes of counters")
    for line in beside(told["quota_file"], told["entries"], told["ended"]):
        _print(f"  {line}")
    width = max(len(limit.name) for limit in limits)
    for limit in limits:
        _print(printable(f"  {limit.name:<{width}}  per {limit.per}: {rule(limit)}"))


def beside(quota_file: tuple[str, int] | None, entries: Sequence[Any], ended: int) -> Iterator[str]:
    """What a policy has besides its limits, a line for each."""
    if quota_file:
        yield f"{quota_file[0]}: {quota_file[1]:,} values with quotas"
    if entries:
        over = f", {ended:,} of them ended and left out" if ended else ""
        noun = "entry" if len(entries) == 1 else "entries"
        yield f"{len(entries):,} {noun} in [[allow]] and [[block]]{over}"


def rule(limit: Limit) -> str:
    """What a limit says besides its name and what it is kept per, in the words of the file."""
    return words({field: value for field, value in limit.fields.items() if field not in HEADING})


def words(value: Any) -> str:
    """A list as `Limit.per` writes one; a table's fields one after another, in brackets where it lies in another; of a
    list of tables one after another.
    """
    match value:
        case dict():
            inner = {
                field: f"({words(held)})" if isinstance(held, dict) else words(held) for field, held in value.items()
            }
            return ", ".join(f"{field} {held}" for field, held in inner.items())
        case [dict(), *_]:
            return "; ".join(map(words, value))
        case list():
            return " + ".join(value)
    return str(value)
