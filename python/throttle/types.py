"""The types of arguments, and the frozen results of ``explain`` and ``tables``."""

from __future__ import annotations

import math
from collections.abc import Iterable  # noqa: TC003  `get_type_hints` needs it at run time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal, TypeAlias, TypedDict

from throttle.printable import printable
from throttle.tags import explained

__all__ = [
    "Address",
    "Algorithm",
    "BlockValue",
    "CoveringEntry",
    "Diagnosis",
    "DiagnosisRow",
    "EnvelopeFields",
    "ExplainedIdentity",
    "ExplainedLimit",
    "Explanation",
    "Finding",
    "LimitPlan",
    "Mode",
    "Outcome",
    "PolicyEntry",
    "Quota",
    "Share",
    "Size",
    "Stage",
    "Table",
    "Text",
    "Verdict",
    "WhenFull",
    "Window",
]

Text: TypeAlias = str | bytes
"""Text that a sender wrote. A ``str`` and its UTF-8 ``bytes`` make the same identity."""

Address: TypeAlias = str | bytes | IPv4Address | IPv6Address
"""The address of a client. The scope of a link-local address is ignored."""

BlockValue: TypeAlias = str | bytes | IPv4Address | IPv6Address | IPv4Network | IPv6Network
"""A value that an operator blocks or allows."""

Stage: TypeAlias = Literal["connect", "helo", "mail", "rcpt", "data"]
"""A stage of the SMTP dialogue."""

Size: TypeAlias = int | str
"""A number of bytes, or text such as ``"64 MiB"``."""

Window: TypeAlias = Literal["minute", "hour"]
"""The period that a count covers."""

Mode: TypeAlias = Literal["enforce", "shadow"]
"""``"enforce"`` refuses; ``"shadow"`` only reports what would be refused."""

Outcome: TypeAlias = Literal["unknown-recipient", "auth-failure", "spam", "virus"]
"""What a server finds out and reports."""

Algorithm: TypeAlias = Literal["gcra", "sliding-window"]
"""How a rate is counted."""

WhenFull: TypeAlias = Literal["admit", "sketch", "refuse"]
"""What happens to a new key when its place in the table is full."""

Trust: TypeAlias = Literal["claimed", "named", "proven"]
"""How far an identity is proven. A sender is ``"proven"`` by SPF, ``"named"`` by the client's confirmed name, else
``"claimed"``."""

Verdict: TypeAlias = Literal["fits", "refuses", "would refuse", "not checked", "does not apply"]
"""What a limit says of an envelope. ``"would refuse"`` is that of a limit in shadow mode."""


class EnvelopeFields(TypedDict, total=False):
    """The keyword arguments of :class:`throttle.Envelope`."""

    client_ip: Address | None
    client_name: Text | None
    helo: Text | None
    mail_from: Text | None
    rcpt_to: Text | Iterable[Text] | None
    auth_user: Text | None
    spf: str | None
    size: int | None
    header_from: Text | Iterable[Text] | None
    reply_to: Text | Iterable[Text] | None
    list_id: Text | None
    dkim: Text | Iterable[Text] | None


class Share(TypedDict):
    """A tier of the field ``share`` of an in-flight limit: the part of what is free that one key may hold."""

    per: str | list[str]
    of_free: str


class Quota(TypedDict, total=False):
    """The numbers of one named value in the field ``quota``."""

    rate: str
    burst: int | str


@dataclass(frozen=True, slots=True)
class ExplainedIdentity:
    """The values of one identity of an envelope.

    Attributes:
        values: the values in normal form, or a tag such as ``"UNKNOWN"``.
        trust: how far it is proven. ``None`` for what nobody can prove or claim: recipients, ``global``, and a client
            without an address.
    """

    values: tuple[str, ...]
    trust: Trust | None

    def __str__(self) -> str:
        trust = f" ({self.trust})" if self.trust else ""
        return printable(", ".join(self.values)) + trust


