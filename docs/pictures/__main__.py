"""Draws the pictures of `algorithms.md`: `python docs/pictures`, or with the names of some.

What they show is measured on the library itself, or is its layout; nothing is drawn by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

import flood
import ladder
import line
import occupancy
import worst_window

PICTURES = {
    "line": line.draw,
    "flood": flood.draw,
    "occupancy": occupancy.draw,
    "worst_window": worst_window.draw,
    "ladder": ladder.draw,
}


def main(names: list[str]) -> int:
    """Draw those named, or all."""
    unknown = [name for name in names if name not in PICTURES]
    if unknown:
        print(f"found {unknown[0]!r}; allowed: {', '.join(PICTURES)}", file=sys.stderr)
        return 2
    for name in names or PICTURES:
        path = Path(__file__).with_name(f"{name}.png")
        PICTURES[name]().savefig(path)
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
