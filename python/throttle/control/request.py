"""A request to a running service: a verb and its fields, each of which is taken once.

Invariant: a field of a wrong type, or one that nothing takes, is an error that names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from throttle._core import duration_seconds
from throttle.errors import ThrottleError

if TYPE_CHECKING:
    from throttle import Throttle
    from throttle.serve.guards import Guards, PolicySource
    from throttle.serve.log import Log


class RequestError(ThrottleError):
    """A request that cannot be done. The text is sent to the client."""


@dataclass(slots=True)
class Request:
    """The fields of a request. Each is taken once, and none may be left."""

    verb: str
    fields: dict[str, Any]
    guards: Guards
    log: Log
    started_at: float

    def text(self, name: str) -> str:
        """Takes a field that must be text."""
        value = self.optional_text(name)
        if value is None:
            raise RequestError(f"{name}: found nothing; allowed: text")
        return value

    def optional_text(self, name: str, *, is_raw: bool = False) -> str | None:
        """Takes a field that may be text. Half a surrogate pair stands for a byte of raw text, and is no character."""
        value = self.fields.pop(name, None)
        if isinstance(value, str) and not (is_raw or _is_unicode(value)):
            raise RequestError(f"{name}: found {shown(value)}; allowed: Unicode text")
        if value is not None and not isinstance(value, str):
            raise RequestError(f"{name}: found {shown(value)}; allowed: text")
        return value

    def number(self, name: str, default: int, most: int) -> int:
        """Takes a field that may be a whole number."""
        value = self.fields.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise RequestError(f"{name}: found {shown(value)}; allowed: a whole number from 0 to {most}")
        return value

    def flag(self, name: str) -> bool:
        """Takes a field that may be true."""
        value = self.fields.pop(name, False)
        if not isinstance(value, bool):
            raise RequestError(f"{name}: found {shown(value)}; allowed: true or false")
        return value

    def duration(self) -> float | None:
        """Takes the field `for`, a time as a policy writes it."""
        text = self.optional_text("for")
        try:
            return None if text is None else float(duration_seconds(text))
        except ValueError as error:
            raise RequestError(f"for: {str(error).removeprefix('duration: ')}") from error

    def chosen(self) -> list[tuple[PolicySource, Throttle]]:
        """Takes the field `policy`, and returns the guard of that name; without it, all of them."""
        name = self.optional_text("policy")
        found = [(source, guard) for source, guard in self.guards if name is None or source.name == name]
        if not found:
            names = [source.name for source, _ in self.guards]
            allowed = "none, since the only policy has no name" if names == [""] else ", ".join(map(repr, names))
            raise RequestError(f"policy: found {shown(name)}; allowed: {allowed}")
        return found

    def end(self) -> None:
        """Refuses fields that nothing has taken."""
        if self.fields:
            raise RequestError(f"{self.verb}: found the field {shown(min(self.fields))}, which it does not have")


def _is_unicode(text: str) -> bool:
    """Whether it has no half of a surrogate pair, which JSON can write and no name has."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def shown(value: object) -> str:
    """Returns what was found, for an error: cut, since a client may have sent anything."""
    return repr(value)[:80]
