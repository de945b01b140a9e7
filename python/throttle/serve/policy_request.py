"""Requests of Postfix's policy delegation, cut out of a stream of bytes and parsed (SMTPD_POLICY_README).

A request is lines `name=value`, and an empty line ends it. The values may hold any bytes but NUL and LF. Every CR is
dropped, wherever it stands. Attributes may come in any order; unknown ones are skipped, missing ones are empty, and of
several with one name the first counts.

This module knows no session and no limit.
Invariants: how the stream is cut into reads changes nothing. No more than `MOST_REQUEST_BYTES` wait for the end of
their request. No bytes raise anything but `RequestTooLongError`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_REQUEST_BYTES = 1 << 16
"""The longest request. Those of Postfix have about a thousand bytes."""

MOST_VALUE_BYTES = 2048
"""What is read of a value: Postfix's own `line_length_limit`. It bounds what a session keeps."""


class RequestTooLongError(Exception):
    """A request of more than `MOST_REQUEST_BYTES`."""


class PolicyRequest(NamedTuple):
    """The attributes that are used, in the order in which Postfix sends them. A missing one is empty."""

    protocol_state: bytes
    client_address: bytes
    client_name: bytes
    client_port: bytes
    helo_name: bytes
    sender: bytes
    recipient: bytes
    instance: bytes
    size: bytes
    sasl_username: bytes
    policy_context: bytes


NAMES = tuple(name.encode() for name in PolicyRequest._fields)

# One whole request, as Postfix writes it. One match takes a quarter of the time that a dictionary of all attributes
# takes, and on any bytes its time is linear, because the groups are atomic.
_FROM_POSTFIX = re.compile(
    rb"request=smtpd_access_policy\n"
    + b"".join(rb"(?>(?:[^\n]+\n)*?" + name + rb"=)([^\n]*)\n" for name in NAMES)
    + rb"(?>(?:[^\n]+\n)*)\n\Z"
)


class RequestReader:
    """Cuts a stream into requests, and parses them."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    @property
    def unfinished(self) -> bool:
        """Whether a part of a request has come."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[PolicyRequest | None]:
        """Returns the requests that `data` completes; `None` stands for one that is no `smtpd_access_policy`.

        Raises:
            RequestTooLongError: a request is too long. The reader is of no use afterwards.
        """
        if b"\r" not in data and len(data) <= MOST_VALUE_BYTES and not self._rest:
            match = _FROM_POSTFIX.match(data)
            if match is not None:
                return [tuple.__new__(PolicyRequest, match.groups())]
        if b"\r" in data:
            data = data.replace(b"\r", b"")
        if self._rest:
            data = self._rest + data
        *requests, self._rest = data.split(b"\n\n")
        if len(data) > MOST_REQUEST_BYTES and max(map(len, (*requests, self._rest))) > MOST_REQUEST_BYTES:
            self._rest = b""
            raise RequestTooLongError
        return [_parse(request) for request in requests if request]


def _parse(request: bytes) -> PolicyRequest | None:
    """Parses one request without its empty line."""
    lines = reversed(request.split(b"\n"))
    attributes = dict(line.split(b"=", 1) for line in lines if b"=" in line)
    if attributes.get(b"request") != b"smtpd_access_policy":
        return None
    return PolicyRequest._make(attributes.get(name, b"")[:MOST_VALUE_BYTES] for name in NAMES)
