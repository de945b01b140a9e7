"""The outage as one picture: flood messages admitted, memory and scrapes over time, the alert, and what act two cost.

It knows outcomes and how to draw them.
Invariant: every number and every claim on it is computed from the outcomes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.ticker import FuncFormatter, MaxNLocator

from throttle.demo.report import MIB, share

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.axes import Axes

    from throttle.demo.measure import Outcome

INK, MUTED, RULE, PAPER = "#1b2430", "#5d6875", "#d9dee4", "#ffffff"
COLOURS = {"naive": "#d55e00", "careful": "#0072b2", "throttle": "#007a5a"}  # told apart by colour-blind eyes, too
WIDTHS = {"naive": 2.4, "careful": 2.4, "throttle": 4.0}
FONTS = ("Inter", "Helvetica Neue", "Arial", "Liberation Sans", "Noto Sans", "DejaVu Sans")
LABEL_GAP = 0.125  # of a panel's height: labels of lines that end together keep this apart


def draw(outcomes: list[Outcome], path: Path) -> None:
    """Write the picture as a PNG for a 16:9 slide."""
    font = next(name for name in FONTS if name in get_font_names())
    figure = Figure(figsize=(16, 9), dpi=120, facecolor=PAPER)
    panels = figure.subplots(1, 4, width_ratios=(5, 5, 5, 3.6))
    figure.subplots_adjust(left=0.06, right=0.975, top=0.64, bottom=0.13, wspace=0.7)
    headline = figure.text(0.035, 0.92, title(outcomes), size=36, weight="bold", color=INK, va="center", family=font)
    # fonts differ in width: one line, whatever font is there
    headline.set_fontsize(36 * min(1.0, 0.93 * figure.bbox.width / headline.get_window_extent().width))
    figure.text(0.035, 0.805, subtitle(outcomes), size=16.5, color=MUTED, va="center", family=font, linespacing=1.55)
    last = max(outcome.samples[-1].seconds for outcome in outcomes)
    last = max([last, *(1.05 * outcome.alert.seconds for outcome in outcomes if outcome.alert)])
    admitted = [[(s.seconds, float(s.flood_admitted)) for s in o.samples] for o in outcomes]
    memory = [[(s.seconds, s.resident_bytes / MIB) for s in o.samples] for o in outcomes]
    scrapes = [[(s.at_seconds, s.seconds * 1000) for s in o.scrapes] for o in outcomes]
    _lines(panels[0], outcomes, "Flood messages\nadmitted", admitted, last, _admitted)
    _lines(panels[1], outcomes, "Server's resident\nmemory, MiB", memory, last, _memory)
    _lines(panels[2], outcomes, "Time of one\nscrape, ms", scrapes, last, _series)
    panels[2].xaxis.label.set_text(f"{panels[2].get_xlabel()};\nthe last one after the flood")
    panels[1].xaxis.label.set_text("".join([panels[1].get_xlabel(), *_reserved(outcomes)]))
    _mark_alert(panels[0], outcomes)
    _bars(panels[3], outcomes)
    for axes in panels:
        for text in (*axes.texts, axes.title, axes.xaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()):
            text.set_family(font)
    figure.savefig(path)


def title(outcomes: list[Outcome]) -> str:
    """The finding."""
    ours = next(outcome for outcome in outcomes if outcome.side == "throttle")
    others = ours.refused["innocent"] + ours.refused["tenant"]
    return (
        f"throttle admits {ours.delivered['flood']:,} of {ours.sent['flood']:,} flood messages"
        f" and refuses {f'{others:,} others' if others else 'nobody else'}"
    )


def subtitle(outcomes: list[Outcome]) -> str:
    """What the others did, and what was done to all."""
    messages = sum(outcomes[0].sent.values())
    others = (
        f"{o.side} admits {share(o.delivered['flood'], o.sent['flood'])} of the flood and refuses "
        f"{share(o.refused['tenant'], o.sent['tenant'])} of the mail of that organisation's own tenants"
        for o in outcomes
        if o.side != "throttle"
    )
    return (
        f"The same {messages:,} messages to each aiosmtpd server; every flood message comes from a fresh host of one "
        "organisation.\n" + ";\n".join(others) + "."
    )


def _admitted(outcome: Outcome) -> str:
    return f"{outcome.samples[-1].flood_admitted:,}"


def _reserved(outcomes: list[Outcome]) -> list[str]:
    return [
        f";\n{o.side} had taken {o.reserved_bytes / MIB:,.1f} MiB before"
        for o in outcomes
        if o.reserved_bytes is not None
    ]


def _memory(outcome: Outcome) -> str:
    return f"+{outcome.rss_growth_bytes / MIB:,.1f}"


def _series(outcome: Outcome) -> str:
    return f"{outcome.scrape.series:,} series"


def _mark_alert(axes: Axes, outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.alert is None:
            continue
        colour, seconds = COLOURS[outcome.side], outcome.alert.seconds
        axes.axvline(seconds, ymax=0.93, color=colour, lw=1.6, ls="--")
        late = seconds > axes.get_xlim()[1] / 2
        text = f"alert after {seconds:.1f} s"
        place: dict[str, Any] = {"xytext": (0, 4), "textcoords": "offset points", "ha": "right" if late else "left"}
        axes.annotate(
            text, (seconds, 0.93), xycoords=axes.get_xaxis_transform(), color=colour, size=13, weight="bold", **place
        )


def _lines(
    axes: Axes,
    outcomes: list[Outcome],
    name: str,
    lines: list[list[tuple[float, float]]],
    last: float,
    tell: Callable[[Outcome], str],
) -> None:
    """Draws a line for each outcome, of seconds and values, and dots it on from its end to the time `last`."""
    _dress(axes, name)
    top = 1.12 * max(value for line in lines for _, value in line)
    axes.set_xlim(0, last)
    axes.set_ylim(0, top)
    lowest = 0.0
    for outcome, line in sorted(zip(outcomes, lines, strict=True), key=lambda pair: pair[1][-1][1]):
        colour, (end, value) = COLOURS[outcome.side], line[-1]
        axes.plot(*zip(*line, strict=True), color=colour, lw=WIDTHS[outcome.side], clip_on=False)
        # its server is done: there it stays
        axes.plot([end, last], [value] * 2, ":", color=colour, lw=1.6, clip_on=False)
        axes.plot([end], [value], "o", color=colour, ms=9, clip_on=False)
        place = max(value, lowest)
        lowest = place + LABEL_GAP * top
        label = f"{outcome.side}\n{tell(outcome)}"
        axes.annotate(
            label,
            (last, place),
            xytext=(14, 0),
            textcoords="offset points",
            color=colour,
            size=13,
            weight="bold",
            va="center",
            linespacing=1.15,
        )
    axes.set_xlabel("seconds since the first message", color=MUTED, size=13, loc="left", labelpad=8)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.0f}"))


def _bars(axes: Axes, outcomes: list[Outcome]) -> None:
    grown = [(o.side, o.act_two.rss_growth_bytes / MIB) for o in outcomes if o.act_two is not None]
    asked = max((o.act_two.asked for o in outcomes if o.act_two is not None), default=0)
    _dress(axes, f"Memory for\n{asked:,} names")
    axes.grid(visible=False)
    axes.set_yticks([])
    axes.set_xticks([])
    highest = max([mib for _, mib in grown] + [1.0])
    axes.set_ylim(0, 1.08 * highest)
    axes.set_xlim(-0.6, len(grown) - 0.4)
    for place, (side, mib) in enumerate(grown):
        axes.bar([place], [max(mib, 0.0)], width=0.62, color=COLOURS[side])
        axes.annotate(
            f"+{mib:,.1f} MiB",
            (place, max(mib, 0.0)),
            xytext=(0, 9),
            textcoords="offset points",
            color=COLOURS[side],
            size=14,
            weight="bold",
            ha="center",
        )
        axes.annotate(
            side,
            (place, 0),
            xytext=(0, -20),
            textcoords="offset points",
            color=COLOURS[side],
            size=14,
            weight="bold",
            ha="center",
        )


def _dress(axes: Axes, name: str) -> None:
    axes.set_title(name, loc="left", size=16, color=INK, pad=16, weight="bold")
    axes.set_facecolor(PAPER)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.tick_params(length=0, labelsize=12, labelcolor=MUTED, pad=7)
    axes.grid(axis="y", color=RULE, lw=1)
    axes.set_axisbelow(True)
