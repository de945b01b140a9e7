"""The table of `throttle policy show`.

It knows how a plan reads, not how it comes about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from throttle.types import size

if TYPE_CHECKING:
    from throttle import Policy
    from throttle.types import LimitPlan

NOTHING = "–"

WIDEST = 1000


#: What the cells of a row mean behind its first one, where they stand below each other.
LABELS = (
    "lets through, at once",
    "memory + known",
    "keys a minute",
    "hours to fill",
    "one key a minute",
    "one key an hour",
)


def table(policy: Policy, rows: list[LimitPlan], memory: str, width: int | None) -> None:
    """Prints it. Where it is wider than `width`, each limit is a block of lines: a name or a number that is cut tells
    nothing.
    """
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("limit\n  per", "lets through\n  at once"):
        shown.add_column(name, no_wrap=True)
    for name in ("memory\n+ known", "keys\na minute", "hours\nto fill", "one key\na minute", "one key\nan hour"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(*cells(row))
    console = Console(highlight=False, markup=False, emoji=False)
    needed = Measurement.get(console, console.options.update(width=WIDEST), shown).maximum
    console.width = needed if width is None else width
    console.print(f"{policy.file}, {memory}, mode {policy.mode}, scale {policy.scale:g}", soft_wrap=width is None)
    if needed <= console.width:
        console.print(shown)
        return
    for row in rows:
        name, *others = cells(row)
        console.print(f"\n{name}")
        for label, cell in zip(LABELS, others, strict=True):
            value = " ".join(cell.replace("\n  ", ", ").split())
            if not row["rate"] and label == LABELS[0]:
                console.print(f"  open at once: {amount(row, row['at_once'] or 0)}{what(row)}")
            elif cell != NOTHING:
                console.print(f"  {label}: {value}")
    console.print()


def cells(row: LimitPlan) -> list[str]:
    """One row, on two lines."""
    hours = row["memory_full_hours"]
    at_once = "" if row["at_once"] is None else f"\n  {amount(row, row['at_once'])}"
    known = f"\n+ {size(row['memory_bytes'])}" if row["memory_bytes"] else ""
    under = row["per"] if row["quota"] is None else f"quota of {row['quota']}"
    return [
        f"{row['limit']}\n  {under}",
        f"{row['rate'] or 'open at once:'}{what(row)}{at_once}",
        f"{size(row['bytes'])}{known}" if row["bytes"] else NOTHING,
        NOTHING if row["keys_per_minute"] is None else rounded(row["keys_per_minute"]),
        NOTHING if hours is None else f"{hours:,.1f}",
        amount(row, row["most_in_minute"]) if row["rate"] else NOTHING,
        amount(row, row["most_in_hour"]) if row["rate"] else NOTHING,
    ]


def what(row: LimitPlan) -> str:
    """What is counted, where the number does not say it."""
    return "" if row["rate"] and row["counted"] in {"messages", "bytes"} else f" {row['counted']}"


def rounded(number: int) -> str:
    """`4.7 M`"""
    return f"{number:,}" if number < 1_000_000 else f"{number / 1_000_000:,.1f} M"


def amount(row: LimitPlan, number: int) -> str:
    """A number, or of bytes a size."""
    return size(number) if row["counted"] == "bytes" else f"{number:,}"
