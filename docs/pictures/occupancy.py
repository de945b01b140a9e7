"""How many invented names a second a table takes, by algorithm: measured on `RateLimiter`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper import BLUE, GREEN, INK, MUTED, sheet

from throttle import RateLimiter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

RATE = "100/minute"
MEMORY = "64 KiB"
MEMORIES_IN_A_MIB = 16

#: Algorithm, its colour, seconds after which as many slots fall free as are taken, names a second in 64 KiB.
SIDES = [
    ("gcra", GREEN, 2, [2_000, 5_000, 8_000, 10_000, 12_000, 15_000, 20_000, 40_000, 80_000]),
    ("sliding-window", BLUE, 90, [5, 10, 15, 20, 30, 50, 100, 200]),
]


def without_room(algorithm: str, names_a_second: int, settled_s: int) -> float:
    """Which part of the names found no slot, once the table has settled."""
    limiter = RateLimiter(RATE, memory=MEMORY, algorithm=algorithm, seed=bytes(16))  # type: ignore[arg-type]
    before = 0
    for number in range(2 * settled_s * names_a_second):
        if number == settled_s * names_a_second:
            before = limiter.untracked
        limiter.hit(f"name {number}", now=number / names_a_second)
    return (limiter.untracked - before) / (settled_s * names_a_second)


def measured() -> Iterator[tuple[str, str, list[int], list[float]]]:
    """For each algorithm: names a second and mebibyte, and the part without room."""
    for algorithm, colour, settled_s, speeds in SIDES:
        shares = [without_room(algorithm, speed, settled_s) for speed in speeds]
        yield algorithm, colour, [speed * MEMORIES_IN_A_MIB for speed in speeds], shares


def draw() -> Figure:
    """The picture."""
    figure, axes = sheet(f"One message occupies a GCRA slot for W/L, a window's for W: {RATE}, a mebibyte")
    for algorithm, colour, speeds, shares in measured():
        axes.plot(speeds, [100 * share for share in shares], marker="o", color=colour, linewidth=2.2)
        axes.annotate(
            algorithm,
            (speeds[-1], 100 * shares[-1]),
            xytext=(8, 0),
            textcoords="offset points",
            color=colour,
            va="center",
        )
    axes.set_xscale("log")
    axes.set_xlim(right=6e6)
    axes.set_xlabel("invented names a second, each used once", color=INK)
    axes.set_ylabel("new names that find no room, %", color=INK)
    axes.grid(axis="y", color="#eef1f4")
    axes.text(0.01, 0.93, "left of the bend every key is counted", transform=axes.transAxes, color=MUTED)
    return figure
