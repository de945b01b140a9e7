"""P6 and P7 over a million hostile envelopes: nothing raises, every field has a key, `str` and its bytes are one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from given_guards import IDENTITIES, REAL, guard, is_sound, limit
from given_hostile import envelopes

if TYPE_CHECKING:
    import random

    from throttle import Envelope

COUNT = 1_000_000

LOOKED_AT = 100  # one in so many is looked at from all sides

# Not all of them: each limit costs, and what is wider than these holds the same text.
WATCHED = [
    name
    for name in IDENTITIES
    if name not in ("client.net", "client.net/0/0", "client.net/32/128", "sender.org+1", "global")
]

ALWAYS = ("client.ip", "client.net", "sender.org")


def other_form(text: str | bytes) -> str | bytes:
    """The same octets as the other of Python's two types."""
    return text.encode(errors="surrogateescape") if isinstance(text, str) else text.decode(errors="surrogateescape")


def in_the_other_form(envelope: Envelope) -> Envelope:
    texts = {
        field: getattr(envelope, field)
        for field in ("client_ip", "client_name", "helo", "mail_from", "auth_user", "list_id")
    }
    changes: dict[str, Any] = {field: None if text is None else other_form(text) for field, text in texts.items()}
    for field in ("rcpt_to", "header_from", "reply_to", "dkim"):
        changes[field] = [other_form(text) for text in getattr(envelope, field)]
    return envelope.replace(**changes)


@pytest.mark.slow
def test_a_million_hostile_envelopes_are_decided(rng: random.Random) -> None:
    strict = guard(*(limit(f"by-{number}", name, "30/second") for number, name in enumerate(WATCHED)))
    refused: Counter[str | None] = Counter()
    for number, envelope in enumerate(envelopes(rng, COUNT)):
        decision = strict.check(envelope, now=REAL + number / 1e3)
        if not decision:
            refused[decision.identity] += 1
            assert is_sound(decision), (envelope, decision)
    assert number + 1 == COUNT
    assert refused.total() < 0.99 * COUNT  # both ways out were taken, and not always at the same limit
    assert len(refused) >= 5, refused


def test_of_hostile_envelopes_every_field_has_a_key_and_str_is_its_bytes(rng: random.Random) -> None:
    strict = guard(*(limit(f"by-{number}", name, "1000000/second") for number, name in enumerate(IDENTITIES)))
    for envelope in envelopes(rng, COUNT // LOOKED_AT):
        decision = strict.check(envelope)
        identities = decision.identities
        assert is_sound(decision)
        assert all(identities[name] for name in ALWAYS), (envelope, identities)
        assert ("rcpt.address" in identities) == (len(envelope.rcpt_to) > 0)
        for name, field in (("from.org", "header_from"), ("reply_to.org", "reply_to"), ("dkim.org", "dkim")):
            assert (len(identities.get(name, ())) > 0) == (len(getattr(envelope, field)) > 0)
        assert strict.identities(in_the_other_form(envelope)) == identities
        assert repr(envelope)
