"""P6: whatever a sender writes, nothing raises, every field gets some key, and a refusal is one legal line."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given, settings

from given_guards import IDENTITIES, SEED, guard, is_sound, is_sound_hit, limit
from strategies import TEXT, envelopes
from throttle import Envelope, Policy, RateLimiter, Throttle

# One charge each, so that the second message of a sender is refused by every limit that has a key for it.
GUARDS = {name: guard(limit("only", name, "1/30 days")) for name in IDENTITIES}

INBOUND = Throttle(memory="8 MiB", seed=SEED)

# Scaled down until it refuses: then replies and the names of offenders are made of what senders write.
EVERY_KIND = Throttle(
    Policy.parse("scale = 0.001\n" + (Path(__file__).parents[2] / "benches" / "every_kind.toml").read_text()),
    memory="8 MiB",
    max_open=50,
    seed=SEED,
)

# Names are looked up a million times a minute: absent is what is blank, unknown or an address; all else has a key.
OF_FIELD = {
    "mail_from": ["sender.org"],
    "auth_user": ["auth.user"],
    "rcpt_to": ["rcpt.address", "rcpt.host"],
    "client_ip": ["client.ip", "client.net"],
}


@given(envelope=envelopes())
@example(envelope=Envelope(mail_from="\udc80@\ud800.com", rcpt_to=["\udfff"], spf="\ud800", size=-1))
@example(envelope=Envelope(mail_from=b"\xff@" + b"a." * 127 + b"com", size=2**64))
@settings(max_examples=300)
def test_nothing_raises_and_what_is_told_is_sound(envelope: Envelope) -> None:
    assert repr(envelope).startswith("Envelope(")
    for stage in (None, "connect", "helo", "mail", "rcpt", "data"):
        decisions = [INBOUND.peek(envelope, stage=stage), INBOUND.check(envelope, stage=stage)]
        assert all(is_sound(decision) for decision in decisions), decisions
    decision = INBOUND.check(envelope)
    assert decision.identities == INBOUND.identities(envelope)
    assert repr(decision)


@given(envelope=envelopes())
@example(envelope=Envelope(mail_from="a@b.com", auth_user="ü" * 100))  # names that are cut, within a character or not
@example(envelope=Envelope(mail_from="a@b.com", auth_user="a" + "ü" * 100))
@settings(max_examples=300)
def test_nothing_raises_under_every_kind_of_limit_held_or_looked_at(envelope: Envelope) -> None:
    for stage in (None, "connect", "helo", "mail", "rcpt", "data"):
        with EVERY_KIND.admit(envelope, stage=stage) as permit:
            assert is_sound(permit.decision)
            assert bool(permit) == permit.decision.allowed
    decision = EVERY_KIND.check(envelope)
    assert is_sound(decision)
    assert set(decision.shadow) <= {"watched"}
    for identity in ("client.net/24/48", "sender.org", "sender.host", "auth.user", "rcpt.address", "helo.org"):
        assert EVERY_KIND.distinct(identity) >= 0
        assert all(offender.value.encode() for offender in EVERY_KIND.top(identity))


@given(envelope=envelopes())
def test_every_field_that_is_there_has_a_key(envelope: Envelope) -> None:
    identities = INBOUND.identities(envelope)
    for field, names in OF_FIELD.items():
        if getattr(envelope, field):
            assert all(identities[name] for name in names), (field, identities)
    texts = [text for value in identities.values() for text in ([value] if isinstance(value, str) else value)]
    assert all(texts)
    assert "".join(texts).encode()  # no lone surrogate is left in what is shown


@given(envelope=envelopes())
@settings(max_examples=50)
def test_a_key_that_is_there_counts_and_one_that_is_absent_does_not(envelope: Envelope) -> None:
    for name, strict in GUARDS.items():
        strict.check(envelope)
        again = strict.check(envelope)
        shown = strict.identities(envelope).get(name)
        stages_known = envelope.mail_from is not None and (not name.startswith("rcpt") or len(envelope.rcpt_to) > 0)
        assert bool(again) == (not stages_known or shown is None), (name, shown)
        assert is_sound(again)
        if not again:
            assert (again.limit, again.identity) == ("only", name)
            assert again.key in ([shown] if isinstance(shown, str) else shown or ())


@given(key=TEXT)
def test_a_limiter_takes_any_text(key: str | bytes) -> None:
    limiter = RateLimiter("1/day")
    assert limiter.hit(key)
    refused = limiter.hit(key)
    assert not refused
    assert is_sound_hit(refused)
    assert refused.key == key
    assert repr(refused)
