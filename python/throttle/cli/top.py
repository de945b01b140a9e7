"""`throttle top`: the offenders of a running service, live.

It asks the control socket for what `Throttle.top` and `Throttle.notices` return.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from throttle.cli import client, fail, missing
from throttle.control import MOST_OFFENDERS
from throttle.control.client import ControlClient, ControlError
from throttle.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from throttle.control import answers

HELP = (
    "Show who comes near the limits of a running service: for each identity the busiest values, how often they came in "
    "the last minute, how often they were refused, how many different names they brought, and which limit holds them. "
    "Ctrl-C ends. Exit codes: 0 ended; 2 no service, or no right to ask it."
)
EXAMPLE = "Example: throttle top --identity sender.org"


def command(
    *,
    control: client.ControlPath = client.DEFAULT,
    identity: Annotated[
        str | None, typer.Option(metavar="IDENTITY", help="Only this identity.", show_default="all that limits count")
    ] = None,
    most: Annotated[int, typer.Option("-n", min=1, max=MOST_OFFENDERS, help="Values of each identity.")] = 5,
    policy: client.PolicyName = None,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.5, help="Time from one look to the next.")] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Print once and end. This is the default when stdout is no terminal.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line each time.")] = False,
) -> None:
    """Shows offenders."""
    try:
        from rich.console import Console
        from rich.live import Live
    except ModuleNotFoundError as error:
        missing(error, "throttle top", "cli")
    looks = _looks(control, {"identity": identity, "n": most, "policy": policy}, interval)
    if as_json:
        for look in islice(looks, 1 if once else None):
            typer.echo(json.dumps(look))
        return
    console = Console(highlight=False)
    if once or not sys.stdout.isatty():
        console.print(table(next(looks), time.time(), console.width))
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for look in looks:
            live.update(table(look, time.time(), console.width), refresh=True)


def _looks(control: str, fields: dict[str, Any], interval: float) -> Iterator[list[answers.Top] | str]:
    """What the service tells, at each interval.

    A service that is started again is asked again, and so is one that has closed a connection which was idle too long.
    """
    first = True
    while True:
        was_answered = False
        try:
            with ControlClient(control) as service:
                while True:
                    yield service.ask("top", **fields)
                    first, was_answered = False, True
                    time.sleep(interval)
        except ControlError as error:
            if first:
                fail(error)
            if not was_answered:
                yield str(error)
                time.sleep(interval)


WIDE = 100
"""A terminal with fewer columns shows no ages, so that the names of limits stay readable."""


def table(look: list[answers.Top] | str, now: float, width: int) -> RenderableType:
    """Returns a look as a table; `now` is in Unix seconds. A text is what is wrong."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if isinstance(look, str):
        return Text(printable(look))
    parts: list[RenderableType] = []
    for one in look:
        name = f"policy {one['policy']}, " if one["policy"] else ""
        when = datetime.fromtimestamp(now, UTC).strftime("%H:%M:%S UTC")
        parts.append(
            Text(printable(f"{name}{one['mode']}, {when}; checks since start: {client.counted(one['checks'])}"))
        )
        rows = Table(box=None, pad_edge=False, header_style="bold")
        rows.add_column("identity", no_wrap=True)
        rows.add_column("value", overflow="fold", min_width=14)
        for heading in ("a minute", "refused", "fan-out"):
            rows.add_column(heading, justify="right", no_wrap=True)
        if width >= WIDE:
            rows.add_column("for", justify="right", no_wrap=True)
        rows.add_column("held by", overflow="fold", min_width=18)
        for group in one["identities"]:
            for offender in group["offenders"]:
                rows.add_row(
                    Text(group["identity"]),
                    Text(printable(offender["value"])),
                    f"{offender['admitted'] + offender['refused']:,}",
                    f"{offender['refused']:,}",
                    "" if offender["fan_out"] is None else f"{offender['fan_out']:,}",
                    *([client.duration(now - offender["first_seen"])] if width >= WIDE else []),
                    Text(", ".join(map(_held, offender["limits"]))),
                )
        if rows.row_count:
            parts.append(rows)
        else:
            parts.append(Text("nobody comes near a limit"))
        parts += [Text(printable(notice["text"])) for notice in one["refusing"][:10]]
    return Group(*parts)


def _held(limit: answers.HeldBy) -> str:
    return f"{limit['limit']} (shadow)" if limit["mode"] == "shadow" else limit["limit"]
