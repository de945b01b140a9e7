"""Names for the types that the interface speaks in."""

from typing import Literal, TypeAlias, TypedDict

Text: TypeAlias = str | bytes
"""What a sender wrote; a ``str`` and its UTF-8 ``bytes`` make the same identity."""

Stage: TypeAlias = Literal["connect", "helo", "mail", "rcpt", "data"]
"""A point of the SMTP dialogue at which something becomes known."""

Size: TypeAlias = int | str
"""Bytes, or text such as ``"64 MiB"``."""

Window: TypeAlias = Literal["minute", "hour"]
"""How far back a count goes."""


Mode: TypeAlias = Literal["enforce", "shadow"]
"""Whether a limit or a policy refuses, or only says that it would."""


class ExplainedIdentity(TypedDict):
    """What an identity is of an envelope."""

    values: tuple[str, ...]
    proven: bool


class ExplainedLimit(TypedDict):
    """What one limit has to do with an envelope; one entry for each key.

    ``level`` of ``most`` is used up, both in what the limit ``counts``, and the envelope ``takes`` so much more: of a fan-out, the elements that are not known.
    A limit that has nothing to do with it is ``skipped`` for a ``reason``, and ``key`` to ``takes`` are ``None``.
    """

    limit: str
    stage: Stage
    identity: str
    counts: str
    quota: str
    quota_of: str | None
    verdict: Literal["fits", "refuses", "would refuse", "skipped"]
    reason: str | None
    key: str | None
    proven: bool | None
    level: int | None
    most: int | None
    takes: int | None
    retry_after: float


class CoveringWord(TypedDict):
    """What an operator said that covers an envelope, or a limit's block of a key that it has; for so many ``seconds``, infinite when for good."""

    action: Literal["block", "allow"]
    identity: str
    value: str
    by: str
    unverified: bool
    seconds: float


class Explanation(TypedDict):
    """What a check of an envelope would look at, and what it would come to.

    What is ``covering`` it goes before what the limits say: an allowance lets it pass all but what is open, a block refuses it.
    """

    allowed: bool
    limit: str | None
    reply: str | None
    identities: dict[str, ExplainedIdentity]
    limits: list[ExplainedLimit]
    covering: list[CoveringWord]


class Table(TypedDict):
    """How full one table is."""

    table: str
    bytes: int
    slots: int
    used: int
    untracked: int


class LimitPlan(TypedDict):
    """What one limit, or a quota of it, gets of the memory, and what that is worth.

    A table is full when one new key in a hundred finds no room.
    """

    limit: str
    quota: str | None
    """The named value, of a quota."""
    per: str
    counted: str
    """``"messages"``, ``"connections"``, ``"recipients"``, ``"bytes"``, or the identity of which it counts different values."""
    rate: str | None
    at_once: int | None
    """The burst, or the cap of what is open; a sliding window has neither."""
    bytes: int
    """Its own table, with the sketch or the registers beside it. What is open has none of its own."""
    memory_bytes: int
    """The memory of known elements that it asks; limits may share one."""
    keys_per_minute: int | None
    """New keys, each with one message (of 64 KiB where bytes count) or one element, until its table is full; ``None`` when it cannot fill."""
    memory_full_hours: float | None
    """Until one key that brings new elements at the full rate has filled the memory; ``None`` without one, or when elements are forgotten as fast."""
    most_in_minute: int
    """What one key gets at most in any minute."""
    most_in_hour: int
