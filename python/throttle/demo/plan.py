"""What one run of the demo was asked to do, and how its child processes hear of it.

It knows no server and no traffic.
Invariant: parent and children hold the same plan; it travels as one JSON argument.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from throttle import Throttle, policies
from throttle.demo.traffic import FULL_FLOOD, Mix

SHORT_FLOOD = 5_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of `throttle demo`."""

    seed: int = 1
    flood: int = FULL_FLOOD
    policy: str = "inbound"
    memory: str | None = None

    @property
    def mix(self) -> Mix:
        """How many messages of which group."""
        return Mix.scaled(self.flood)

    @property
    def invented(self) -> int:
        """Organisations invented in act two: a million for the full flood."""
        return min(self.flood, FULL_FLOOD) * 50

    @property
    def interval_seconds(self) -> int:
        """Between two scrapes: the fifteen seconds of the package's files are longer than a flood of the demo."""
        return 1 if self.flood <= SHORT_FLOOD else 5

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


def with_policy(policy: str) -> str:
    """Returns the name of a built-in policy, or an absolute path: the children may start in another directory."""
    return policy if policy in policies.names() else str(Path(policy).resolve())
