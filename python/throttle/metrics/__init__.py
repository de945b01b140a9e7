"""Metrics whose number of series has a bound that is known before start.

Invariant: importing this package imports nothing else; only the guarded classes need `prometheus_client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from throttle.metrics.guarded import GuardedCounter, GuardedGauge, GuardedHistogram

__all__ = ["GuardedCounter", "GuardedGauge", "GuardedHistogram"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from throttle.metrics import guarded
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise ImportError(f"{name} needs prometheus_client: pip install 'mailthrottle[metrics]'") from error
    return getattr(guarded, name)