@dataclass(frozen=True, slots=True)
class ExplainedLimit:
    """What one limit says of one key of an envelope.

    A limit that was not asked gives its ``reason``, and ``key``, ``trust``, ``used``, ``at_once`` and ``adds`` are
    ``None``. A limit that is ``"not checked"`` may still refuse later; one that ``"does not apply"`` will not.

    Attributes:
        limit: the name of the limit.
        stage: the SMTP stage at which it runs.
        identity: what it counts per.
        counts: what it counts: ``"messages"``, ``"bytes"``, ``"new sender.host"``.
        allows: its numbers, as a policy writes them: ``"600/minute, burst 6000"``.
        quota_of: the value whose quota ``allows`` shows; ``None`` when these are the limit's own numbers.
        verdict: what it says.
        reason: why it was not asked.
        missing: the fields of the envelope that it needs; empty when it runs at another stage.
        key: the value that it counts.
        trust: how far that value is proven; each level has a counter of its own.
        used: how much of ``at_once`` is taken, in the unit of ``counts``.
        at_once: how much fits at once.
        adds: how much the envelope would add; for a fan-out, the number of new elements.
        retry_after: seconds until it fits; 0.0 when it does, ``math.inf`` when it never will.
    """

    limit: str
    stage: Stage
    identity: str
    counts: str
    allows: str
    quota_of: str | None
    verdict: Verdict
    reason: str | None
    missing: tuple[str, ...]
    key: str | None
    trust: Trust | None
    used: int | None
    at_once: int | None
    adds: int | None
    retry_after: float

    @property
    def amounts(self) -> tuple[str, str, str]:
        """``used``, ``at_once`` and ``adds`` as text, with units where the limit counts bytes."""
        is_bytes = self.counts.startswith("bytes")
        used, at_once, adds = (
            size(number or 0) if is_bytes else f"{number or 0:,}" for number in (self.used, self.at_once, self.adds)
        )
        return used, at_once, adds

    @property
    def outcome(self) -> str:
        """The verdict as text, and when there is room again: ``"refuses; room again in 12 s"``."""
        if self.key is None or self.verdict == "fits":
            return self.verdict
        if math.isinf(self.retry_after):
            return f"{self.verdict} (permanent)"
        return f"{self.verdict}; room again in {math.ceil(self.retry_after):,} s"

    def __str__(self) -> str:
        if self.key is None:
            return printable(f"{self.limit}: {self.verdict}: {self.reason}")
        trust = f" ({self.trust})" if self.trust in ("claimed", "named") else ""
        quota = f", quota of {self.quota_of}" if self.quota_of else ""
        used, at_once, adds = self.amounts
        return printable(
            f"{self.limit}: {self.outcome}: {self.identity} {self.key}{trust}: "
            f"{used} of {at_once} {self.counts} used, +{adds} ({self.allows}{quota})"
        )


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """An entry of ``[[allow]]`` or ``[[block]]``.

    Attributes:
        action: ``"block"`` or ``"allow"``.
        identity: the identity of the entry.
        value: its value, as the policy writes it.
        until: Unix seconds; ``math.inf`` for good.
        unverified: whether an allow entry also holds for a merely claimed sender.
        comment: the operator's own remark.
    """

    action: Literal["block", "allow"]
    identity: str
    value: str
    until: float
    unverified: bool
    comment: str | None


