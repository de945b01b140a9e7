"""The results of the verbs, as both ends of the control socket know them: plain data, which JSON can carry.

A verb that asks or changes several policies returns a list with one of these for each. Times are Unix seconds. What a
sender may have chosen is unchanged: escape it before you print it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

from throttle.diagnosis import Described

if TYPE_CHECKING:
    from throttle.types import Mode


class OfPolicy(TypedDict):
    """What every result of a policy has."""

    policy: str
    """The name of the policy on the command line of the service; empty for the one without a name."""


class LastReload(TypedDict):
    """When all policies were last loaded without a fault, and whether the last load had none."""

    at: float
    succeeded: bool


class PolicyStatus(OfPolicy):
    """A policy, and what checks came to since start; the counts as in `throttle.types.Metrics`."""

    source: str
    mode: Mode
    limits: int
    memory_bytes: int
    checks: dict[str, dict[str, int]]
    refusals: dict[str, dict[str, int]]
    untracked: dict[str, int]


class Status(TypedDict):
    """The result of `status`: the process and its policies."""

    version: str
    pid: int
    uptime_seconds: float
    last_reload: LastReload
    policies: list[PolicyStatus]


class HeldBy(TypedDict):
    """A limit that refuses a value now, or would in shadow mode."""

    limit: str
    mode: Mode


class Row(TypedDict):
    """A value of an identity, with its checks of the last minute; see `throttle.Offender`."""

    value: str
    admitted: int
    refused: int
    fan_out: int | None
    first_seen: float
    limits: list[HeldBy]


class Rows(TypedDict):
    """An identity, an estimate of its distinct values of the last minute, and the busiest of them."""

    identity: str
    distinct: int
    offenders: list[Row]


class ToldNotice(TypedDict):
    """A `throttle.types.Notice`, and its sentence."""

    serial: int
    kind: Literal["began", "stopped", "displaced"]
    since: float
    until: float
    limit: str
    identity: str
    key: str
    refused: int
    mode: Mode
    text: str


class Top(OfPolicy):
    """The result of `top`: offenders, and the keys that are refused now."""

    mode: Mode
    checks: dict[str, dict[str, int]]
    identities: list[Rows]
    refusing: list[ToldNotice]


class ToldNotices(OfPolicy):
    """The result of `notices`; see `throttle.types.Notices`."""

    entries: list[ToldNotice]
    refusing: list[ToldNotice]
    overwritten: int
    untracked: int
    last: int


class Entry(TypedDict):
    """A block or an allow entry; see `throttle.Blocked`. `until` is `None` when it has no end."""

    action: Literal["block", "allow"]
    identity: str
    value: str | None
    until: float | None
    by: str
    unverified: bool
    comment: str | None


class Entries(OfPolicy):
    """The result of `list`: blocks and allow entries."""

    entries: list[Entry]


class ToldDiagnosis(OfPolicy, Described):
    """The result of `diagnose`: the findings, in words too."""


class Explained(OfPolicy):
    """`explain`: a `throttle.types.Explanation`, in which a wait without an end is `None`."""

    explanation: dict[str, Any]


class Changed(OfPolicy):
    """`block`, `allow`, `unblock`, `reset` and `mode`: what the method of `throttle.Throttle` returned; of `mode`, the
    one before.
    """

    result: Any


class Reloaded(OfPolicy):
    """`reload`: what is wrong with the policy, or `None`."""

    error: str | None
