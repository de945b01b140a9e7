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


class Table(TypedDict):
    """How full one table is."""

    table: str
    bytes: int
    slots: int
    used: int
    untracked: int