@dataclass(frozen=True, slots=True)
class CoveringEntry:
    """A block or an allow entry that covers an envelope.

    Attributes:
        action: ``"block"`` or ``"allow"``.
        identity: the identity of the entry.
        value: its value; ``None`` when a limit blocked a key whose name is not known.
        by: ``"operator"`` for an entry made at run time, ``"policy"`` for one of the policy, or the name of the limit.
        unverified: whether an allow entry also holds for a merely claimed sender.
        seconds: how long it still holds; ``math.inf`` for good.
    """

    action: Literal["block", "allow"]
    identity: str
    value: str | None
    by: str
    unverified: bool
    seconds: float

    def __str__(self) -> str:
        done = "blocked" if self.action == "block" else "allowed"
        how_long = f"for {self.seconds:,.0f} s" if math.isfinite(self.seconds) else "for good"
        claims = ", also when merely claimed" if self.unverified else ""
        return printable(f"{self.identity} {self.value} is {done} by {self.by} {how_long}{claims}.")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a check of an envelope would look at, and its result.

    A covering entry takes precedence over the limits, except in-flight limits: a block refuses, an allow entry admits.

    Attributes:
        allowed: whether the limits that were asked admit it.
        limit: the limit that refuses; ``None`` when it is allowed.
        stage: the SMTP stage of the refusal.
        reply: the SMTP reply line of the refusal.
        problems: what is wrong with the envelope, such as a ``client_ip`` that is no address. A check does not report
        it.
        identities: every identity of the envelope, by name, with up to a hundred values.
        values_left_out: the number of values that ``identities`` leaves out, of each identity that has more.
        limits: what each limit says, in the order of the policy; one entry for each key, up to a hundred of a limit.
        left_out: the number of keys that ``limits`` and ``covering`` leave out, because there are too many.
        unchecked: the names of limits that were not asked yet.
        covering: the blocks and allow entries that cover the envelope, up to a hundred.
    """

    allowed: bool
    limit: str | None
    stage: Stage | None
    reply: str | None
    problems: tuple[str, ...]
    identities: dict[str, ExplainedIdentity]
    values_left_out: dict[str, int]
    limits: tuple[ExplainedLimit, ...]
    left_out: int
    unchecked: tuple[str, ...]
    covering: tuple[CoveringEntry, ...]

    def __str__(self) -> str:
        """Returns one line for each finding; tags such as ``UNLISTED`` are explained at the end.

        Characters that are not printable are escaped, because a sender chooses names.
        """
        if self.allowed:
            unchecked = f"; not checked yet: {', '.join(self.unchecked)}" if self.unchecked else ""
            lines = [f"Allowed{unchecked}."]
        else:
            lines = [f"Refused at {self.stage} by {self.limit}: {self.reply}"]
        lines += [*self.problems, *map(str, self.covering)]
        lines += [f"  {name}: {identity}{self.more_values(name)}" for name, identity in self.identities.items()]
        lines += [f"  {limit}" for limit in self.limits]
        if self.left_out:
            lines.append(f"  {self.left_out:,} more keys are left out.")
        lines += [f"  {tag} stands for {meaning}." for tag, meaning in explained(self.keys())]
        return "\n".join(map(printable, lines))

    def more_values(self, identity: str) -> str:
        """Returns how many values of an identity are left out, as text; empty when none is."""
        left_out = self.values_left_out.get(identity, 0)
        return f" and {left_out:,} more" if left_out else ""

    def keys(self) -> list[str]:
        """Returns every value and key that the text of the explanation contains."""
        values = [value for identity in self.identities.values() for value in identity.values]
        return values + [limit.key for limit in self.limits if limit.key is not None]


@dataclass(frozen=True, slots=True)
class Table:
    """How full one table is.

    Attributes:
        table: the limit, or what the table holds: ``"sketch of …"``, ``"memory of …"``, ``"permits"``.
        bytes: its bytes; 0 for an in-flight limit, which has none of its own.
        slots: its slots; what an in-flight limit allows.
        used: the slots in use.
        untracked: charges that found no room, since start.
    """

    table: str
    bytes: int
    slots: int
    used: int
    untracked: int

    def __str__(self) -> str:
        part = f" ({self.used / self.slots:.0%})" if self.slots else ""
        memory = f", {size(self.bytes)}" if self.bytes else ""
        untracked = f", {self.untracked:,} charges found no room" if self.untracked else ""
        return f"{self.table}: {self.used:,} of {self.slots:,} slots used{part}{memory}{untracked}"


MOST_KEY_BYTES = 256
"""The longest key of a notice; a longer one is cut."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A limit began to refuse a key, or stopped.

    Attributes:
        serial: its number; each notice has one more than the one before.
        kind: ``"began"``; ``"stopped"`` when the key was not refused for ten minutes; ``"displaced"`` when it is
            followed no more, because another one was refused more often.
        since: Unix seconds of the first refusal.
        until: Unix seconds of the last refusal until then.
        limit: the limit, or the name of a built-in refusal (``"blocked"``, ``"max-open"``).
        identity: its identities.
        key: the key as refusals tell it, cut at 256 bytes. A sender may have chosen it: escape it before you print it.
        refused: how many checks were refused until then: 1 in a notice ``"began"`` among ``entries``, or more when
            the key displaced another one.
        mode: ``"shadow"`` when the limit admitted what it would have refused.
    """

    serial: int
    kind: Literal["began", "stopped", "displaced"]
    since: float
    until: float
    limit: str
    identity: str
    key: str
    refused: int
    mode: Mode

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """Its identities, each with its value.

        It is empty when a key of several values is cut, or a value contains the sign that joins them.
        """
        identities, values = self.identity.split(" + "), self.key.split(" + ")
        if len(identities) == 1:
            return ((self.identity, self.key),)
        is_whole = len(self.key.encode("utf-8", "surrogatepass")) < MOST_KEY_BYTES and len(values) == len(identities)
        return tuple(zip(identities, values, strict=True)) if is_whole else ()


@dataclass(frozen=True, slots=True)
class Notices:
    """What :meth:`throttle.Throttle.notices` returns.

    Attributes:
        entries: the notices, the oldest first.
        refusing: the keys that are refused now: the notice ``"began"`` of each, with the refused checks so far.
        overwritten: how many notices after the stated number are gone: 1,024 are kept.
        untracked: refusals that were followed by no notice, since 256 keys are followed at once.
        last: the number of the latest notice, for the next call.
    """

    entries: tuple[Notice, ...]
    refusing: tuple[Notice, ...]
    overwritten: int
    untracked: int
    last: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Durations of checks. One check in 64 is measured.

    Attributes:
        samples: the number of measured checks.
        sum_seconds: the sum of their durations.
        buckets: how many took at most so many seconds; the last bound is infinite.
    """

    samples: int
    sum_seconds: float
    buckets: dict[float, int]


