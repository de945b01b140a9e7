"""A guard's metrics as a collector of prometheus_client, beside a program's own metrics.

It knows no metric: the core renders them, and prometheus_client's own parser reads the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector as _Collector

from throttle._core import MetricsExporter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from throttle import Throttle


class Collector(_Collector):
    """What :meth:`throttle.Throttle.collector` returns."""

    def __init__(self, guard: Throttle, *, slots: int = 16, identities: int = 8, names_per_hour: int = 30) -> None:
        guards = {"": guard}
        self._exporter = MetricsExporter(guards, slots=slots, identities=identities, names_per_hour=names_per_hour)

    def collect(self) -> Iterable[Metric]:
        """Returns the metrics as they are now."""
        text = self._exporter.render(openmetrics=True).decode()
        families: Iterable[Metric] = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        return families

    def describe(self) -> Iterable[Metric]:
        """Returns the same: the names that are registered are those that are shown."""
        return self.collect()
