"""The limits of a policy that cannot act in a policy service, and the setting of Postfix that does their work.

Postfix tells a policy service neither when a connection ends nor what a header or SPF says, and nobody reports what
was found out later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from throttle import Limit, Policy

_HEADERS = ("from.", "reply_to.", "list.", "dkim.")
_AT_THE_END = "list the service in smtpd_end_of_data_restrictions, too"
_OF_REPORTS = {
    "auth-failure": "smtpd_client_auth_rate_limit",
    "unknown-recipient": "smtpd_soft_error_limit and smtpd_hard_error_limit",
    "spam": "a milter or content_filter that scans",
    "virus": "a milter or content_filter that scans",
}


class InactiveLimit(NamedTuple):
    """A limit that cannot act, why, and what to set in place of it."""

    limit: str
    reason: str
    instead: str

    @property
    def may_act(self) -> bool:
        """Whether it acts when the service is listed elsewhere, too."""
        return self.instead == _AT_THE_END

    def __str__(self) -> str:
        return f"{self.limit} cannot act here: {self.reason}; instead: {self.instead}"


def inactive_limits(policy: Policy) -> Iterator[InactiveLimit]:
    """Yields the limits of a policy that a policy service cannot ask, or asks only when it is listed elsewhere, too."""
    for limit in policy.limits:
        found = _why(limit)
        if found is not None:
            yield InactiveLimit(limit.name, *found)


def _why(limit: Limit) -> tuple[str, str] | None:
    fields = limit.fields
    counts = fields.get("count", "messages")
    if "in_flight" in fields:
        in_bytes = isinstance(fields["in_flight"], str) or counts == "bytes"
        return "Postfix does not say when something ends", _for_in_flight(limit, in_bytes)
    if any(identity.startswith(_HEADERS) for identity in _identities(limit)):
        return "Postfix sends no headers", "throttle serve --milter"
    if fields.get("verified") == "unproven":
        return "Postfix sends no SPF result", "throttle serve --milter"
    if counts == "reports":
        return "nobody reports here", " / ".join(sorted({_OF_REPORTS[outcome] for outcome in fields["reports"]}))
    if counts == "bytes" or limit.stage == "data":
        return "Postfix tells the size at the end of the message", _AT_THE_END
    return None


def _for_in_flight(limit: Limit, in_bytes: bool) -> str:
    if in_bytes:
        return "message_size_limit and queue_minfree"
    if limit.per == "global":
        return "default_process_limit, or the maxproc of smtpd in master.cf"
    return "smtpd_client_connection_count_limit"


def _identities(limit: Limit) -> Iterator[str]:
    yield from limit.per.split(" + ")
    for field in ("distinct", "new_to"):
        value = limit.fields.get(field) or ()
        yield from (value,) if isinstance(value, str) else value
