"""Draws docs/flood.png from what the flood experiment prints.

    cargo run --release --locked -p throttle-core --example flood -- --json > flood.json
    python docs/pictures/flood.py flood.json docs/flood.png

It computes nothing but percentages.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

LEAST_PERCENT = 1e-5  # zero has no place on a logarithmic scale: it is drawn here


def main(source: str, target: str) -> None:
    """Two panels over the number of unique keys: conforming messages refused, and what the sender above its limit gets."""
    rows = json.loads(Path(source).read_text())
    refused: dict[str, list[tuple[int, float]]] = defaultdict(list)
    admitted: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row in rows:
        flood = row["unique_millions_a_minute"]
        refused[row["design"]].append((flood, max(100 * row["refused"] / row["conforming"], LEAST_PERCENT)))
        admitted[row["design"]].append((flood, row["admitted_of_150"][-1]))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for design, points in refused.items():
        left.plot(*zip(*points, strict=True), marker="o", label=design)
    for design, points in admitted.items():
        right.plot(*zip(*points, strict=True), marker="o", label=design)
    left.set(yscale="log", ylabel="conforming messages refused, %", title="Senders of at most 50 a minute, limit 100")
    left.axhline(LEAST_PERCENT, color="0.8", linewidth=0.8)
    left.annotate("none", (1, LEAST_PERCENT), textcoords="offset points", xytext=(0, 4), color="0.5")
    right.set(ylabel="admitted in the last minute", title="A sender of 150 a minute, evenly spaced", ylim=(0, 160))
    right.axhline(100, color="0.8", linewidth=0.8)
    for panel in (left, right):
        panel.set(xscale="log", xlabel="unique keys a minute, millions", xticks=[1, 3, 10, 30, 60])
        panel.get_xaxis().set_major_formatter(mpl.ticker.ScalarFormatter())
    left.legend(fontsize=8)
    scale = rows[0]["scale"]
    run = "" if scale == 1 else f" (run at 1/{scale} of everything)"
    figure.suptitle(
        f"One mebibyte each; a million legitimate messages a minute, Zipf 1.1 over a million senders{run}", fontsize=10
    )
    figure.savefig(target, dpi=150)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} FLOOD.JSON PICTURE.PNG")
    main(sys.argv[1], sys.argv[2])
