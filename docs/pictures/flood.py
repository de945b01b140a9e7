"""What a flood of unique keys does to several designs at equal memory, from what the experiment wrote into
`flood.json`: `make flood` does both.

It computes nothing but percentages.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_PERCENT = 1e-5  # zero has no place on a logarithmic scale: it is drawn here


def draw() -> Figure:
    """Two panels over the unique keys: conforming messages refused, and what a sender above its limit gets."""
    rows = json.loads(Path(__file__).with_name("flood.json").read_text())
    refused: dict[str, list[tuple[int, float]]] = defaultdict(list)
    admitted: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        flood = row["unique_millions_a_minute"]
        refused[row["design"]].append((flood, max(100 * row["refused"] / row["conforming"], LEAST_PERCENT)))
        admitted[row["design"]].append((flood, row["admitted_of_150"][-1]))
    figure = Figure(figsize=(11, 4.2), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    _lines(left, refused)
    _lines(right, admitted)
    left.set(yscale="log", ylabel="conforming messages refused, %", title="Senders of at most 50 a minute, limit 100")
    left.axhline(LEAST_PERCENT, color="0.8", linewidth=0.8)
    left.annotate("none", (1, LEAST_PERCENT), textcoords="offset points", xytext=(0, 4), color="0.5")
    left.legend(fontsize=8)
    right.set(ylabel="admitted in the last minute", title="A sender of 150 a minute, evenly spaced", ylim=(0, 160))
    right.axhline(100, color="0.8", linewidth=0.8)
    scale = rows[0]["scale"]
    run = "" if scale == 1 else f" (run at 1/{scale} of everything)"
    figure.suptitle(
        f"One mebibyte each; a million legitimate messages a minute, Zipf 1.1 over a million senders{run}", fontsize=10
    )
    return figure


def _lines(panel: Axes, designs: dict[str, list[tuple[int, float]]]) -> None:
    for design, points in designs.items():
        floods, values = zip(*points, strict=True)
        panel.plot(floods, values, marker="o", label=design)
    panel.set(xscale="log", xlabel="unique keys a minute, millions", xticks=[1, 3, 10, 30, 60])
    panel.get_xaxis().set_major_formatter(ScalarFormatter())
