"""All commands in one place, and `--version`.

It knows which commands there are, not what they do.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from throttle import __version__
from throttle.cli import bench, ctl, demo, diagnose, explain, metrics, policy, replay, serve, top
from throttle.cli.flags import Command, Group

app = typer.Typer(
    name="throttle",
    cls=Group,
    help="Rate limits for inbound mail, in memory fixed before start. "
    "Exit codes: 0 done; 2 wrong input, with one message on stderr; 130 interrupted; 1 of the demo: the outage could "
    "not be shown.",
    epilog="Example: throttle demo",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},  # commands take it over
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"throttle {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version  # `_version` has looked at it
    # What a sender wrote need not be text that a terminal takes: it is shown as an escape, and never an error.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


app.command("demo", cls=Command, epilog="Example: throttle demo --messages 5000 --out pictures")(demo.command)
app.command("bench", cls=Command, epilog="Example: throttle bench --seconds 10")(bench.command)
app.command("replay", cls=Command, epilog=replay.EXAMPLE, help=replay.HELP)(replay.command)
app.command("explain", cls=Command, epilog=explain.EXAMPLE, help=explain.HELP)(explain.command)
app.command("serve", cls=Command, epilog=serve.EXAMPLE, help=serve.HELP)(serve.command)
app.command("top", cls=Command, epilog=top.EXAMPLE, help=top.HELP)(top.command)
app.command("diagnose", cls=Command, epilog=diagnose.EXAMPLE, help=diagnose.HELP)(diagnose.command)
app.add_typer(ctl.app)
app.add_typer(policy.app)
app.add_typer(metrics.app)
