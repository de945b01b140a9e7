"""`throttle demo`: its options, and what may be wrong with them.

It knows no mail: the demo is a package of its own, loaded only here.
Invariant: every option is tried before the first process starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from throttle import ThrottleError
from throttle.cli import fail, missing
from throttle.cli.flags import POLICY_HELP

OUTAGE_UNSHOWN = 1
INTERRUPTED = 130

AsJson = Annotated[bool, typer.Option("--json", help="Print the table as one JSON object and nothing else on stdout.")]
PolicyName = Annotated[str, typer.Option(metavar="POLICY", help=f"The policy of the side `throttle`: {POLICY_HELP}.")]
Memory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Memory of the side `throttle`.", show_default="16 MiB")
]
Messages = Annotated[int, typer.Option(min=1, max=1_000_000, help="Flood messages; fewer bring fewer innocents, too.")]
Seed = Annotated[int, typer.Option(help="Seed of the traffic.")]
NoPrometheus = Annotated[
    bool,
    typer.Option("--no-prometheus", help="Start no Prometheus and no Alertmanager, also where they are installed."),
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Where the picture goes.")]


def command(
    *,
    as_json: AsJson = False,
    policy: PolicyName = "inbound",
    memory: Memory = None,
    messages: Messages = 20_000,
    seed: Seed = 1,
    no_prometheus: NoPrometheus = False,
    out: Out = Path("out"),
) -> None:
    """Replay the outage on real SMTP servers: what people do, what careful people do, and throttle.

    Where Prometheus and Alertmanager are installed, real ones watch each server: when does the alert arrive?
    """
    try:
        from throttle.demo.child import ChildFailedError
        from throttle.demo.plan import Plan, with_policy
        from throttle.demo.replay import run
    except ModuleNotFoundError as error:
        missing(error, "the demo", "demo")
    plan = Plan(seed=seed, flood=messages, policy=with_policy(policy), memory=memory)
    try:
        plan.guard()
    except OSError as error:
        fail(f"{policy}: {error.strerror or error}")
    except (ThrottleError, ValueError) as error:
        fail(error)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        fail(f"--out {out}: {error.strerror or error}")
    try:
        run(plan, out, as_json=as_json, with_prometheus=not no_prometheus)
    except ChildFailedError as error:
        fail(error, OUTAGE_UNSHOWN)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
