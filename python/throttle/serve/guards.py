"""The guards of a service, one for each policy that the command line names, and how they are loaded again.

Postfix chooses among them by `policy_context`.
Invariant: a policy that is wrong changes nothing.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from throttle import Throttle, ThrottleError, policies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from throttle.serve.log import Log
    from throttle.types import Mode

OWN_SERIES = 7
"""The most series that a service shows besides those of its guards."""

_NAMED = re.compile(r"(?P<name>[\w.-]+)=(?P<source>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PolicySource:
    """Where a policy comes from. The one without a name answers requests that name no policy, or an unknown one."""

    name: str
    source: str

    @classmethod
    def parse(cls, text: str) -> PolicySource:
        """Parses `FILE`, the name of a built-in policy, or either behind `name=`."""
        match = _NAMED.fullmatch(text)
        return cls(match["name"], match["source"]) if match else cls("", text)

    def absolute(self) -> PolicySource:
        """Returns the same policy for a process in any directory."""
        return self if self.source in policies.names() else replace(self, source=str(Path(self.source).absolute()))

    def __str__(self) -> str:
        return f"{self.name}={self.source}" if self.name else self.source


@dataclass(frozen=True, slots=True)
class Reload:
    """When the policies were loaded last without a fault, and whether the last load had none."""

    at: float
    succeeded: bool


class Guards:
    """One guard for each source, each with `memory` and `max_open` permits of its own.

    A policy with which the service could show more than `max_series` series is not loaded.

    Raises:
        ValueError: two sources have one name, or the policies could show too many series.
        PolicyError: a policy is wrong, or does not fit.
        OSError: a file cannot be read.
        ThrottleError: `learned` cannot be read, or is no state.
    """

    def __init__(
        self,
        sources: Iterable[PolicySource],
        *,
        memory: str | None = None,
        max_open: int | None = None,
        learned: str | None = None,
        shadow: bool = False,
        sample: bool = False,
        max_series: int | None = None,
    ) -> None:
        self._reload_lock = threading.Lock()
        self._max_series = max_series
        self._modes: dict[str, Mode] = {}
        """The modes that operators have set, by the name of the policy. A reload keeps them."""
        self._guards: dict[str, tuple[PolicySource, Throttle]] = {}
        for source in sources:
            if source.name in self._guards:
                raise ValueError(_same_name(self._guards[source.name][0], source))
            loaded = policies.load(source.source)
            guard = Throttle(loaded, memory=memory, max_open=max_open, learned=learned, sample=sample)
            self._guards[source.name] = (source, guard)
            if shadow:
                self.set_mode(source, "shadow")
        self._check_series(OWN_SERIES + sum(guard.policy.series_bound()[0] for _, guard in self))
        self.last_reload = Reload(time.time(), succeeded=True)

    def _check_series(self, series: int) -> None:
        if self._max_series is not None and series > self._max_series:
            raise ValueError(
                f"--max-series: found policies that can show {series:,} series at once; allowed: {self._max_series:,}"
            )

    @property
    def has_default(self) -> bool:
        """Whether a policy answers requests that name none, or an unknown one."""
        return "" in self._guards

    def __iter__(self) -> Iterator[tuple[PolicySource, Throttle]]:
        return iter(self._guards.values())

    def set_mode(self, source: PolicySource, mode: Mode) -> Mode:
        """Sets the mode of one guard until the service ends, and returns the mode before."""
        with self._reload_lock:
            _, guard = self._guards[source.name]
            before = guard.mode
            self._modes[source.name] = guard.mode = mode
        return before

    def reload(self, log: Log) -> list[tuple[PolicySource, str | None]]:
        """Reads every policy again, with its lists and quotas.

        Logs each error, and returns it with its source.
        """
        with self._reload_lock:
            results = [(source, self._reloaded(source, guard, log)) for source, guard in self]
            for source, guard in self:
                guard.mode = self._modes.get(source.name, guard.mode)
            succeeded = all(error is None for _, error in results)
            self.last_reload = Reload(time.time() if succeeded else self.last_reload.at, succeeded)
        return results

    def _reloaded(self, source: PolicySource, guard: Throttle, log: Log) -> str | None:
        """Reads one policy again, and returns what is wrong with it."""
        try:
            policy = policies.load(source.source)
            others = sum(other.policy.series_bound()[0] for _, other in self if other is not guard)
            self._check_series(OWN_SERIES + others + policy.series_bound()[0])
            guard.reload(policy)
        except OSError as error:
            wrong = f"{source}: {error.strerror or error}"
        except (ThrottleError, ValueError) as error:
            wrong = str(error)
        else:
            log.event("reloaded", f"policy {source}", limits=len(guard.policy.limits))
            return None
        log.event("reload failed", f"{wrong}; the earlier policy stays", policy=str(source))
        return wrong


def _same_name(first: PolicySource, second: PolicySource) -> str:
    found = f"--policy: found {first} and {second}"
    if second.name:
        return f"{found}; allowed: each NAME once"
    return f"{found}, two without NAME=; allowed: one; write {Path(second.source).stem}={second.source}"
