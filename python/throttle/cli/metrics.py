"""`throttle metrics`: files for Prometheus, Alertmanager and Grafana.

It prints them; `throttle.monitoring` has them.
"""

from __future__ import annotations

import re
from typing import Annotated

import typer

from throttle import monitoring
from throttle.cli import fail
from throttle.cli.flags import Command, Group

app = typer.Typer(
    name="metrics",
    cls=Group,
    help="Print files for Prometheus, Alertmanager and Grafana.",
    epilog="Example: throttle metrics rules > throttle-rules.yml",
    no_args_is_help=True,
)

HELP = {
    "alertmanager": "A configuration of Alertmanager that tells a flood within a minute.",
    "scrape-config": "The lines of prometheus.yml that scrape throttle serve.",
    "dashboard": "A dashboard for Grafana, as JSON for its import.",
}
EXAMPLES = {
    "alertmanager": "throttle metrics alertmanager > alertmanager.yml",
    "scrape-config": "throttle metrics scrape-config",
    "dashboard": "throttle metrics dashboard > throttle.json",
}


@app.callback()
def _options() -> None:
    """Print files for Prometheus, Alertmanager and Grafana."""


@app.command("rules", cls=Command, epilog="Example: throttle metrics rules > throttle-rules.yml")
def rules(
    *,
    pages: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where you publish this documentation: each alert links to its runbook there.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Alerts and recording rules for Prometheus 2.42 and later."""
    if pages and not re.fullmatch(r"https?://[\w./:~%+-]+", pages, re.ASCII):
        fail(f"--pages: found {pages!r}; allowed: a URL, as https://docs.example.com/throttle")
    typer.echo(monitoring.text("rules", pages), nl=False)


def _command(name: str) -> None:
    def printed() -> None:
        typer.echo(monitoring.text(name), nl=False)

    app.command(name, cls=Command, help=HELP[name], epilog=f"Example: {EXAMPLES[name]}")(printed)


for _name in HELP:
    _command(_name)
