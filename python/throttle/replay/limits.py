"""A policy's limits as a replay counts them: their numbers, and where their keys stand among the values of an envelope.

It knows how a limit prints its fields, not what it enforces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from throttle.learned import Memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from throttle import Limit, Policy

Values: TypeAlias = "Sequence[str | tuple[str, ...] | bool | None]"

_PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_SIZES = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}  # fmt: skip
JOINED = " + "


def several(value: str | tuple[str, ...] | bool | None) -> Sequence[str]:
    """An identity's values, of which there may be none."""
    if type(value) is tuple:
        return value
    return (value,) if value and type(value) is str else ()


@dataclass(frozen=True, slots=True)
class Keys:
    """Identities that are counted together, as places among the values of an envelope."""

    name: str
    places: tuple[int, ...]

    def of(self, values: Values) -> Sequence[str]:
        """The keys of an envelope: none when an identity is absent, several of recipients."""
        places = self.places
        keys = several(values[places[0]])
        for place in places[1:]:
            keys = [f"{key}{JOINED}{one}" for key in keys for one in several(values[place])]
        return keys

    def parts(self, key: str) -> list[str]:
        """A value for each identity; only the last can hold what joins them, since the others are networks or come
        before any text of a sender.
        """
        return key.split(JOINED, len(self.places) - 1)


@dataclass(frozen=True, slots=True)
class Counted:
    """A limit on a rate."""

    name: str
    identity: str
    per: Keys
    amount: int
    period_s: int
    period: str
    at_once: int  # the burst; a sliding window has none
    unit: str  # messages, recipients, bytes, or what is distinct
    count: str  # what one message adds: messages, recipients or connections
    distinct: str | None
    refuses_all: bool
    #: The key under which it remembers elements: its own, or that of `new_to`.
    remembers: Keys
    remember_s: int
    #: When it charges an element: `once`, `twice` or `until-return`.
    charge: str
    warm_up: str | None  # as a policy writes it
    #: Whether its charges depend on a refusal's retry or on whether SPF was checked, which no row tells.
    depends_on_unlogged: bool
    verified: str
    shadow: bool
    #: Values with numbers of their own.
    quotas: frozenset[str]

    def counts_sender(self, values: Values) -> bool:
        """Returns whether this limit counts a sender of this class."""
        return self.verified in ("any", "proven" if values[-1] else "claimed")

    def keys_of(self, values: Values) -> Sequence[str]:
        """Returns the keys of an envelope that this limit counts: none when its sender is of another class."""
        return self.per.of(values) if self.counts_sender(values) else ()

    @property
    def is_told(self) -> bool:
        """Whether a replay can tell how much of a key the limit charges.

        A replay knows which elements were new to the limit's own key, and nothing else of a fan-out.
        """
        is_once = self.charge == "once" and self.warm_up is None and not self.depends_on_unlogged
        return self.memory is None or (is_once and self.count != "recipients" and self.remembers == self.per)

    @property
    def counts(self) -> str:
        """What the limit charges, in words."""
        if self.memory is None:
            return self.unit
        if self.count == "recipients":
            return f"recipients of new {self.unit}"
        return {
            "once": f"new {self.unit}",
            "twice": f"new or returned {self.unit}",
            "until-return": f"messages of new {self.unit}",
        }[self.charge]

    @property
    def rate(self) -> str:
        """As a policy writes it."""
        return self.rate_of(self.amount)

    def rate_of(self, amount: int) -> str:
        """The same with another amount."""
        return f"{amount} B/{self.period}" if self.unit == "bytes" else f"{amount}/{self.period}"

    @property
    def memory(self) -> Memory | None:
        """What it remembers, if it does."""
        if self.distinct is None or self.refuses_all:
            return None
        return Memory(self.remembers.name.split(JOINED), self.distinct)


def counted(policy: Policy, observed: Sequence[str]) -> list[Counted]:
    """The limits on a rate, in file order; `observed` names the values of an envelope."""
    return [_counted(limit, observed) for limit in policy.limits if _is_counted(limit)]


def uncounted(policy: Policy) -> list[str]:
    """Names of the others: how long something was open, and what a server reports, no log tells."""
    return [limit.name for limit in policy.limits if not _is_counted(limit)]


def _is_counted(limit: Limit) -> bool:
    return "rate" in limit.fields and limit.fields.get("count") != "reports"


def keys(identity: str, observed: Sequence[str]) -> Keys:
    """The keys of `client.net/24/48 + sender.org`."""
    return Keys(identity, tuple(observed.index(name) for name in identity.split(JOINED)))


def _counted(limit: Limit, observed: Sequence[str]) -> Counted:
    fields = limit.fields
    per = fields["per"]
    identity = JOINED.join(per) if isinstance(per, list) else per
    amount, _, period = fields["rate"].partition("/")
    size = amount.partition(" ")[2]
    unit = "bytes" if size else fields.get("distinct") or fields.get("count", "messages")
    return Counted(
        name=limit.name,
        identity=identity,
        per=keys(identity, observed),
        amount=_amount(amount),
        period_s=_seconds(period),
        period=period,
        at_once=0 if _is_window(fields) else _amount(str(fields.get("burst", amount))),
        unit=unit,
        count=fields.get("count", "messages"),
        distinct=fields.get("distinct"),
        refuses_all=fields.get("refuse") == "all",
        remembers=keys(fields.get("new_to", identity), observed),
        remember_s=_seconds(fields.get("remember", "1 day")),
        charge=fields.get("charge", "once"),
        warm_up=fields.get("warm_up"),
        depends_on_unlogged="readmit" in fields or fields.get("verified") == "unproven",
        # Rows do not tell whether SPF was checked, so such a limit's keys are counted as those of all claimed senders.
        verified=fields.get("verified", "any").replace("unproven", "claimed"),
        shadow=fields.get("mode") == "shadow",
        quotas=frozenset(fields.get("quota", ())),
    )


def _amount(number: str) -> int:
    amount, _, size = number.partition(" ")
    return int(amount) * _SIZES[size or "B"]


def _is_window(fields: Mapping[str, Any]) -> bool:
    """Whether a limit is a sliding window, which is the default where nobody can invent a key."""
    is_default = fields["per"] in ("auth.user", "global") and "distinct" not in fields
    algorithm: str = fields.get("algorithm", "sliding-window" if is_default else "gcra")
    return algorithm == "sliding-window"


def _seconds(period: str) -> int:
    times, _, name = period.rpartition(" ")
    return int(times or 1) * _PERIODS[name.removesuffix("s")]
