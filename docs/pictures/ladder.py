"""The ladder: which part of a name pays for a host that nobody has seen. Asked of a guard, not drawn from memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper import GREEN, INK, MUTED, ORANGE, blank, box, sheet

from throttle import Envelope, Limit, Policy, Throttle

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOUR = 3600.0
TENANT = "gpawymg.um8.bnc.salesforce.com"

#: What is sent beside the tenant's own hosts: nobody has seen anything of it but the organisation.
STRANGER = "zzz.um9.bnc.salesforce.com"


def payers() -> dict[str, str]:
    """For a flood of fresh hosts under each name: the part of the name whose allowance refuses."""
    rule = Limit(name="hosts", per="sender.registered", distinct="sender.host", rate="5/10 minutes", settle="1 hour")
    found = {}
    for name in (TENANT, STRANGER):
        guard = Throttle(Policy([rule]), memory="1 MiB", seed=bytes(16))
        guard.check(Envelope(mail_from=f"a@first.{TENANT}"), now=0.0)
        for number in range(99):
            decision = guard.check(Envelope(mail_from=f"a@h{number}.{name}"), now=2 * HOUR)
            if not decision:
                found[name] = str(decision.key)
                break
    return found


def draw() -> Figure:
    """The picture."""
    pays = payers()
    figure, axes = sheet("A fresh host is charged to the closest part of its name that has settled", height=4.6)
    blank(axes, 15.6, 6.4)
    sides = [(TENANT, GREEN, "below a tenant that has settled"), (STRANGER, ORANGE, "below a name nobody knows")]
    for column, (name, colour, first) in enumerate(sides):
        x = 8.2 * column
        labels = name.split(".")
        parts = [".".join(labels[depth:]) for depth in range(len(labels) - 1)]
        axes.text(x + 3.7, 0.45, f"h1, h2, h3 … {first}", ha="center", color=MUTED, fontsize=10)
        for row, part in enumerate(parts, start=1):
            payer = part == pays[name]
            box(axes, x, 1.25 * row - 0.2, 7.4, part, colour=colour if payer else INK, filled=payer)
            if row < len(parts):
                up, down = (x + 3.7, 1.25 * row + 0.75), (x + 3.7, 1.25 * row + 1.05)
                axes.annotate("", down, up, arrowprops={"arrowstyle": "->", "color": MUTED})
        axes.text(x + 3.7, 1.25 * len(parts) + 1.15, f"refused: {pays[name]}", ha="center", color=colour, weight="bold")
    return figure
