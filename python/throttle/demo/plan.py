"""What one run of the demo was asked to do, and how its child processes hear of it.

It knows no server and no traffic.
Invariant: parent and children hold the same plan; it travels as one JSON argument.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from throttle import Throttle
from throttle.demo.traffic import FULL_FLOOD, Mix

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of `throttle demo`."""

    seed: int = 1
    flood: int = FULL_FLOOD
    policy: str | None = None
    memory: str | None = None

    @property
    def mix(self) -> Mix:
        """How many messages of which group."""
        return Mix.scaled(self.flood)

    @property
    def invented(self) -> int:
        """Organisations invented in act two: a million for the full flood."""
        return min(self.flood, FULL_FLOOD) * 50

    def guard(self) -> Throttle:
        """`Throttle()` as it comes, but for what the command line says otherwise."""
        if self.memory is None:
            return Throttle(self.policy)
        return Throttle(self.policy, memory=self.memory)

    def to_argument(self) -> str:
        """One command-line argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_argument(cls, argument: str) -> Plan:
        """The inverse of `to_argument`."""
        return cls(**json.loads(argument))


def with_policy(path: Path | None) -> str | None:
    """The policy's path as the children see it, whatever directory they start in."""
    return None if path is None else str(path.resolve())
