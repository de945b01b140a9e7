"""`throttle serve`: its options, and what may be wrong with them.

It knows no protocol: `throttle.serve` does, and is loaded only here.
Invariant: every option is tried before anything listens.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from throttle import ThrottleError
from throttle.cli import fail, missing
from throttle.cli.flags import POLICY_HELP

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from throttle.serve.guards import Guards
    from throttle.serve.log import Log
    from throttle.serve.metrics import Metrics

EXAMPLE = "Example: throttle serve --postfix inet:127.0.0.1:10040 --policy inbound"
HELP = (
    "Answer a mail server at each step of its SMTP dialogue. SIGHUP loads the policies again, with their lists; one "
    "that is wrong is logged and changes nothing. SIGTERM ends when all answers are sent. "
    "Exit codes: 0 ended; 2 wrong input, with one message on stderr."
)


class Form(StrEnum):
    """The form of the log."""

    text = "text"
    json = "json"


class OnFault(StrEnum):
    """What a milter answers when a step fails on our side."""

    accept = "accept"
    tempfail = "tempfail"


class Unit(StrEnum):
    """A unit file of systemd."""

    service = "service"
    socket = "socket"


Postfix = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Answer Postfix's policy delegation on inet:HOST:PORT, unix:PATH or systemd: the sockets of a .socket "
        "unit.",
        show_default=False,
    ),
]
Milter = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Answer as a milter on inet:HOST:PORT or unix:PATH.", show_default=False),
]
AuthservId = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="As a milter: believe the SPF and DKIM verdicts of this server in Authentication-Results headers.",
        show_default=False,
    ),
]
AuthservFields = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="As a milter: how many such headers the server adds to each message; the topmost count.",
        show_default="1",
    ),
]
WhenFaulty = Annotated[
    OnFault | None,
    typer.Option(help="As a milter: what happens to mail when a step fails on our side.", show_default="accept"),
]
Policies = Annotated[
    list[str],
    typer.Option(
        "--policy",
        metavar="[NAME=]POLICY",
        help=f"A policy: {POLICY_HELP}. With NAME= it is asked when Postfix sends that policy_context; several may "
        "be given.",
    ),
]
Memory = Annotated[str | None, typer.Option(metavar="SIZE", help="Memory of each policy.", show_default="16 MiB")]
Learned = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="What `throttle replay --learn` wrote: known from the start.", show_default=False
    ),
]
Shadow = Annotated[bool, typer.Option("--shadow", help="Decide and count, and refuse nothing.")]
MetricsAddress = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="ADDRESS",
        help="Show metrics to Prometheus on HOST:PORT or unix:PATH, as /metrics, with /healthz and /readyz. Anybody "
        "who can connect reads them.",
        show_default=False,
    ),
]
MaxSeries = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Do not start when the policies could show more series than this.", show_default=False
    ),
]
Check = Annotated[bool, typer.Option("--check", help="Look at all options and policies, and end.")]
LogForm = Annotated[Form, typer.Option("--log", help="Form of the log, on stderr.")]
PrintUnit = Annotated[
    Unit | None,
    typer.Option("--print-unit", help="Print a unit file of systemd for --postfix, and end.", show_default=False),
]


def command(
    *,
    postfix: Postfix = None,
    milter: Milter = None,
    authserv_id: AuthservId = None,
    authserv_fields: AuthservFields = None,
    on_fault: WhenFaulty = None,
    policy: Policies = ["inbound"],  # noqa: B006  typer copies it
    memory: Memory = None,
    learned: Learned = None,
    shadow: Shadow = False,
    metrics: MetricsAddress = None,
    max_series: MaxSeries = None,
    check: Check = False,
    log: LogForm = Form.text,
    print_unit: PrintUnit = None,
) -> None:
    """Tries the options, and serves."""
    from throttle.serve.guards import Guards, PolicySource
    from throttle.serve.log import Log
    from throttle.serve.metrics import Metrics, most_series
    from throttle.serve.units import unit

    if print_unit is not None:
        typer.echo(unit(print_unit.value), nl=False)
        return
    if postfix is not None and milter is not None:
        fail("--postfix and --milter: found both; allowed: one of them, because two processes share no counters")
    if postfix is None and milter is None:
        fail("--postfix or --milter: found neither; allowed: one of them")
    options: dict[str, Any] = {"authserv_id": authserv_id, "fields": authserv_fields, "on_fault": on_fault}
    options = {name: value for name, value in options.items() if value is not None}
    if postfix is not None and options:
        fail("--authserv-id, --authserv-fields and --on-fault: found one with --postfix; allowed: with --milter")
    try:
        guards = Guards(map(PolicySource.parse, policy), memory=memory, learned=learned, shadow=shadow)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror or error}")
    except (ThrottleError, ValueError) as error:
        fail(error)
    series = most_series(guards)
    if max_series is not None and series > max_series:
        fail(f"--max-series: found policies that can show {series:,} series at once; allowed: {max_series:,}")
    events, state = Log(log.value), Metrics(guards)
    with _shown(metrics, state, events, check=check):
        if postfix is not None:
            _serve_postfix(postfix, guards, events, state, check=check)
        elif milter is not None:
            _serve_milter(milter, guards, events, state, options, check=check)


def _shown(text: str | None, metrics: Metrics, log: Log, *, check: bool) -> AbstractContextManager[object]:
    """Shows the metrics at the address, if there is one, until the end of the block."""
    from throttle.serve.address import AddressError, ListenAddress
    from throttle.serve.metrics import MetricsServer

    if text is None:
        return nullcontext()
    try:
        address = ListenAddress.parse(text if "unix:" in text else f"inet:{text}")
        return nullcontext() if check else closing(MetricsServer(address, metrics, log))
    except AddressError as error:
        fail(f"--metrics: {error}")


def _serve_postfix(text: str, guards: Guards, log: Log, metrics: Metrics, *, check: bool) -> None:
    from throttle.serve.address import AddressError, ListenAddress
    from throttle.serve.inactive import inactive_limits
    from throttle.serve.service import run

    try:
        address = ListenAddress.parse(text)
        for source, guard in guards:
            inactive = list(inactive_limits(guard.policy))
            message = f"{source}: {len(guard.policy.limits)} limits, {len(inactive)} of them cannot act here"
            log.event("policy", message, limited=False)
            for limit in inactive:
                log.event("inactive limit", str(limit), limited=False)
        if not check:
            run(address, guards, log, metrics)
    except AddressError as error:
        fail(f"--postfix: {error}")


def _serve_milter(
    address: str, guards: Guards, log: Log, metrics: Metrics, options: dict[str, Any], *, check: bool
) -> None:
    try:
        from throttle.serve import milter
    except ModuleNotFoundError as error:
        missing(error, "--milter", "milter")
    try:
        milter.check(address, guards, **options)
        for source, guard in guards:
            log.event("policy", f"{source}: {len(guard.policy.limits)} limits", limited=False)
        if not check:
            milter.run(address, guards, log, metrics, **options)
    except (OSError, ValueError) as error:
        fail(f"--milter: {error}")
