"""What the pictures have in common: colours, a font, an empty sheet.

It knows nothing of what is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, RULE, PAPER = "#1b2430", "#5d6875", "#d9dee4", "#ffffff"
#: Told apart by colour-blind eyes, too.
GREEN, BLUE, ORANGE = "#007a5a", "#0072b2", "#d55e00"


def sheet(title: str, *, width: float = 10, height: float = 5) -> tuple[Figure, Axes]:
    """A figure with one set of axes under a title, which says the finding."""
    with rc_context({"font.size": 11}):
        figure = Figure(figsize=(width, height), dpi=110, facecolor=PAPER, layout="constrained")
        axes = figure.subplots()
    axes.set_title(title, loc="left", color=INK, fontsize=13, weight="bold", pad=12)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)
    axes.tick_params(colors=MUTED)
    return figure, axes


def blank(axes: Axes, width: float, height: float) -> None:
    """No axes: a plane for boxes, its origin at the upper left."""
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")


def box(axes: Axes, x: float, y: float, width: float, text: str, *, colour: str = INK, filled: bool = False) -> None:
    """A box one unit high with a word in it."""
    shape = FancyBboxPatch(
        (x + 0.05, y + 0.08),
        width - 0.1,
        0.84,
        boxstyle="round,pad=0,rounding_size=0.08",
        facecolor=colour if filled else PAPER,
        edgecolor=colour,
        linewidth=1.3,
    )
    axes.add_patch(shape)
    axes.text(x + width / 2, y + 0.5, text, ha="center", va="center", color=PAPER if filled else colour, fontsize=10)
