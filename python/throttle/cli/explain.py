"""`throttle explain`: one message as the limiter sees it, limit by limit.

It knows how to ask for an explanation, not how a limit decides; how it reads stands in `explained`.
Invariant: nothing that a sender says is an error; only an option can be wrong, and a wrong one ends with one line and
exit code 2.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from throttle import Envelope, ManualClock, Throttle, ThrottleError, policies
from throttle.cli import fail, missing
from throttle.control.verbs import finite

#: When the message comes, in Unix seconds: a fresh server has no past.
NOW = 0.0

MOST_AFTER = 1_000_000

#: More octets than any message has, as a policy's sizes.
MOST_SIZE = 1 << 50

#: RFC 7208 §2.6.
SPF = ("pass", "fail", "softfail", "neutral", "none", "temperror", "permerror")

HELP = (
    "Show one message as the server's limiter sees it: its identities, and for every limit the key that counts it, "
    "how full that is and what it says. "
    "All counters are at zero, but for --after and --learned. "
    "Exit code: 0 whatever the limits say, 2 when an option is wrong or a file cannot be read."
)
EXAMPLE = "Example: throttle explain --from x@new.salesforce.com --ip 198.51.100.7"


MailFrom = Annotated[
    str | None, typer.Option("--from", metavar="ADDRESS", help="Sender of MAIL FROM; '' is the null sender.")
]
Ip = Annotated[str | None, typer.Option("--ip", metavar="ADDRESS", help="The client's address.")]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Its forward-confirmed reverse name.")]
Helo = Annotated[str | None, typer.Option("--helo", metavar="NAME", help="Argument of HELO or EHLO.")]
To = Annotated[list[str] | None, typer.Option("--to", metavar="ADDRESS", help="A recipient; may be repeated.")]
User = Annotated[str | None, typer.Option("--user", metavar="USER", help="The authenticated user.")]
Spf = Annotated[
    str | None, typer.Option("--spf", metavar="VERDICT", help=f"The server's SPF verdict: {', '.join(SPF)}.")
]
Octets = Annotated[str | None, typer.Option("--size", metavar="BYTES", help="Octets of the message.")]
Dkim = Annotated[
    list[str] | None,
    typer.Option("--dkim", metavar="DOMAIN", help="Domain (d=) of a verified DKIM signature; may be repeated."),
]
Message = Annotated[
    Path | None,
    typer.Option("--message", metavar="FILE", help="A message; its header tells From, Reply-To and List-Id."),
]
ReplyTo = Annotated[list[str] | None, typer.Option("--reply-to", metavar="ADDRESS", help="Reply-To; may be repeated.")]


def envelope_of(
    *,
    mail_from: str | None,
    ip: str | None,
    name: str | None,
    helo: str | None,
    to: list[str] | None,
    user: str | None,
    spf: str | None,
    size: str | None,
    dkim: list[str] | None,
    message: Path | None,
    reply_to: list[str] | None,
) -> Envelope:
    """Returns the message that the options describe; a wrong one ends the command."""
    octets = (
        None
        if size is None
        else _whole(size, MOST_SIZE, f"--size: found {size!r}; allowed: a number of bytes, as 20000")
    )
    if spf is not None and spf.lower() not in SPF:
        fail(f"--spf: found {spf!r}; allowed: {', '.join(SPF)}")
    late = {"--to": to, "--spf": spf, "--size": size, "--dkim": dkim, "--message": message, "--reply-to": reply_to}
    told = [option for option, value in late.items() if value is not None]
    if mail_from is None and told:
        fail(f"{told[0]} needs --from: a message begins with MAIL FROM ('' is the null sender)")
    envelope = Envelope(
        client_ip=ip,
        client_name=name,
        helo=helo,
        mail_from=mail_from,
        rcpt_to=to,
        auth_user=user,
        spf=spf,
        size=octets,
        dkim=dkim or (),
    )
    try:
        if message is not None:
            envelope = envelope.with_headers(message.read_bytes())
    except OSError as error:
        fail(f"{error.filename}: {error.strerror or error}")
    return envelope.replace(reply_to=reply_to) if reply_to else envelope


def command(
    *,
    mail_from: MailFrom = None,
    ip: Ip = None,
    name: Name = None,
    helo: Helo = None,
    to: To = None,
    user: User = None,
    spf: Spf = None,
    size: Octets = None,
    dkim: Dkim = None,
    message: Message = None,
    reply_to: ReplyTo = None,
    policy: Annotated[
        str, typer.Option(metavar="FILE", help=f"A policy file (TOML), or built in: {', '.join(policies.names())}.")
    ] = "inbound",
    learned: Annotated[
        Path | None, typer.Option(metavar="STATE", help="Begin with what `throttle replay --learn` wrote.")
    ] = None,
    after: Annotated[
        str,
        typer.Option(
            metavar="N",
            help="First send N similar messages, same client, each with its own sender host name under the same "
            "domain, "
            f"all at the same instant; at most {MOST_AFTER:,}.",
        ),
    ] = "0",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")] = False,
) -> None:
    """Explains one message."""
    count = _whole(after, MOST_AFTER, f"--after: found {after!r}; allowed: a whole number from 0 to {MOST_AFTER:,}")
    envelope = envelope_of(
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
    try:
        guard = Throttle(policies.load(policy), clock=ManualClock(NOW), learned=learned)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.filename in (policy, None):
            names = ", ".join(policies.names())
            fail(f"--policy: there is no file {policy} and no built-in policy of that name: {names}")
        fail(f"{error.filename or policy}: {error.strerror or error}")
    except (ThrottleError, ValueError) as error:
        fail(error)
    read = guard.identities(envelope)
    if problems := guard.explain(envelope).problems:
        fail(problems[0].replace("client_ip", "--ip", 1))
    refused_by: Counter[str] = Counter()
    is_organisation = read.get("sender.org") == read.get("sender.host")
    for number in range(count):
        decision = guard.check(beside(envelope, number, is_organisation=is_organisation))
        if decision.limit is not None:
            refused_by[decision.limit] += 1
    before = {"sent": count, "passed": count - refused_by.total(), "refused_by": dict(refused_by)}
    explanation = guard.explain(envelope)
    if as_json:
        typer.echo(json.dumps({**finite(explanation), "after": before}, indent=2))
        return
    try:
        from throttle.cli.explained import show
    except ModuleNotFoundError as error:
        missing(error, "the table", "cli")
    source = f"the built-in policy {policy}" if policy in policies.names() else guard.policy.file
    apart = beside(envelope, 0, is_organisation=is_organisation) != envelope
    show(envelope, source, explanation, count, refused_by, apart=apart)


def beside(envelope: Envelope, number: int, *, is_organisation: bool) -> Envelope:
    """The same from another host beside the sender's own: its first label is another one. What is beside an
    organisation's own name lies below it.
    """
    path = envelope.mail_from
    if not isinstance(path, str) or "@" not in path or path.endswith("]"):
        return envelope
    local, _, host = path.rpartition("@")
    label, dot, parent = host.partition(".")
    other = f"host-{number}.{host}" if is_organisation or not dot else f"{label}-{number}{dot}{parent}"
    return envelope.replace(mail_from=f"{local}@{other}")


def _whole(text: str, most: int, wrong: str) -> int:
    """A whole number up to `most`."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        fail(wrong)
    return int(text)
