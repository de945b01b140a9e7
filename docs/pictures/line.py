"""The line: a stamp and seven slots, and what the stores keep in a slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper import BLUE, GREEN, INK, MUTED, ORANGE, blank, box, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: As the heads of `store/gcra.rs`, `known.rs` and `window.rs` draw them: words of a slot,
#: then its parts with their bits.
SLOTS = [
    ("GCRA: one word", GREEN, [("fingerprint", 32), ("arrival time, ticks", 32)]),
    ("known element: one word", BLUE, [("fingerprint", 32), ("first seen", 16), ("last seen", 16)]),
    ("window: two words", ORANGE, [("fingerprint", 32), ("ring of 5 to 16 panes", 96)]),
]


def draw() -> Figure:
    """The picture."""
    figure, axes = sheet(
        "A line of 64 bytes: a stamp, and slots that read as free once their time has passed", height=4.6
    )
    blank(axes, 16, 6.4)
    box(axes, 0, 0, 2, "stamp", colour=INK, filled=True)
    for slot in range(7):
        box(axes, 2 + 2 * slot, 0, 2, f"slot {slot + 1}")
    axes.text(0, 1.35, "time of the last write, 64 bits", color=MUTED, fontsize=9.5)
    axes.text(4, 1.35, "64 bits each; times in a slot are distances from the stamp", color=MUTED, fontsize=9.5)
    for row, (name, colour, parts) in enumerate(SLOTS):
        y, x = 2.2 + 1.35 * row, 4.6
        axes.text(0, y + 0.5, name, color=colour, va="center", fontsize=11, weight="bold")
        for part, bits in parts:
            width = bits * 11 / 128
            box(axes, x, y, width, f"{part}\n{bits} bits" if bits < 96 else f"{part}, {bits} bits", colour=colour)
            x += width
    return figure