@dataclass(frozen=True, slots=True)
class Metrics:
    """What checks came to since start: :meth:`throttle.Throttle.metrics`.

    Attributes:
        mode: the mode in force.
        checks: checks by the last stage that they asked, then by decision: ``"admitted"``, ``"refused"``, or
            ``"shadow"`` when one was admitted that something in shadow mode would have refused.
        refusals: checks that a limit or a built-in refusal (``"blocked"``, ``"max-open"``) refused, by name and by
            mode: ``"enforced"`` or ``"shadow"``. Each limit that refuses a check counts it.
        untracked: charges of each limit that found no room in its table.
        reports: what the server reported, by outcome.
        notices: the number of notices.
        evictions: known elements and notes that were forgotten early, because new ones needed their slots.
        latency: how long checks took.
        memory_bytes: bytes of all counters.
    """

    mode: Mode
    checks: dict[str, dict[str, int]]
    refusals: dict[str, dict[str, int]]
    untracked: dict[str, int]
    reports: dict[str, int]
    notices: int
    evictions: int
    latency: Latency
    memory_bytes: int


class Target(TypedDict):
    """A value that an operator may act on, and the ordinary mail that has it, too.

    Shares are between 0 and 1, of the messages that reached ``stage``.
    """

    identity: str
    value: str
    """A sender may have chosen it: escape it before you print it."""
    stage: Stage
    """The stage at which the identity becomes known."""
    whole_value: bool
    """Whether it is the whole value: of a very long text the sample keeps the end and a hash."""
    exact_value: bool
    """Whether an operator who types it names exactly it. A tag is none, and some names are read as other names."""
    can_block: bool
    """Whether :meth:`throttle.Throttle.block` takes the value. It is false for recipients, which are the victims."""
    ordinary_share: float
    """Its share of the quieter half of the hour before."""
    ordinary_matching: int
    """The messages of the sample of that half that a block of it would have refused."""
    proven_matching: int
    """The messages of proven senders, of the sample of the whole hour without the flood's minutes, that a block of it
    would have refused.
    """
    busiest_ordinary_minute: int
    """The most messages with it in a minute of that half, as an estimate."""


