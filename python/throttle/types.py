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
    """What an identity is of an envelope. ``proven`` is ``None`` of what nobody can prove or claim: recipients, ``global``, a client without an address."""

    values: tuple[str, ...]
    proven: bool | None


class ExplainedLimit(TypedDict):
    """What one limit says of an envelope; one entry for each key.

    ``used`` of what fits ``at_once`` is taken, both in what the limit ``counts``, and the envelope ``adds`` so much more: of a fan-out, the elements that are not known.
    A limit that was not asked says why in ``reason``, and ``key`` to ``adds`` are ``None``. ``not checked`` it still may refuse: ``missing`` are the fields
    of the envelope that it needs, none when it runs at another stage. What ``does not apply`` will not.
    """

    limit: str
    stage: Stage
    identity: str
    counts: str
    allows: str
    """Its numbers, as a policy writes them: ``"600/minute, burst 6000"``."""
    quota_of: str | None
    """The named value of the key whose quota ``allows`` tells; ``None`` when they are the limit's own numbers."""
    verdict: Literal["fits", "refuses", "would refuse", "not checked", "does not apply"]
    reason: str | None
    missing: list[str]
    key: str | None
    proven: bool | None
    used: int | None
    at_once: int | None
    adds: int | None
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

    ``limit``, ``stage`` and ``reply`` are of the refusal, ``None`` when it is ``allowed``: by the limits that were asked. ``unchecked`` are those that were not yet.
    What is ``covering`` it goes before what the limits say: an allowance lets it pass all but what is open, a block refuses it.
    """

    allowed: bool
    limit: str | None
    stage: Stage | None
    reply: str | None
    identities: dict[str, ExplainedIdentity]
    limits: list[ExplainedLimit]
    unchecked: list[str]
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
