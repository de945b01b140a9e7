"""The dashboard for Grafana, as the JSON that its import takes.

Every query has a stated number of series, so no flood can make a panel slow: variables list data sources, jobs and
instances, never senders. The number is for one instance with the default slots and the policy `inbound`.

A graph asks for the ten largest of all the time that it shows: `topk` alone chooses anew for each point, and so returns
as many series as there are. A table shows one moment.
"""

from __future__ import annotations

from typing import Any, NamedTuple

SELECTED = 'job=~"$job",instance=~"$instance"'


class Panel(NamedTuple):
    """One panel: what it shows, and how."""

    title: str
    says: str
    query: str
    legend: str
    unit: str
    most_series: int
    """Series that the query returns at most, for one instance."""
    kind: str = "timeseries"


def largest(shown: str, over_range: str) -> str:
    """The query `shown`, of the ten series that `over_range` finds largest at the end of the time shown."""
    return f"{shown} and topk(10, {over_range})"


def refusals(mode: str) -> str:
    """The limits that refuse most in a mode."""
    series = f'throttle_limit_refusals_total{{mode="{mode}",%s}}'
    return largest(
        f"sum by (limit) (rate({series}[$__rate_interval]))", f"sum by (limit) (increase({series}[$__range] @ end()))"
    )


PANELS = (
    Panel(
        "Checks",
        "What the guard decides, each check once.",
        "sum by (decision) (rate(throttle_checks_total{%s}[$__rate_interval]))",
        "{{decision}}",
        "ops",
        3,
    ),
    Panel(
        "Refusals by limit",
        "The ten limits that refuse most.",
        refusals("enforced"),
        "{{limit}}",
        "ops",
        10,
    ),
    Panel(
        "What shadow limits would refuse",
        "The ten limits in shadow mode that would refuse most.",
        refusals("shadow"),
        "{{limit}}",
        "ops",
        10,
    ),
    Panel(
        "Different names in a minute",
        "Estimates of distinct values. A flood of invented names shows here first.",
        'max by (identity) (throttle_distinct{window="minute",%s})',
        "{{identity}}",
        "short",
        64,
    ),
    Panel(
        "New names under one",
        "The most new names under one value.",
        'max by (identity) (throttle_fan_out_max{window="minute",%s})',
        "{{identity}}",
        "short",
        64,
    ),
    Panel(
        "Offenders",
        "Who came near a limit or was refused: checks of the last minute. The exporter bounds the names.",
        "topk(20, throttle_slot_messages{%s} * on (job, instance, policy, identity, slot) group_left (key)"
        " throttle_slot_info{%s})",
        "{{identity}} {{key}}",
        "short",
        20,
        "table",
    ),
    Panel(
        "In flight, of what is allowed",
        "Connections, messages and bytes that are open now.",
        "max by (limit) (throttle_in_flight{%s} / throttle_in_flight_limit{%s})",
        "{{limit}}",
        "percentunit",
        16,
    ),
    Panel(
        "How full the tables are",
        "The ten fullest tables.",
        largest(
            "max by (limit, table) (throttle_table_load{%s})",
            "max by (limit, table) (max_over_time(throttle_table_load{%s}[$__range] @ end()))",
        ),
        "{{limit}} {{table}}",
        "percentunit",
        10,
    ),
    Panel(
        "Charges without room",
        "What a full table could not count, of all checks.",
        largest(
            "sum by (limit) (rate(throttle_untracked_total{%s}[$__rate_interval]))",
            "sum by (limit) (increase(throttle_untracked_total{%s}[$__range] @ end()))",
        ),
        "{{limit}}",
        "ops",
        10,
    ),
    Panel(
        "Time of a check",
        "99th percentile of the checks that were timed.",
        "histogram_quantile(0.99, sum by (le) (rate(throttle_check_duration_seconds_bucket{%s}[$__rate_interval])))",
        "p99",
        "s",
        1,
    ),
    Panel(
        "Series of the exporter",
        "What is exported, and the bound that is known before start.",
        'max by (__name__, instance) ({__name__=~"throttle_series|throttle_series_limit",%s})',
        "{{__name__}} {{instance}}",
        "short",
        2,
    ),
)


def queries(job: str = ".*", instance: str = ".*", interval: str = "1m", shown: str = "1h") -> list[tuple[Panel, str]]:
    """Returns each panel with its query as Prometheus gets it."""
    chosen = {"$job": job, "$instance": instance, "$__rate_interval": interval, "$__range": shown}
    found = []
    for panel in PANELS:
        query = expression(panel)
        for name, value in chosen.items():
            query = query.replace(name, value)
        found.append((panel, query))
    return found


def expression(panel: Panel) -> str:
    """The query with the variables of the dashboard."""
    return panel.query.replace("%s", SELECTED)


def dashboard() -> dict[str, Any]:
    """Returns the dashboard."""
    return {
        "title": "throttle",
        "uid": "throttle",
        "tags": ["mail", "throttle"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [data_source(), label("job"), label("instance", 'job=~"$job"')]},
        "panels": [grafana_panel(number, panel) for number, panel in enumerate(PANELS)],
    }


def data_source() -> dict[str, Any]:
    """The variable that names the Prometheus."""
    return {"name": "datasource", "type": "datasource", "query": "prometheus"}


def label(name: str, given: str = "") -> dict[str, Any]:
    """A variable with the values of a label of targets."""
    query = f"label_values(throttle_build_info{{{given}}}, {name})"
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
    }


def grafana_panel(number: int, panel: Panel) -> dict[str, Any]:
    """A panel, two in a row."""
    is_table = panel.kind == "table"
    target = {"refId": "A", "expr": expression(panel), "legendFormat": panel.legend, "instant": is_table}
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": f"{panel.says} At most {panel.most_series} series for each instance.",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [target | ({"format": "table"} if is_table else {})],
    }
