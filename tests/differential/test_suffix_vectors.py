"""The Public Suffix List's own vectors, through the guard."""

from __future__ import annotations

import re
from pathlib import Path

from throttle import Envelope, Throttle

VECTORS = Path(__file__).parents[2] / "rust/core/tests/data/test_psl.txt"

LINE = re.compile(r"^checkPublicSuffix\((null|'[^']*'), (null|'[^']*')\);$", re.MULTILINE)

# A leading dot makes an empty label and a MALFORMED host, whose organisation is still taken from its last labels:
# otherwise a dot in front would be a way out of an organisation's limits.
DIFFERENT = {".example.com": "example.com", ".example.example": "example.example"}

GUARD = Throttle(memory="8 MiB")


def sender(host: str | None) -> dict[str, str | tuple[str, ...]]:
    return GUARD.identities(Envelope(mail_from=None if host is None else f"u@{host}"))


def organisation(host: str | None) -> str | None:
    """Of the host: nothing when it is a public suffix, so that any label in front makes an organisation of its own."""
    org = sender(host).get("sender.org")
    assert org is None or isinstance(org, str)
    return org if org and org.islower() and sender(f"x.{host}")["sender.org"] == org else None


def a_labels(host: str | None) -> str | None:
    return None if host is None else str(sender(host)["sender.host"])


def test_organisations_agree_with_the_lists_own_vectors() -> None:
    found = LINE.findall(VECTORS.read_text(encoding="utf-8"))
    vectors = [tuple(None if text == "null" else text.strip("'") for text in line) for line in found]
    assert len(vectors) == 78
    differences = {host: organisation(host) for host, expected in vectors if organisation(host) != a_labels(expected)}
    assert differences == DIFFERENT
