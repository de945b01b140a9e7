"""`throttle explain`: one message as a guard sees it, limit by limit.

It knows how to show an explanation, not how a limit decides.
Invariant: nothing in the message is an error; only an option can be wrong.
"""

from __future__ import annotations

import json
import math
from pathlib import Path  # noqa: TC003  typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any

import typer

from throttle import Envelope, ManualClock, Policy, Throttle, ThrottleError, policies
from throttle.cli import fail, missing

if TYPE_CHECKING:
    from throttle.types import ExplainedLimit, Explanation

#: When the message comes, in Unix seconds: a fresh guard has no past.
NOW = 0.0

HELP = (
    "Show one message as a guard sees it: what it is known by, and of every limit the key that it counts under, how full that is and what it says. "
    "The guard is a fresh one, so nothing has been counted yet; --after counts something first. "
    "Exit code: 0 whatever the limits say, 2 when an option is wrong or a file cannot be read."
)
EXAMPLE = "Example: throttle explain --from x@new.salesforce.com --ip 198.51.100.7"


def command(
    *,
    mail_from: Annotated[str | None, typer.Option("--from", metavar="ADDRESS", help="Sender of MAIL FROM.")] = None,
    ip: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The client's address.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Its forward-confirmed reverse name.")] = None,
    helo: Annotated[str | None, typer.Option(metavar="NAME", help="Argument of HELO or EHLO.")] = None,
    to: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="A recipient; may be repeated.")] = None,
    user: Annotated[str | None, typer.Option(metavar="USER", help="The authenticated user.")] = None,
    spf: Annotated[
        str | None, typer.Option(metavar="VERDICT", help="The server's SPF verdict, as pass or fail.")
    ] = None,
    size: Annotated[int | None, typer.Option(metavar="BYTES", help="Octets of the message.")] = None,
    dkim: Annotated[list[str] | None, typer.Option(metavar="DOMAIN", help="A verified d=; may be repeated.")] = None,
    message: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A message; its header tells From, Reply-To and List-Id.")
    ] = None,
    reply_to: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Reply-To; may be repeated.")] = None,
    policy: Annotated[
        str, typer.Option(metavar="FILE", help="A policy file (TOML), or the name of a built-in policy.")
    ] = "inbound",
    learned: Annotated[
        Path | None, typer.Option(metavar="STATE", help="Begin with what `throttle replay --learn` wrote.")
    ] = None,
    after: Annotated[
        int,
        typer.Option(
            min=0,
            max=1_000_000,
            metavar="N",
            help="As if N such messages had just come, each from a host of its own beside this one.",
        ),
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")] = False,
) -> None:
    """Explains one message."""
    envelope = Envelope(
        client_ip=ip,
        client_name=name,
        helo=helo,
        mail_from=mail_from,
        rcpt_to=to,
        auth_user=user,
        spf=spf,
        size=size,
        dkim=dkim or (),
    )
    try:
        if message is not None:
            envelope = envelope.with_headers(message.read_bytes())
        if reply_to:
            envelope = envelope.replace(reply_to=reply_to)
        rules = Policy.builtin(policy) if policy in policies.names() else Policy.from_file(policy)
        guard = Throttle(rules, clock=ManualClock(NOW), learned=learned)
    except OSError as error:
        fail(f"{error.filename or policy}: {error.strerror or error}")
    except (ThrottleError, ValueError) as error:
        fail(error)
    for number in range(after):
        guard.check(beside(envelope, number))
    explanation = guard.explain(envelope)
    if as_json:
        typer.echo(json.dumps(finite(explanation), indent=2))
        return
    try:
        from throttle.cli.explained import show
    except ModuleNotFoundError as error:
        missing(error, "the table", "cli")
    show(envelope, rules, explanation, after)


def beside(envelope: Envelope, number: int) -> Envelope:
    """The same from another host beside the sender's own: its first label is another one."""
    path = envelope.mail_from
    if not isinstance(path, str) or "@" not in path:
        return envelope
    local, _, host = path.rpartition("@")
    label, dot, parent = host.partition(".")
    # A host of two labels is an organisation: what is beside it lies below.
    other = f"{label}-{number}{dot}{parent}" if parent.count(".") else f"host-{number}.{host}"
    return envelope.replace(mail_from=f"{local}@{other}")


def finite(explanation: Explanation) -> dict[str, Any]:
    """As JSON has it: a wait without end is null."""
    limits = [{**row, "retry_after": _seconds(row)} for row in explanation["limits"]]
    return {**explanation, "limits": limits}


def _seconds(row: ExplainedLimit) -> float | None:
    return row["retry_after"] if math.isfinite(row["retry_after"]) else None
