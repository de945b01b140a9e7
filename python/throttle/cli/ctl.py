"""`throttle ctl`: an operator acts on a running service, without Python and without a restart.

It asks the control socket; `throttle.control.verbs` has what can be asked.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from throttle.cli import client, explain
from throttle.cli.client import ControlPath, Json, PolicyName  # noqa: TC001  typer reads the annotations when it runs
from throttle.cli.flags import Command, Group
from throttle.control.verbs import ENVELOPE_FIELDS
from throttle.printable import printable
from throttle.types import CoveringEntry, ExplainedIdentity, ExplainedLimit, Explanation

if TYPE_CHECKING:
    from throttle.control import answers

app = typer.Typer(
    name="ctl",
    cls=Group,
    help="Block, allow, reset, explain and reload in a running `throttle serve --control PATH`. What is changed holds "
    "until the service ends; entries of the policy file hold longer. "
    "Exit codes: 0 done; 1 of unblock and reset: there was nothing to remove; 2 wrong input, no service, or no right.",
    epilog="Example: throttle ctl block sender.org salesforce.com --for '1 hour'",
    no_args_is_help=True,
)

Identity = Annotated[str, typer.Argument(metavar="IDENTITY", help="Such as sender.org or client.net.")]
Value = Annotated[str, typer.Argument(metavar="VALUE", help="Such as salesforce.com or 203.0.113.0/24.")]
For = Annotated[
    str | None,
    typer.Option(
        "--for", metavar="TIME", help="How long: '90 minutes', '1 day'.", show_default="until the service ends"
    ),
]
_END = {"operator": "until the service ends", "policy": "as long as the policy has it"}
"""How long an entry without an end holds, by who made it."""


@app.callback()
def _options() -> None:
    """Act on a running service."""


@app.command("status", cls=Command, epilog="Example: throttle ctl status")
def status(*, policy: PolicyName = None, control: ControlPath = client.DEFAULT, as_json: Json = False) -> None:
    """Show policies, modes, and what checks came to."""
    answer: answers.Status = client.ask(control, "status", policy=policy, as_json=as_json)
    reload = answer["last_reload"]
    loaded = "loaded" if reload["succeeded"] else "the last reload failed; the last one without a fault was"
    _say(
        f"throttle {answer['version']}, process {answer['pid']}, up {client.duration(answer['uptime_seconds'])}; "
        f"{loaded} {_when(reload['at'])}"
    )
    for one in answer["policies"]:
        checks = client.counted(one["checks"])
        limits = f"{one['limits']} limit{'' if one['limits'] == 1 else 's'}"
        _say(f"policy {_named(one)}{one['source']}: {one['mode']}, {limits}")
        _say(f"  checks, one at each step of a message: {checks}")
        for limit, by_mode in sorted(one["refusals"].items(), key=lambda item: -sum(item[1].values())):
            refused = ", ".join(f"{count:,} {mode}" for mode, count in by_mode.items() if count)
            _say(f"  {limit}: {refused}")
        for limit, count in one["untracked"].items():
            _say(f"  {limit}: {count:,} charges found no room in its table")


@app.command("list", cls=Command, epilog="Example: throttle ctl list")
def entries(*, policy: PolicyName = None, control: ControlPath = client.DEFAULT, as_json: Json = False) -> None:
    """List what is blocked and allowed, by operators, policies and limits."""
    answer: list[answers.Entries] = client.ask(control, "list", policy=policy, as_json=as_json)
    now = time.time()
    for one in answer:
        for entry in one["entries"]:
            value = "a key of several values" if entry["value"] is None else entry["value"]
            left = (
                _END.get(entry["by"], "for good")
                if entry["until"] is None
                else f"for {client.duration(entry['until'] - now)} more"
            )
            claimed = ", also when merely claimed" if entry["unverified"] else ""
            comment = f" ({entry['comment']})" if entry["comment"] else ""
            by = f"by {entry['by']}"
            _say(f"{_named(one)}{entry['action']} {entry['identity']} {value}, {left}{claimed}, {by}{comment}")
    if not any(one["entries"] for one in answer):
        _say("nothing is blocked or allowed")


@app.command("block", cls=Command, epilog="Example: throttle ctl block sender.org salesforce.com --for '1 hour'")
def block(
    *,
    identity: Identity,
    value: Value,
    time_: For = None,
    policy: PolicyName = None,
    control: ControlPath = client.DEFAULT,
) -> None:
    """Refuse a name or a network and everything below it, whether it is claimed or proven."""
    _change(control, "block", f"blocked: {identity} {value}{_for(time_)}", identity, value, policy, **{"for": time_})


@app.command("allow", cls=Command, epilog="Example: throttle ctl allow client.net 192.0.2.0/24")
def allow(
    *,
    identity: Identity,
    value: Value,
    time_: For = None,
    unverified: Annotated[bool, typer.Option("--unverified", help="A mere claim is enough.")] = False,
    policy: PolicyName = None,
    control: ControlPath = client.DEFAULT,
) -> None:
    """Admit a name or a network and everything below it past rates, fan-outs and blocks of limits."""
    said = f"allowed: {identity} {value}{_for(time_)}"
    _change(control, "allow", said, identity, value, policy, unverified=unverified, **{"for": time_})


@app.command("unblock", cls=Command, epilog="Example: throttle ctl unblock sender.org salesforce.com")
def unblock(
    *, identity: Identity, value: Value, policy: PolicyName = None, control: ControlPath = client.DEFAULT
) -> None:
    """Remove the block or allow entry of a value, and the blocks by limits whose key it is."""
    answer: list[answers.Changed] = client.ask(control, "unblock", identity=identity, value=value, policy=policy)
    if not any(one["result"] for one in answer):
        _say(f"there was no entry of {identity} {value}")
        raise typer.Exit(1)
    _say(f"removed: {identity} {value}")


@app.command("reset", cls=Command, epilog="Example: throttle ctl reset sender.org example.com")
def reset(
    *, identity: Identity, value: Value, policy: PolicyName = None, control: ControlPath = client.DEFAULT
) -> None:
    """Clear the counters of a sender that has mended its ways. Blocks stay."""
    answer: list[answers.Changed] = client.ask(control, "reset", identity=identity, value=value, policy=policy)
    cleared = sum(one["result"] for one in answer)
    _say(f"cleared the counter of {identity} {value} in {cleared} limit{'' if cleared == 1 else 's'}")
    if not cleared:
        raise typer.Exit(1)


@app.command("mode", cls=Command, epilog="Example: throttle ctl mode shadow")
def mode(
    *,
    mode_: Annotated[str, typer.Argument(metavar="enforce|shadow", help="shadow decides, counts and refuses nothing.")],
    policy: PolicyName = None,
    control: ControlPath = client.DEFAULT,
) -> None:
    """Enforce the limits, or let everything pass and only count."""
    answer: list[answers.Changed] = client.ask(control, "mode", mode=mode_, policy=policy)
    for one in answer:
        _say(f"{_named(one)}mode: {mode_}, was {one['result']}")


@app.command("reload", cls=Command, epilog="Example: throttle ctl reload")
def reload(*, control: ControlPath = client.DEFAULT) -> None:
    """Read the policies of the service's command line again, with their lists and quotas."""
    answer: list[answers.Reloaded] = client.ask(control, "reload")
    for one in answer:
        error = one["error"]
        _say(f"{_named(one)}reloaded" if error is None else f"{error}; the earlier policy stays", error=bool(error))
    if any(one["error"] for one in answer):
        raise typer.Exit(2)


