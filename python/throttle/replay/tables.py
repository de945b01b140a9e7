"""A report as tables, for somebody who has never seen the project.

It knows the report's fields, and counts nothing.
Invariant: keys and lines of a log are shown as plain text: no escape sequence, markup or emoji code in them takes
effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from throttle.printable import printable

if TYPE_CHECKING:
    from rich.console import Console


def show(told: dict[str, Any], console: Console) -> None:
    """Print all of it."""
    _summary(told, console)
    if told["refused_by"]:
        console.print(_refused(told["refused_by"], "What would have been refused"))
    if told["shadow"]:
        console.print(_refused(told["shadow"], "What limits in shadow mode would have refused, and let pass"))
    _reply_to(told, console)
    console.print(_busiest(told))
    console.print(_rates(told))
    console.print(_limits(told))
    _suggestions(told, console)
    for tag, meaning in told["tags"].items():
        _line(console, f"{tag} stands for {meaning}.")
    for bound in told["bounds"]:
        _line(console, f"not exact: {bound}")


def _summary(told: dict[str, Any], console: Console) -> None:
    log, policy = told["log"], told["policy"]

    def line(text: str) -> None:
        _line(console, text)

    line(f"{log['lines']:,} lines of {', '.join(log['files'])}: {told['transactions']:,} transactions")
    if told["transactions"]:
        line(f"  from {log['since']} to {log['until']}, {log['busiest_hour']:,} in the busiest hour")
    if told["rejected_by_the_server"]:
        line(
            f"  {told['rejected_by_the_server']:,} of them were refused by the server itself, for reasons of its "
            "own; they count here as they came"
        )
    if told["rejected_by_throttle"]:
        line(
            f"  {told['rejected_by_throttle']:,} of them were refused by throttle, when the log was written; they "
            "count here as they came"
        )
    for kind, count in log["passed_over"].items():
        line(f"  passed over: {count:,} {kind}")
    if log["lay_back"]:
        line(
            f"  {log['lay_back']:,} lay back in time, by up to {log['lay_back_s']:.1f} s, and count as if they had "
            "come with those before them"
        )
    if log["broken"]:
        first = log["first_broken"]
        line(
            f"  {log['broken']:,} lines could not be read; the first is line {first['line']} of {first['file']}: "
            f"{first['why']}: {first['text']}"
        )
    line(
        f"policy {policy['file']}: {policy['limits']} limits, scale {policy['scale']:g}, {policy['memory_bytes']:,} "
        "bytes of counters"
    )
    if policy["not_replayed"]:
        line(
            "  no log tells how long a message was under way, or what the server reports, so these refused nothing: "
            f"{', '.join(policy['not_replayed'])}"
        )
    if policy["not_told"]:
        line(
            "  of these the report has what they refused, but not how much of one key they charged: "
            f"{', '.join(policy['not_told'])}"
        )
    for period in dict.fromkeys(policy["warm_up"].values()):
        names = [name for name, of in policy["warm_up"].items() if of == period]
        line(f"  in the first {period} of the log these only learn, and refuse nothing: {', '.join(names)}")
    if policy["never_asked"]:
        line(f"  nothing in this log had what these count: {', '.join(policy['never_asked'])}")
    line(f"{told['admitted']:,} would have been admitted, {told['refused']:,} refused ({told['share_refused']:.2%})")


def _refused(refused_by: list[dict[str, Any]], title: str) -> Table:
    table = _table(
        title, "limit", "counts per", "key", ">refused", "first", ">admitted before", "fan-out", "commonest Reply-To"
    )
    for refusals in refused_by:
        _row(
            table, refusals["limit"], refusals["identity"], "all keys",
            f"{refusals['count']:,} ({refusals['share']:.2%})",
            refusals["first"]["time"], "", "", _common(refusals["reply_to"], refusals["count"]),
        )  # fmt: skip
        for key in refusals["keys"]:
            fan_out = "" if key["fan_out"] is None else f"~{key['fan_out']:,} {key['of']}"
            before = "" if key["admitted_before"] is None else f"{key['admitted_before']:,}"
            _row(
            table, "", "", key["key"], f"{key['count']:,}", key["first"] or "", before, fan_out,
                _common(key["reply_to"], key["count"]),
            )  # fmt: skip
        table.add_section()
    return table


def _common(reply_to: list[dict[str, Any]], of: int) -> str:
    return f"{reply_to[0]['value']} ({reply_to[0]['count'] / of:.0%})" if reply_to and of else ""


def _reply_to(told: dict[str, Any], console: Console) -> None:
    if told["refused"] and told["reply_to"]:
        common = told["reply_to"][0]
        share = common["count"] / told["refused"]
        _line(console, f"Commonest Reply-To of what was refused: {common['value']}, {common['count']:,} ({share:.1%})")


def _busiest(told: dict[str, Any]) -> Table:
    table = _table("Who sends most, of what was admitted", "counted per", "key", ">messages")
    for busiest in told["busiest"]:
        for nth, key in enumerate(busiest["keys"][:5]):
            _row(table, _name(busiest) if nth == 0 else "", key["key"], f"{key['admitted']:,}")
        table.add_section()
    return table


def _rates(told: dict[str, Any]) -> Table:
    table = _table(
        "What one key sends in a minute and in an hour in which it sends at all: half of them at most p50, 99 % p99; "
        "in percentiles none that was refused",
        "counted per", *(f">{name} {unit}" for unit in ("/min", "/h") for name in ("p50", "p99", "p99.9", "max")),
    )  # fmt: skip
    for row in told["rates"]:
        numbers = [f"{row[unit][name]:,}" for unit in ("minute", "hour") for name in ("p50", "p99", "p99_9", "max")]
        _row(table, _name(row), *numbers)
    return table


def _limits(told: dict[str, Any]) -> Table:
    table = _table(
        "What each limit allows a key, and how much of one key was admitted in one period of the limit; percentiles "
        "leave out the keys that were refused",
        "limit", "allows", "of", ">p50", ">p99", ">p99.9", ">max", "key with the most",
    )  # fmt: skip
    for row in told["limits"]:
        numbers = ["–" if row[name] is None else f"{row[name]:,}" for name in ("p50", "p99", "p99_9", "max")]
        _row(table, row["limit"], row["rate"], row["counts"], *numbers, row["max_key"] or "")
    return table


def _suggestions(told: dict[str, Any], console: Console) -> None:
    found = told["suggestions"]
    own = "as it is" if found["scale"] == found["own_scale"] else f"it is {found['own_scale']:g}"
    _line(console, f"Suggested scale: {found['scale']:g} ({own}); {found['because']}.")
    if found["used_by"]:
        shares = ", ".join(f"{row['key']} {row['share']:.0%}" for row in found["used_by"])
        _line(console, f"  The keys that decide it, each at its busiest: {shares}.")
    _line(console, f"  The rule: {found['scale_rule']}.")
    if found["quotas"]:
        table = _table("Quotas that would have let pass what was refused", "limit", "for", "rate")
        for quota in found["quotas"]:
            _row(table, quota["limit"], quota["value"], quota["rate"])
        console.print(table)
        _line(console, f"  The rule: {found['quota_rule']}.")


def _line(console: Console, text: str) -> None:
    console.print(Text(printable(text)))


def _row(table: Table, *cells: str) -> None:
    table.add_row(*(Text(printable(cell)) for cell in cells))


def _name(row: dict[str, Any]) -> str:
    return row["identity"] if row["verified"] == "any" else f"{row['identity']}, {row['verified']}"


def _table(title: str, *columns: str) -> Table:
    """A column whose name begins with > has numbers."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold", no_wrap=right)
    return table
