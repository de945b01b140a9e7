"""What the border server found out about a message, out of its `Authentication-Results` headers (RFC 8601).

It verifies nothing itself: it believes the topmost headers that bear the name of a server you trust.
**That server must remove headers with its own name from what it receives** (RFC 8601 §5), or a sender writes them
himself and is proven.

The compiled module reads the headers. Knows no limits. Invariant: what a message holds raises nothing.
"""

from __future__ import annotations

from throttle import Envelope
from throttle._core import authentication_results


def with_results(envelope: Envelope, message: bytes, *, authserv_id: str, fields: int = 1) -> Envelope:
    """A copy with the SPF verdict for MAIL FROM and the domains of verified DKIM signatures that ``authserv_id``
    wrote down.

    Of the headers that bear this name, the topmost ``fields`` count. Headers of any other name count as if they were
    not there; it must be exactly that name, but for its case. Of several verdicts on SPF the topmost counts, as the
    latest. The domain of a signature is its ``header.d``, or that of its ``header.i`` where the server writes no
    ``header.d``. A result that cannot be read is dropped, and the results next to it are read. A method that no header
    tells of stays as it was in ``envelope``.

    A header with a carriage return inside a line counts for nothing, and so does one of more than 64 KiB. The first
    256 KiB of a message are read.

    Args:
        message: the message, or its header.
        authserv_id: the name under which your border server writes its results, as ``mx.example.net``.
        fields: how many such headers your server adds to each message.

    Raises:
        TypeError: ``envelope`` is no `Envelope`, or ``message`` is not ``bytes``.
        ValueError: ``authserv_id`` is empty, or has a blank, a semicolon or a parenthesis; ``fields`` is less than 1.
    """
    if not isinstance(envelope, Envelope):
        raise TypeError(f"envelope: found {type(envelope).__name__}; allowed: Envelope")
    if not authserv_id or any(letter in " \t\r\n;()" for letter in authserv_id):
        raise ValueError(f"authserv_id: found {authserv_id!r}; allowed: a name such as 'mx.example.net'")
    if fields < 1:
        raise ValueError(f"fields: found {fields}; allowed: 1 or more")
    spf, dkim = authentication_results(message, authserv_id.encode(), fields)
    return envelope.replace(spf=envelope.spf if spf is None else spf, dkim=dkim or envelope.dkim)