@app.command("notices", cls=Command, epilog="Example: throttle ctl notices")
def notices(
    *,
    after: Annotated[int, typer.Option(metavar="N", min=0, help="Only notices after the one of this number.")] = 0,
    policy: PolicyName = None,
    control: ControlPath = client.DEFAULT,
    as_json: Json = False,
) -> None:
    """Show which limit refuses whom now, and which has stopped."""
    answer: list[answers.ToldNotices] = client.ask(control, "notices", after=after, policy=policy, as_json=as_json)
    lines = [
        f"{_named(one)}{notice['text']}"
        for one in answer
        for notice in (*(entry for entry in one["entries"] if entry["kind"] == "stopped"), *one["refusing"])
    ]
    for line in lines or ["no limit refuses anybody"]:
        _say(line)


@app.command("explain", cls=Command, epilog="Example: throttle ctl explain --from x@new.example --ip 198.51.100.7")
def explained(
    *,
    mail_from: explain.MailFrom = None,
    ip: explain.Ip = None,
    name: explain.Name = None,
    helo: explain.Helo = None,
    to: explain.To = None,
    user: explain.User = None,
    spf: explain.Spf = None,
    size: explain.Octets = None,
    dkim: explain.Dkim = None,
    message: explain.Message = None,
    reply_to: explain.ReplyTo = None,
    policy: PolicyName = None,
    control: ControlPath = client.DEFAULT,
    as_json: Json = False,
) -> None:
    """Show what the service would say to a message now, and charge nothing."""
    envelope = explain.envelope_of(
        mail_from=mail_from,
        ip=ip,
        name=name,
        helo=helo,
        to=to,
        user=user,
        spf=spf,
        size=size,
        dkim=dkim,
        message=message,
        reply_to=reply_to,
    )
    fields = {field: _text(getattr(envelope, field)) for field in ENVELOPE_FIELDS}
    answer: list[answers.Explained] = client.ask(control, "explain", policy=policy, as_json=as_json, **fields)
    for one in answer:
        if one["policy"]:
            _say(f"policy {one['policy']}:")
        typer.echo(str(_explanation(one["explanation"])))  # which escapes what a sender wrote


def _explanation(answer: dict[str, Any]) -> Explanation:
    """The explanation that JSON has."""
    limits = (ExplainedLimit(**{**row, "retry_after": _wait(row["retry_after"])}) for row in answer["limits"])
    covering = (CoveringEntry(**{**row, "seconds": _wait(row["seconds"])}) for row in answer["covering"])
    identities = {
        name: ExplainedIdentity(tuple(one["values"]), one["trust"]) for name, one in answer["identities"].items()
    }
    return Explanation(**{**answer, "limits": tuple(limits), "covering": tuple(covering), "identities": identities})


def _wait(seconds: float | None) -> float:
    return float("inf") if seconds is None else seconds


def _text(value: Any) -> Any:
    """A field of an envelope as JSON has it."""
    if isinstance(value, tuple):
        return [_text(one) for one in value] or None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _change(control: str, verb: str, said: str, identity: str, value: str, policy: str | None, **fields: Any) -> None:
    client.ask(control, verb, identity=identity, value=value, policy=policy, **fields)
    _say(said)


def _for(time_: str | None) -> str:
    return " until the service ends" if time_ is None else f" for {time_}"


def _named(one: answers.OfPolicy) -> str:
    """Returns the name of a policy as the beginning of a line; the policy without a name begins no line."""
    return f"{one['policy']}: " if one["policy"] else ""


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _say(text: str, *, error: bool = False) -> None:
    typer.echo(printable(text), err=error)
