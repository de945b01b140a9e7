"""Several ways to do the same, timed in turn: a batch of one, a batch of the next, and round again.

What else runs on the machine then hits all of them alike.
Time is processor time of the whole process: what other processes take does not count, and a peer's sweep in a thread
of its own does.
It knows nothing of what it times. Invariant: a ratio is made of two medians of the same rounds.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

#: ``make bench BENCH=short`` says so.
SHORT = os.environ.get("BENCH") == "short"


@dataclass
class Way:
    """One way: what does a batch, and how many calls that is."""

    name: str
    batch: Callable[[], None]
    calls: int
    #: Waits, outside of what is timed, until nothing of it runs on in the background.
    settle: Callable[[], None] = lambda: None
    #: Nanoseconds a call, one figure a round.
    nanoseconds: list[float] = field(default_factory=list)

    def run(self) -> None:
        """One batch, timed."""
        start = time.process_time_ns()
        self.batch()
        self.nanoseconds.append((time.process_time_ns() - start) / self.calls)
        self.settle()

    @property
    def median(self) -> float:
        """Nanoseconds a call, in the round in the middle."""
        return statistics.median(self.nanoseconds)


def rounds(ways: list[Way], count: int) -> None:
    """``count`` batches of each, in turn."""
    for _ in range(count):
        for way in ways:
            way.run()


def verdict(what: str, ratio: float, *, at_most: float | None = None, at_least: float | None = None) -> str:
    """One line: a ratio, what was promised, and whether it holds."""
    holds = (at_most is None or ratio <= at_most) and (at_least is None or ratio >= at_least)
    bound = f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}"
    return f"{what}: {ratio:.3g}, {bound}: {'holds' if holds else 'DOES NOT HOLD'}"
