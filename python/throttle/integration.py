"""What the integrations into mail servers share: the reply to a fault, the log of faults, the size in MAIL, and what
the arguments of a caller must be.

It knows no server.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

from throttle import RateLimiter
from throttle.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable


FAULT_REPLY = ("451", "4.3.0", "local fault; try again later")
"""The answer to a step that met a fault: the client keeps the message and tries again."""


class FaultLog:
    """Logs faults, up to six times a minute for a step and a class of exceptions: a client repeats a fault at will.

    The text of an exception may contain what a client sent, so it is escaped.
    """

    def __init__(self, name: str) -> None:
        self.logger = logging.getLogger(name)
        self.lines = RateLimiter("6/minute", memory="64 KiB")

    def __call__(self, step: str, error: BaseException) -> None:
        """Logs the exception of a step, and where it was raised."""
        if self.lines.hit(f"{step} {type(error).__qualname__}"):
            stack = "".join(traceback.format_tb(error.__traceback__))
            self.logger.error("%s", f"fault at {step}: {printable(repr(error))}\n{stack}".rstrip())


def check_guard(guard: object) -> None:
    """Raises `TypeError` for what has no sessions, which would otherwise be a fault of every connection."""
    if not callable(getattr(guard, "session", None)):
        raise TypeError(f'guard: found {type(guard).__name__}; allowed: Throttle, as Throttle("inbound")')


def check_function(name: str, found: object, allowed: str = "a function") -> None:
    """Raises `TypeError` for what cannot be called, which would otherwise be a fault of every step."""
    if not callable(found):
        raise TypeError(f"{name}: found {type(found).__name__}; allowed: {allowed}")


def declared_size(parameters: Iterable[str]) -> int | None:
    """The octets that the parameters of MAIL declare (RFC 1870 §6: at most twenty digits)."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.upper() == "SIZE" and value.isascii() and value.isdecimal() and len(value) <= 20:
            return int(value)
    return None
