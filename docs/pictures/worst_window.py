"""What the most greedy sender gets in a trailing window, by algorithm and burst: measured on `RateLimiter`."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from paper import BLUE, GREEN, INK, MUTED, ORANGE, sheet

from throttle import RateLimiter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIMIT = 100
WINDOW_MS = 60_000
END_MS = 240_000
STEP_MS = 100

SIDES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("GCRA, 100/minute, burst 100", ORANGE, "100/minute", {}),
    ("GCRA, 90/minute, burst 10", GREEN, "90/minute", {"burst": 10}),
    ("sliding window, 100/minute", BLUE, "100/minute", {"algorithm": "sliding-window"}),
]


def greedy(rate: str, options: dict[str, Any]) -> list[int]:
    """When a sender that asks ten times a second from the first moment on is admitted, in milliseconds."""
    limiter = RateLimiter(rate, seed=bytes(16), **options)
    times = []
    for ms in range(0, END_MS, STEP_MS):
        while limiter.hit("greedy", now=1_000 + ms / 1_000):
            times.append(ms)
    return times


def trailing(times: list[int]) -> list[int]:
    """How many lie in the window that ends at each step: an event at a counts in [a, a + W)."""
    return [bisect_right(times, ms) - bisect_right(times, ms - WINDOW_MS) for ms in range(0, END_MS, STEP_MS)]


def draw() -> Figure:
    """The picture."""
    figure, axes = sheet("GCRA stays within L in every trailing window when rate and burst add up to L")
    seconds = [ms / 1_000 for ms in range(0, END_MS, STEP_MS)]
    for name, colour, rate, options in SIDES:
        counts = trailing(greedy(rate, options))
        axes.plot(seconds, counts, color=colour, linewidth=2.2, label=f"{name}: at most {max(counts)}")
    axes.axhline(LIMIT, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.text(seconds[-1], LIMIT + 2, "L", ha="right", color=INK)
    axes.set_ylim(0, 2.2 * LIMIT)
    axes.set_xlabel("seconds; the sender asks for all it can get from the first moment on", color=INK)
    axes.set_ylabel("admitted in the trailing minute", color=INK)
    axes.legend(frameon=False, labelcolor=MUTED, loc="upper right")
    return figure