class Finding(Target):
    """A value that ties a surge, or a part of it, together."""

    also: list[Target]
    """Values of other identities that nearly all of its messages have."""
    of_part: bool
    """Whether most of the surge did not reach ``stage``, and this explains those messages that did."""
    mass_mail: bool
    """Whether it is the mail of one proven sender, and is let through."""
    surge_share: float
    """Its share of the messages that are more than ordinarily."""
    surge_messages: int
    """How many messages with it are more than ordinarily, as an estimate."""
    recent_share: float
    """Its share of the last minutes."""
    refused_share: float
    """Which part of its messages was refused, or would have been in shadow mode."""
    proven_share: float
    """Which part of its messages has a proven sender."""
    sampled: int
    """The recent messages of the sample that have it."""
    limits: dict[str, float]
    """The limits that refused its messages, with the part that each refused, the largest first."""


class DiagnosisRow(TypedDict):
    """The value of an identity that has more of the surge than any other. Shares are as in :class:`Target`."""

    identity: str
    value: str | None
    """``None`` when no recent message has a value."""
    stage: Stage
    recent_share: float
    ordinary_share: float
    refused_share: float
    reached: int
    """How many recent messages reached ``stage``, as an estimate."""
    sampled: int
    """How many messages of the sample did."""


class Diagnosis(TypedDict):
    """What :meth:`throttle.Throttle.diagnose` returns: plain data, which JSON can carry."""

    state: Literal["early", "quiet", "mass-mail", "surge", "scattered"]
    """``"early"``: there is too little history; ``"quiet"``: nothing is wrong; ``"mass-mail"``: nothing is wrong, one
    proven sender sends much; ``"surge"``: ``findings`` tell what it shares; ``"scattered"``: there is much more mail,
    and most of it has nothing in common."""
    at: float
    """Unix seconds."""
    recent_seconds: float
    """The length of the recent period: the last five minutes, of which the present one is not over."""
    before_minutes: int
    """How many minutes before were compared: at most 60."""
    messages: int
    """Recent messages, and how many of them a limit refused, or would have in shadow mode: exact."""
    refused: int
    ordinary_messages: int
    """How many messages come ordinarily in that time, by the ordinary ones of the minutes before."""
    sampled: int
    ordinary_sampled: int
    """The sizes of the samples."""
    findings: list[Finding]
    rows: list[DiagnosisRow]
    """One for each identity."""


class LimitPlan(TypedDict):
    """What one limit, or a quota of it, gets of the memory, and how much it can count with it.

    A table counts as full when one new key in a hundred finds no room.
    """

    limit: str
    quota: str | None
    """The value that the quota names; ``None`` for the limit itself."""
    per: str
    counted: str
    """``"messages"``, ``"connections"``, ``"recipients"``, ``"bytes"``, ``"reports"``, or the identity whose values it
    counts.
    """
    rate: str | None
    at_once: int | None
    """The burst, or what an in-flight limit allows; ``None`` for a sliding window."""
    bytes: int
    """Its own table, with its sketch or registers. An in-flight limit has none of its own."""
    memory_bytes: int
    """The seen set that it uses; limits may share one."""
    keys_per_minute: int | None
    """New keys, each with one message (of 64 KiB where bytes count) or one element, until its table is full;
    ``None`` when it cannot fill."""
    memory_full_hours: float | None
    """Hours until one key that brings new elements at the full rate has filled the memory; ``None`` without a memory,
    or when elements are forgotten as fast."""
    most_in_minute: int
    """The most that one key gets in any minute."""
    most_in_hour: int
    """The most that one key gets in any hour."""


def size(octets: int) -> str:
    """Returns a number of bytes as text: ``"1.2 MiB"``."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if octets >= factor:
            return f"{octets / factor:,.1f} {unit}".replace(".0 ", " ")
    return f"{octets} B"
