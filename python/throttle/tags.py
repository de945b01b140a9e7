"""Tags: the values of an identity that has no name of its own, in capital letters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TAGS = {
    "NULL": "the empty envelope sender of bounces",
    "UNQUALIFIED": "an address without a domain, or with a single label or a bare public suffix as its domain; "
    "all such addresses count together",
    "LITERAL": "an address in brackets in place of a domain, such as [192.0.2.1]; all such addresses count together",
    "UNLISTED": "a name under a top-level domain that the public suffix list lacks; all such names count together",
    "MALFORMED": "bytes that are no text, or a text that is no host name; all such values count together",
    "OVERLONG": "a value longer than any host name or local part can be; all such values count together",
    "UNKNOWN": "a client whose address is absent or is no IP address; all such clients count together",
    "MANY": "a From or Reply-To with more than eight addresses, with text but no address, or too long to be read; "
    "all such fields count together",
}
"""What each tag stands for."""


def explained(keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields each tag that one of ``keys`` contains, with what it stands for."""
    words = {word for key in keys for word in re.findall(r"\b[A-Z]+\b", key)}
    return ((tag, meaning) for tag, meaning in TAGS.items() if tag in words)
