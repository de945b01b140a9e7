"""An explanation as text, for people who have not seen one before.

It knows how an explanation reads, not how it comes about. Limits stand in a table when that breaks no word of theirs,
else in a block each: names and keys
are to be found again in a policy and in a log.
Invariant: no line ends in blanks, and a word has a line in the legend only where it stands.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from throttle.printable import printable
from throttle.tags import explained

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from rich.console import RenderableType

    from throttle import Envelope
    from throttle.types import ExplainedIdentity, ExplainedLimit, Explanation, Trust

STAGES = {
    "connect": "at connect",
    "helo": "at HELO",
    "mail": "at MAIL FROM",
    "rcpt": "at RCPT TO",
    "data": "after DATA",
}

#: What tells a field of an envelope.
OPTIONS = {
    "client_ip": "--ip",
    "helo": "--helo",
    "mail_from": "--from",
    "rcpt_to": "--to",
    "size": "--size",
    "header_from": "--message",
    "reply_to": "--reply-to or --message",
    "list_id": "--message",
    "dkim": "--dkim",
}

TRUST: dict[Trust, str] = {
    "proven": "the server knows it: the client's address, a login, a sender that SPF confirms (--spf pass), a verified "
    "DKIM signature (--dkim)",
    "named": "the client's forward-confirmed name lies in the sender's organisation (--name); limits of proven senders "
    "hold for it, but it never blocks or allows; (named) marks its own counter",
    "claimed": "anybody can write it, and nothing given here proves it; (claimed) marks a counter of what is merely "
    "claimed: what can be proven has another one for when it is, which no forger uses up",
}

#: Of a limit; what it allows stands below.
HEADINGS = ("limit", "counted under", "used", "verdict")

GAP = 2

WIDEST = 1000


def show(
    envelope: Envelope, source: str, explanation: Explanation, after: int, refused_by: Counter[str], *, apart: bool
) -> None:
    """Prints it: what it comes to, what is known, what every limit of the policy says, which comes from ``source``;
    ``apart``: those before it had other hosts.
    """
    console = Console(highlight=False)
    with console.capture() as capture:
        _say(console, envelope, source, explanation, after, refused_by, apart=apart)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _say(
    console: Console,
    envelope: Envelope,
    source: str,
    explanation: Explanation,
    after: int,
    refused_by: Counter[str],
    *,
    apart: bool,
) -> None:
    console.print(_shown(_headline(envelope, explanation), style="bold"))
    if explanation.reply:
        console.print(_shown(f"The server would answer: {explanation.reply}"), soft_wrap=True)
    for word in explanation.covering:
        console.print(_shown(f"{word.identity} {word.value} is blocked by {word.by} for {word.seconds:,.0f} s."))
    if after:
        console.print(_shown(_before(after, refused_by, apart=apart)))
    _part(console, "Identities of this message", _identities(envelope, explanation))
    asked = [row for row in explanation.limits if row.key is not None]
    asked.sort(key=lambda row: row.verdict == "fits")
    if asked:
        _part(
            console,
            f"Limits of {source}",
            _limits(console, [_cells(row, others) for row, others in _alike(asked)]),
        )
    if explanation.left_out:
        console.print(_shown(f"{' ' * GAP}{explanation.left_out:,} more keys are left out."))
    for heading, verdict in (
        ("Not checked, because an option is missing", "not checked"),
        ("Do not apply", "does not apply"),
    ):
        rows = [(row.limit, _why(row)) for row in explanation.limits if row.verdict == verdict]
        if rows:
            _part(console, heading, _grid(rows))
    _part(console, "Words", _grid(_legend(explanation, asked)))


def _part(console: Console, heading: str, shown: RenderableType) -> None:
    console.print()
    console.print(_shown(heading, style="bold"))
    console.print(Padding(shown, (0, 0, 0, GAP)))


def _headline(envelope: Envelope, explanation: Explanation) -> str:
    sender, unchecked = envelope.mail_from, explanation.unchecked
    who = f"A message from {_text(sender) or 'the null sender'}" if sender is not None else "The connection"
    if explanation.stage is not None:
        fate = "rejected" if (explanation.reply or "").startswith("5") else "deferred"
        return f"{who} is {fate} {STAGES[explanation.stage]} by the limit {explanation.limit}."
    shadow = sorted({row.limit for row in explanation.limits if row.verdict == "would refuse"})
    but = f" In shadow mode, {', '.join(shadow)} would refuse it." if shadow else ""
    if not unchecked:
        return f"{who} is let through.{but}"
    if sender is None:
        needed = "--from, --to and --size" if envelope.client_ip is not None else "--ip, --from, --to and --size"
        return f"Only the connection was checked, and it is let through; give {needed} to check a message.{but}"
    return f"{who} is let through as far as it was checked. Not checked, see below: {', '.join(unchecked)}.{but}"


def _before(after: int, refused_by: Counter[str], *, apart: bool) -> str:
    """Says what happened to the messages before the explained one."""
    passed = after - refused_by.total()
    refused = "".join(f", {limit} refused {count:,}" for limit, count in refused_by.items())
    uncounted = ", and refused messages are not counted" if refused else ""
    hosts = ", each from a new host next to the sender's" if apart else ""
    return (
        f"Before it, {after:,} similar messages were sent at one moment{hosts}: {passed:,} passed{refused}. They have "
        f"ended, so they hold no permits{uncounted}."
    )


def _identities(envelope: Envelope, explanation: Explanation) -> Table:
    rows = explanation.identities.items()
    more = explanation.more_values
    return _grid((name, _value(envelope, name, row) + more(name), row.trust or "") for name, row in rows)


def _value(envelope: Envelope, identity: str, row: ExplainedIdentity) -> str:
    if identity == "global":
        return "(everyone)"
    if identity.startswith("client.") and envelope.client_ip is None and row.values == ("UNKNOWN",):
        return "(not given)"
    return ", ".join(row.values)


def _alike(rows: list[ExplainedLimit]) -> Iterable[tuple[ExplainedLimit, int]]:
    """Rows of one limit that differ in nothing but their key as one, with how many others there are."""
    for _, alike in groupby(rows, lambda row: replace(row, key=None)):
        first, *others = alike
        yield first, len(others)


def _cells(row: ExplainedLimit, others: int) -> tuple[str, ...]:
    """A cell for each heading, and behind them what the limit allows."""
    is_global = row.identity == "global"
    per = "on the whole server" if is_global else f"per {row.identity}"
    key = "(everyone)" if is_global else str(row.key)
    key += f" ({row.trust})" if row.trust in ("claimed", "named") else ""
    key += f" and {others:,} alike" if others else ""
    numbers = re.sub(r"\d{4,}", lambda digits: f"{int(digits[0]):,}", row.allows)
    quota = f" (quota of {row.quota_of})" if row.quota_of else ""
    used, at_once, adds = row.amounts
    allows = f"{row.counts} {per}: {numbers}{quota}"
    return tuple(map(printable, (row.limit, key, f"{used} of {at_once} (+{adds})", row.outcome, allows)))


def _limits(console: Console, rows: list[tuple[str, ...]]) -> RenderableType:
    """Two lines a limit, where its words fit beside each other; a key breaks behind a plus."""
    columns = list(zip(HEADINGS, *(row[:-1] for row in rows), strict=True))
    columns[1] = tuple(key.replace(" + ", " +\n") for key in columns[1])
    limit, key, used, verdict = (_width(console, cells) for cells in columns)
    slack = console.width - GAP * len(HEADINGS) - limit.maximum - used.maximum
    if key.maximum + verdict.minimum > slack:
        blocks = [[*zip((*HEADINGS, "allows"), row, strict=True), ("", "")] for row in rows]
        return _grid([line for block in blocks for line in block][:-1])
    verdict_width = min(verdict.maximum, slack - key.maximum)
    longest = max(len(row[1]) for row in rows)
    widths = (limit.maximum, min(longest, slack - verdict_width), used.maximum, verdict_width)
    lines: list[RenderableType] = [_line(widths, HEADINGS, "underline")]
    for row in rows:
        lines += [_line(widths, row, "" if row[3] == "fits" else "bold"), Padding(_shown(row[-1]), (0, 0, 0, GAP))]
    return Group(*lines)


def _width(console: Console, cells: tuple[str, ...]) -> Measurement:
    """Of its longest word, and of its longest line."""
    return Measurement.get(console, console.options.update(width=WIDEST), Text("\n".join(cells)))


def _line(widths: tuple[int, ...], cells: tuple[str, ...], style: str) -> Table:
    line = Table.grid(padding=(0, GAP))
    for width in widths:
        line.add_column(width=width)
    line.add_row(*(_shown(cell, style=style) for cell in cells[: len(widths)]))
    return line


def _why(row: ExplainedLimit) -> str:
    # Who reads the answers stands in Reply-To, else in From: either option tells it.
    is_reader = row.identity.startswith("reply_to.")
    options = [OPTIONS["reply_to" if is_reader else field] for field in row.missing]
    return f"add {' and '.join(options)}" if options else row.reason or ""


def _legend(explanation: Explanation, asked: list[ExplainedLimit]) -> Iterable[tuple[str, str]]:
    identities = explanation.identities
    for trust, means in TRUST.items():
        if any(row.trust == trust for row in identities.values()):
            yield trust, means
    if asked:
        used, at_once, adds = asked[0].amounts
        yield (
            "used",
            (
                f"{used} of {at_once} (+{adds}): {used} of {at_once} are taken, "
                f"and this message would take {adds} more; "
                "of a rate they come free as its time passes"
            ),
        )
    if any(row.counts.startswith("new ") for row in asked):
        yield (
            "new",
            (
                "not seen in mail that was let through for as long as the limit remembers; what was seen takes nothing "
                "(+0)"
            ),
        )
    if any(others for _, others in _alike(asked)):
        yield (
            "alike",
            "other keys of the message under the same limit, each counted by itself; their numbers are the same",
        )
    for identity in identities:
        if match := re.fullmatch(r"client\.net/(\d+)/(\d+)", identity):
            yield (
                identity,
                (
                    f"the client's network: {match[1]} bits of an IPv4 address, {match[2]} of an IPv6 one; client.net "
                    "has 24 and 64"
                ),
            )
    if "sender.registered" in identities:
        yield "sender.registered", "the domain that somebody registered, such as github.io"
        yield "sender.org", "the same, or a customer's own name below a provider's, such as alice.github.io"
    yield from explained(explanation.keys())


def _grid(rows: Iterable[tuple[str, ...]]) -> Table:
    """Columns without a head, each with a margin of its own."""
    grid = Table.grid(padding=(0, GAP))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for cells in rows:
        grid.add_row(*map(_shown, cells))
    return grid


def _shown(text: str, style: str = "") -> Text:
    """Makes the text of a cell or a line."""
    return Text(printable(text), style)


def _text(text: str | bytes) -> str:
    """Decodes what the envelope has; bytes that are no UTF-8 become lone surrogates."""
    return text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
