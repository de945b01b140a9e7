"""What the border server found out about a message, out of its `Authentication-Results` headers (RFC 8601).

It verifies nothing itself: it believes every such header that bears the name of a server you trust.
**That server must remove headers with its own name from what it receives** (RFC 8601 §5), or a sender writes them
himself and is proven.

Needs the extra ``mailthrottle[auth]``. Knows no limits. Invariant: what a message holds raises nothing.
"""

from __future__ import annotations

from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING, Any

try:
    import authres
except ImportError as error:
    raise ImportError("throttle.auth needs authres: pip install 'mailthrottle[auth]'", name="authres") from error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from throttle import Envelope

#: Octets of a message's header that are looked at.
MOST_OCTETS = 256 * 1024
#: Characters of one field, and fields of the name: what a server adds stands at the top. The parser takes quadratic
#: time in a field.
MOST_FIELD_CHARACTERS = 4096
MOST_FIELDS = 8


def with_results(envelope: Envelope, message: bytes, *, authserv_id: str) -> Envelope:
    """A copy with the SPF verdict for MAIL FROM and the domains of verified DKIM signatures that ``authserv_id``
    wrote down.

    Headers of any other name count as if they were not there; it must be exactly that name, but for its case.
    Of several verdicts on SPF the topmost counts, as the latest. A method that no header tells of stays as it was in
    ``envelope``.

    Args:
        message: the message, or its header.
        authserv_id: the name under which your border server writes its results, as ``mx.example.net``.

    Raises:
        TypeError: ``message`` is not ``bytes``.
    """
    spf, dkim = envelope.spf, dict[str, None]()
    verdicts: list[str] = []
    for result in _results(message, authserv_id):
        if result.method == "spf" and (result.smtp_mailfrom is not None or result.smtp_helo is None):
            verdicts.append(result.result)
        if result.method == "dkim" and result.result == "pass" and result.header_d:
            dkim[result.header_d] = None
    return envelope.replace(spf=verdicts[0] if verdicts else spf, dkim=tuple(dkim) or envelope.dkim)


def _results(message: bytes, authserv_id: str) -> Iterator[Any]:
    wanted = authserv_id.lower()
    fields = [field for field in _fields(message) if field.lower().startswith(wanted)]
    for field in fields[:MOST_FIELDS]:
        try:
            header = authres.AuthenticationResultsHeader.parse_value(field)
        except Exception:  # noqa: BLE001, S112
            # What a sender may have written raises nothing, whatever the parser thinks of it.
            continue
        if header.authserv_id.lower() == wanted:
            yield from header.results


def _fields(message: bytes) -> list[str]:
    """All of them from the top, unfolded."""
    if not isinstance(message, bytes):
        raise TypeError(f"message: found {type(message).__name__}; allowed: bytes")
    header = BytesHeaderParser().parsebytes(_header(message))
    fields = (str(field) for field in header.get_all("Authentication-Results", []))
    unfolded = (field.replace("\r", "").replace("\n", "").strip() for field in fields)
    return [field for field in unfolded if len(field) <= MOST_FIELD_CHARACTERS]


def _header(message: bytes) -> bytes:
    start = message[:MOST_OCTETS]
    ends = [end for end in (start.find(b"\n\n"), start.find(b"\r\n\r\n")) if end >= 0]
    return start[: min(ends) + 1] if ends else start
