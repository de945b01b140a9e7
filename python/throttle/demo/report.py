"""What was measured, as a table for people and as one JSON object for programs.

It knows outcomes, not how they came about.
Invariant: the JSON object has the same fields for every side, null where a side has no such thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from throttle.demo.measure import ALERT_SECONDS
from throttle.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from throttle.demo.measure import Outcome

MIB = 1 << 20
NOTHING = "–"


def as_json(outcomes: list[Outcome]) -> dict[str, dict[str, Any]]:
    """One object a side."""
    return {outcome.side: _fields(outcome) for outcome in outcomes}


def as_table(outcomes: list[Outcome], interval_seconds: int) -> Table:
    """One column a side, one row a measure; below them who scraped how often, and what the alert said."""
    table = Table(
        title="The outage, replayed",
        title_justify="left",
        title_style="bold",
        caption=Text("\n".join(_watched(outcomes, interval_seconds))),
        caption_justify="left",
        caption_style="",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("")
    for outcome in outcomes:
        table.add_column(outcome.side, justify="right", style="bold" if outcome.side == "throttle" else "")
    for name, show in _ROWS:
        table.add_row(name, *(show(outcome) for outcome in outcomes))
    return table


def share(part: int, whole: int) -> str:
    """A percentage that never rounds something down to nothing."""
    if part == 0 or whole == 0:
        return "0 %"
    percent = 100 * part / whole
    return "< 0.1 %" if percent < 0.1 else f"{percent:.1f} %".replace(".0 %", " %")


def mebibytes(size: int | None) -> str:
    """A size in MiB."""
    return NOTHING if size is None else f"{size / MIB:,.1f} MiB"


def _fields(outcome: Outcome) -> dict[str, Any]:
    return {
        "flood_sent": outcome.sent["flood"],
        "flood_admitted": outcome.delivered["flood"],
        "innocents_sent": outcome.sent["innocent"],
        "innocents_refused": outcome.refused["innocent"],
        "tenants_sent": outcome.sent["tenant"],
        "tenants_refused": outcome.refused["tenant"],
        "first_refusal_after": outcome.first_refusal_after,
        "rss_growth_bytes": outcome.rss_growth_bytes,
        "invented_orgs_rss_growth_bytes": outcome.act_two.rss_growth_bytes if outcome.act_two else None,
        "series": outcome.scrape.series,
        "scrape_bytes": outcome.scrape.page_bytes,
        "scrape_seconds": outcome.scrape.seconds,
        "slowest_scrape_seconds": max(scrape.seconds for scrape in outcome.scrapes),
        "prometheus_rss_growth_bytes": outcome.prometheus_rss_growth_bytes,
        "alert_after_seconds": outcome.alert.seconds if outcome.alert else None,
        "alert": outcome.alert.summary if outcome.alert else None,
        "check_p50_us": outcome.check_p50_us,
        "check_p99_us": outcome.check_p99_us,
    }


def _watched(outcomes: list[Outcome], interval_seconds: int) -> list[str]:
    watched_by = outcomes[-1].watched_by
    if watched_by is None:
        return [f"The demo scraped each server every {interval_seconds} s. No Prometheus watched."]
    alert = next((outcome.alert for outcome in outcomes if outcome.alert), None)
    told = printable(alert.summary) if alert else f"none within {ALERT_SECONDS:.0f} s"
    every = f"every {interval_seconds} s"
    return [
        f"The demo and {watched_by} scraped each server {every}.",
        f"The rules were evaluated {every} too. In the files of the package, both are 15 s; group_wait is 5 s in both.",
        f"The alert: {told}",
    ]


def _part(part: int, whole: int) -> str:
    return f"{part:,} ({share(part, whole)})"


def _number(value: float | None, unit: str = "", digits: int = 0) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}{unit}"


_ROWS: list[tuple[str, Callable[[Outcome], str]]] = [
    ("flood sent", lambda o: _number(o.sent["flood"])),
    ("  admitted", lambda o: _part(o.delivered["flood"], o.sent["flood"])),
    ("  before the first refusal", lambda o: _number(o.first_refusal_after)),
    ("innocents sent", lambda o: _number(o.sent["innocent"])),
    ("  refused", lambda o: _part(o.refused["innocent"], o.sent["innocent"])),
    ("tenants' messages sent", lambda o: _number(o.sent["tenant"])),
    ("  refused", lambda o: _part(o.refused["tenant"], o.sent["tenant"])),
    ("memory taken before start", lambda o: mebibytes(o.reserved_bytes)),
    ("resident memory grew by", lambda o: mebibytes(o.rss_growth_bytes)),
    ("time series", lambda o: _number(o.scrape.series)),
    ("  size of a scrape", lambda o: f"{o.scrape.page_bytes / 1024:,.0f} KiB"),
    ("  time of a scrape", lambda o: f"{o.scrape.seconds * 1000:,.0f} ms"),
    ("  slowest scrape", lambda o: f"{max(scrape.seconds for scrape in o.scrapes) * 1000:,.0f} ms"),
    ("Prometheus' memory grew by", lambda o: mebibytes(o.prometheus_rss_growth_bytes)),
    ("alert after", lambda o: _number(o.alert.seconds if o.alert else None, " s", 1)),
    ("answer to MAIL, p50", lambda o: _number(o.check_p50_us, " µs", 1)),
    ("  p99", lambda o: _number(o.check_p99_us, " µs", 1)),
    ("invented organisations", lambda o: _number(o.act_two.asked if o.act_two else None)),
    ("  admitted", lambda o: _number(o.act_two.admitted if o.act_two else None)),
    ("  resident memory grew by", lambda o: mebibytes(o.act_two.rss_growth_bytes if o.act_two else None)),
]
