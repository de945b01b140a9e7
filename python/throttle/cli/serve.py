"""`throttle serve`: its options, and what may be wrong with them.

It knows no protocol: `throttle.serve` does, and is loaded only here.
Invariant: what serves mail is tried before anything listens.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from throttle import ThrottleError
from throttle.cli import fail, missing
from throttle.cli.flags import POLICY_HELP

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from throttle import Throttle
    from throttle.serve.guards import Guards, PolicySource
    from throttle.serve.log import Log
    from throttle.serve.metrics import Metrics

EXAMPLE = "Example: throttle serve --postfix inet:127.0.0.1:10040 --policy inbound"
HELP = (
    "Answer a mail server at each step of its SMTP dialogue. SIGHUP loads the policies again, with their lists; one "
    "that is wrong is logged and changes nothing. SIGTERM ends when all answers are sent, within two seconds. "
    "Exit codes: 0 ended; 2 wrong input, with one message on stderr."
)

FORMS = ("text", "json")
ON_FAULT = ("accept", "tempfail")
UNITS = ("service", "socket")
OPTIONS = {"authserv_id": "--authserv-id", "fields": "--authserv-fields", "on_fault": "--on-fault"}

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
    str | None,
    typer.Option(
        metavar="|".join(ON_FAULT),
        help="As a milter: what happens to mail when a step fails on our side.",
        show_default="accept",
    ),
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
Memory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Memory of each policy, as '64 MiB'.", show_default="16 MiB")
]
MaxOpen = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Permits of each policy: how many connections and messages may be open at once. With a scale above 1, "
        "inbound needs 9,200 times the scale.",
        show_default="10000",
    ),
]
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
    typer.Option(metavar="N", help="Load no policies that could show more series than this.", show_default=False),
]
Control = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Answer `throttle top`, `throttle ctl` and `throttle diagnose` on a socket at this path, whose directory "
        "nobody else may enter; it is made if it does not exist.",
        show_default=False,
    ),
]
ControlGroup = Annotated[
    str | None,
    typer.Option(
        metavar="GROUP",
        help="Besides root and the service's own user, the members of this group may ask.",
        show_default=False,
    ),
]
ControlGroupChanges = Annotated[
    bool, typer.Option("--control-group-changes", help="The members of --control-group may also change something.")
]
Check = Annotated[bool, typer.Option("--check", help="Look at all options and policies, and end.")]
LogForm = Annotated[str, typer.Option("--log", metavar="|".join(FORMS), help="Form of the log, on stderr.")]
PrintUnit = Annotated[
    str | None,
    typer.Option(
        "--print-unit",
        metavar="|".join(UNITS),
        help="Print a unit file of systemd for --postfix systemd or --milter, with the other options, and end.",
        show_default=False,
    ),
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
    max_open: MaxOpen = None,
    learned: Learned = None,
    shadow: Shadow = False,
    metrics: MetricsAddress = None,
    max_series: MaxSeries = None,
    control: Control = None,
    control_group: ControlGroup = None,
    control_group_changes: ControlGroupChanges = False,
    check: Check = False,
    log: LogForm = "text",
    print_unit: PrintUnit = None,
) -> None:
    """Tries the options, and serves."""
    from throttle.serve.guards import Guards, PolicySource
    from throttle.serve.log import Log
    from throttle.serve.metrics import Metrics

    if print_unit is not None and milter is None and postfix is None:
        postfix = "systemd"
    options: dict[str, Any] = {"authserv_id": authserv_id, "fields": authserv_fields, "on_fault": on_fault}
    options = {name: value for name, value in options.items() if value is not None}
    group = (control_group, control_group_changes)
    for wrong in (
        _wrong_choice({"--log": (log, FORMS), "--on-fault": (on_fault, ON_FAULT), "--print-unit": (print_unit, UNITS)}),
        _wrong_together(postfix, milter, options, control, group),
    ):
        if wrong is not None:
            fail(wrong)
    events = Log("json" if log == "json" else "text")
    try:
        guards = Guards(
            map(PolicySource.parse, policy),
            memory=memory,
            max_open=max_open,
            learned=learned,
            shadow=shadow,
            sample=control is not None,
            max_series=max_series,
        )
    except OSError as error:
        fail(f"{error.filename}: {error.strerror or error}")
    except (ThrottleError, ValueError) as error:
        fail(error)
    if print_unit is not None:
        words = _words(
            {
                "--policy": [str(PolicySource.parse(text).absolute()) for text in policy],
                "--memory": memory,
                "--max-open": max_open,
                "--learned": None if learned is None else Path(learned).absolute(),
                "--log": None if log == "text" else log,
                "--shadow": shadow,
                "--metrics": metrics,
                "--max-series": max_series,
                "--control": control,
                "--control-group": control_group,
                "--control-group-changes": control_group_changes,
                **{OPTIONS[name]: value for name, value in options.items()},
            }
        )
        memory_bytes = sum(guard.memory_bytes + guard.sample_bytes for _, guard in guards)
        permits = [table.slots for _, guard in guards for table in guard.tables() if table.table == "permits"]
        _print_unit(print_unit, postfix, milter, words, memory_bytes, sum(permits))
        return
    if postfix is not None:
        _check_postfix(postfix, guards, events)
    elif milter is not None:
        _check_milter(milter, guards, events, options)
    state = Metrics(guards)
    with (
        _shown(metrics, state, events, check=check),
        _controlled(control, group, guards, events, check=check),
    ):
        if check:
            if guards.has_default:
                events.event("checked", "all is right", limited=False)
            return
        if postfix is not None:
            _serve_postfix(postfix, guards, events, state)
        elif milter is not None:
            _serve_milter(milter, guards, events, state, options)


def _wrong_choice(found: dict[str, tuple[str | None, tuple[str, ...]]]) -> str | None:
    """What is wrong with options that have a few values."""
    for option, (value, allowed) in found.items():
        if value is not None and value not in allowed:
            return f"{option}: found {value!r}; allowed: {', '.join(allowed)}"
    return None


def _wrong_together(
    postfix: str | None,
    milter: str | None,
    options: dict[str, Any],
    control: str | None,
    group: tuple[str | None, bool],
) -> str | None:
    """What is wrong with options that need or exclude each other."""
    if postfix is not None and milter is not None:
        return "--postfix and --milter: found both; allowed: one of them, because two processes share no counters"
    if postfix is None and milter is None:
        return "--postfix or --milter: found neither; allowed: one of them"
    if postfix is not None and options:
        return "--authserv-id, --authserv-fields and --on-fault: found one with --postfix; allowed: with --milter"
    if "fields" in options and "authserv_id" not in options:
        return "--authserv-fields: found no --authserv-id; allowed: with it"
    if control is None and group[0] is not None:
        return "--control-group: found no --control; allowed: with it"
    if group[0] is None and group[1]:
        return "--control-group-changes: found no --control-group; allowed: with it"
    return None


def _words(options: dict[str, object]) -> list[str]:
    """The options as a unit has them: systemd starts the service in another directory, so their paths are absolute."""
    words: list[str] = []
    for name, value in options.items():
        if value is True:
            words.append(name)
        elif isinstance(value, list):
            words += [word for one in value for word in (name, one)]
        elif value is not None and value is not False:
            words += [name, str(value)]
    return words


def _print_unit(
    name: str, postfix: str | None, milter: str | None, words: list[str], memory_bytes: int, permits: int
) -> None:
    from throttle.serve.address import AddressError, ListenAddress
    from throttle.serve.units import milter_unit, unit

    try:
        if milter is None:
            if postfix != "systemd":
                fail(
                    f"--postfix: found {postfix!r}; allowed in a unit: systemd, because throttle.socket has the address"
                )
            text = unit(name, ["--postfix", postfix, *words], memory_bytes)
        elif name != "service":
            fail(f"--print-unit: found {name!r} with --milter; allowed: service, because libmilter makes the socket")
        else:
            address = ListenAddress.parse(milter, fixed=True)
            text = milter_unit(address, ["--milter", milter, *words], memory_bytes, permits)
    except AddressError as error:
        fail(f"--milter: {error}")
    except ValueError as error:
        fail(error)
    typer.echo(text, nl=False)


def _shown(text: str | None, metrics: Metrics, log: Log, *, check: bool) -> AbstractContextManager[object]:
    """Shows the metrics at the address, if there is one, until the end of the block."""
    from throttle.serve.address import AddressError, ListenAddress
    from throttle.serve.metrics import MetricsServer

    if text is None:
        return nullcontext()
    try:
        address = ListenAddress.parse_host_port(text)
        address.check()
        return nullcontext() if check else closing(MetricsServer(address, metrics, log))
    except AddressError as error:
        fail(f"--metrics: {error}")


def _controlled(
    path: str | None, group: tuple[str | None, bool], guards: Guards, log: Log, *, check: bool
) -> AbstractContextManager[object]:
    """Answers on the control socket, if there is one, until the end of the block."""
    from throttle.serve.access import Rights
    from throttle.serve.access import check as check_path
    from throttle.serve.address import AddressError
    from throttle.serve.control import ControlServer

    if path is None:
        return nullcontext()
    try:
        rights = Rights.of(group[0], may_change=group[1])
        if check:
            check_path(path, rights.group_id)
            return nullcontext()
        return closing(ControlServer(path, guards, log, rights))
    except AddressError as error:
        fail(f"--control: {error}")


def _check_postfix(text: str, guards: Guards, log: Log) -> None:
    from throttle.serve.address import AddressError, ListenAddress
    from throttle.serve.inactive import inactive_limits

    try:
        ListenAddress.parse(text).check()
    except AddressError as error:
        fail(f"--postfix: {error}")
    for source, guard in guards:
        inactive = list(inactive_limits(guard.policy))
        _log_policy(log, source, guard, f", {len(inactive)} of them cannot act here")
        for limit in inactive:
            log.event("inactive limit", str(limit), limited=False)
        if sum(not limit.may_act for limit in inactive) == len(guard.policy.limits) and not guard.policy.entries:
            fail(f"--policy: found {source}, none of whose limits can act here; allowed: one with a limit that can")
    if not guards.has_default:
        log.event(
            "no default policy",
            "no policy for requests without policy_context, or with an unknown one: they get no answer; "
            "add a --policy without NAME=",
            limited=False,
        )


def _serve_postfix(text: str, guards: Guards, log: Log, metrics: Metrics) -> None:
    from throttle.serve.address import AddressError, ListenAddress
    from throttle.serve.postfix import run

    try:
        run(ListenAddress.parse(text), guards, log, metrics)
    except AddressError as error:
        fail(f"--postfix: {error}")


def _check_milter(address: str, guards: Guards, log: Log, options: dict[str, Any]) -> None:
    try:
        from throttle.serve import milter
    except ModuleNotFoundError as error:
        missing(error, "--milter", "milter")
    try:
        milter.check(address, guards, **options)
    except ValueError as error:
        fail(f"--milter: {error}")
    for source, guard in guards:
        _log_policy(log, source, guard)


def _serve_milter(address: str, guards: Guards, log: Log, metrics: Metrics, options: dict[str, Any]) -> None:
    from throttle.serve import milter

    try:
        milter.run(address, guards, log, metrics, **options)
    except (OSError, ValueError) as error:
        fail(f"--milter: {error}")


def _log_policy(log: Log, source: PolicySource, guard: Throttle, more: str = "") -> None:
    limits = len(guard.policy.limits)
    shadow = ", shadow: refuses nothing" if guard.mode == "shadow" else ""
    log.event("policy", f"{source}: {limits} limit{'' if limits == 1 else 's'}{more}{shadow}", limited=False)
