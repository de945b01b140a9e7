"""An explanation as tables, for people who have not seen one before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from throttle import Envelope, Policy
    from throttle.types import ExplainedLimit, Explanation

#: Identities that nobody can prove or claim: they have no class.
CLASSLESS = ("rcpt.", "global")

LEGEND = """\
proven    the server knows it: the client's address, a login, a sender whom SPF or the client's own name confirms, a verified DKIM signature
claimed   anybody can write it; a claim has counters of its own, so that a forger never uses up what the real one may send
used      how much of what fits at once is taken already, and what this message would add (+1); of "new" things those that are not known yet
"""


def show(envelope: Envelope, policy: Policy, explanation: Explanation, after: int) -> None:
    """Prints it: what it comes to, what is known, what every limit says."""
    console = Console(highlight=False)
    console.print(f"[bold]{escape(_headline(envelope, explanation, after))}[/bold]")
    if explanation["reply"]:
        console.print(f"The server would answer: {escape(explanation['reply'])}")
    console.print()
    console.print(_identities(explanation))
    console.print(_limits(policy, explanation))
    skipped = [row for row in explanation["limits"] if row["verdict"] == "skipped"]
    if skipped:
        console.print("Limits that have nothing to do with this message:")
        for row in skipped:
            console.print(f"  {escape(row['limit'])}: {escape(row['reason'] or '')}")
        console.print()
    console.print(LEGEND, style="dim", end="")


def _headline(envelope: Envelope, explanation: Explanation, after: int) -> str:
    sender = envelope.mail_from
    who = "This message" if sender is None else f"A message from {_text(sender) or 'the null sender'}"
    past = f", after {after:,} like it from hosts beside it," if after else ""
    if explanation["allowed"]:
        return f"{who}{past} is let through."
    return f"{who}{past} is refused by the limit {explanation['limit']}."


def _identities(explanation: Explanation) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="What it is known by", title_justify="left")
    for heading in ("identity", "value", "how far"):
        table.add_column(heading, overflow="fold")
    for identity, row in explanation["identities"].items():
        how_far = "" if identity.startswith(CLASSLESS) else _proven(row["proven"])
        table.add_row(identity, escape(", ".join(row["values"])), how_far)
    return table


def _limits(policy: Policy, explanation: Explanation) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=f"What the limits of {escape(policy.file)} say", title_justify="left")
    for heading in ("limit", "counts", "under the key", "allows", "used", "verdict"):
        table.add_column(heading, overflow="fold")
    for row in explanation["limits"]:
        if row["verdict"] == "skipped":
            continue
        allows = row["quota"] if row["quota_of"] is None else f"{row['quota']} (quota of {row['quota_of']})"
        used = f"{row['level']:,} of {row['most']:,} (+{row['takes']:,})"
        key = f"{row['key']} ({_proven(row['proven'])})" if row["proven"] is False else str(row["key"])
        table.add_row(
            row["limit"], f"{row['counts']} per {row['identity']}", escape(key), escape(allows), used, _verdict(row)
        )
    return table


def _verdict(row: ExplainedLimit) -> str:
    if row["verdict"] == "fits":
        return "fits"
    wait = row["retry_after"]
    when = f"for {wait:,.0f} s" if math.isfinite(wait) else "for good"
    return f"[bold]{row['verdict']}[/bold] {when}"


def _proven(proven: bool | None) -> str:
    return "proven" if proven else "claimed"


def _text(text: str | bytes) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text
