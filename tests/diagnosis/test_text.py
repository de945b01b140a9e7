"""The text of a diagnosis: what holds a flood, commands that are safe to type, and names that are safe to print."""

from __future__ import annotations

import json
import random
import shlex
from typing import TYPE_CHECKING

import pytest

from surges import END_US, OPEN, SURGES, Surge, flood, invented, word
from throttle import Envelope, Policy, Throttle, ThrottleError
from throttle.diagnosis import described, report, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from throttle.types import EnvelopeFields

NOW = END_US / 1e6

#: What hostile senders call themselves, by the identity that shows it.
HOSTILE: dict[str, EnvelopeFields] = {
    "sender.address": {"mail_from": '"<script>alert(1)</script>"@evil.com'},
    "reply_to.address": {"reply_to": "$(reboot)`id`;'@evil.com"},
    "from.address": {"header_from": "-rf@evil.com"},
    "auth.user": {"auth_user": "\x1b]0;owned\x07\x1b[2J\u202eresu"},
    "helo.host": {"helo": "\x1b[31mred\x1b[0m.evil.com"},
    "list.id": {"list_id": "<a\r\nInjected: line\x9b31m.evil.com>"},
}


def told_of(guard: Throttle) -> str:
    return report(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)


def of_one_organisation(rng: random.Random, n: int) -> EnvelopeFields:
    return invented(rng, mail_from=f"bounce@{word(rng)}.sender-inc.com", reply_to="case@desk.com")


def test_what_holds_the_flood_is_told_with_what_it_counts(flooded: Callable[..., Throttle]) -> None:
    """The organisation explains as much. Of two values that no ordinary message has, the one is named to which answers
    go: a sender is only claimed.
    """
    guard = flooded(flood(Surge("", of_one_organisation, "surge", ()), 4, 3))
    told = told_of(guard)
    notice = next(notice for notice in guard.notices(now=NOW).refusing if notice.key == "sender-inc.com")
    first = told.partition("\n")[0]
    assert " % of the surge of the last 4 minutes shares reply_to.address case@desk.com; " in first
    assert f"; {notice.refused:,} new hosts under sender-inc.com; held by {notice.limit} since " in first
    assert (
        "Nearly all messages with reply_to.address case@desk.com also share reply_to.org desk.com, sender.org" in told
    )


def test_in_shadow_mode_a_flood_is_told_with_the_limit_that_would_hold_it(flooded: Callable[..., Throttle]) -> None:
    def proven(rng: random.Random, n: int) -> EnvelopeFields:
        return {**of_one_organisation(rng, n), "spf": "pass"}

    shadow = Policy.parse('extends = "inbound"\nmode = "shadow"\n')
    guard = flooded(flood(Surge("", proven, "surge", ()), 4, 3), shadow)
    first = told_of(guard).partition("\n")[0]
    assert "shares reply_to.address case@desk.com" in first
    assert "org-fan-out would hold it, and is in shadow mode" in first


def test_many_proven_mailboxes_of_one_provider_are_no_newsletter(flooded: Callable[..., Throttle]) -> None:
    """Each sender is proven, and has a From of its own; the answers go to one mailbox."""

    def mailbox(rng: random.Random, n: int) -> EnvelopeFields:
        sender = f"{word(rng)}@gmail.com"
        return invented(rng, mail_from=sender, header_from=sender, reply_to="scam@collect.ru", spf="pass")

    guard = flooded(flood(Surge("", mailbox, "surge", ()), 4, 3), OPEN)
    diagnosis = guard.diagnose(now=NOW)
    assert diagnosis["state"] == "surge"
    assert (diagnosis["findings"][0]["identity"], diagnosis["findings"][0]["value"]) == (
        "reply_to.address",
        "scam@collect.ru",
    )


def test_commands_have_the_options_of_whoever_asked(flooded: Callable[..., Throttle]) -> None:
    guard = flooded(flood(SURGES[0], 4, 3))
    told = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)
    options = ["--control", "/run/my socket", "--policy", ""]
    command = "throttle ctl block --control '/run/my socket' --policy '' --for '1 hour' reply_to.address case@desk.com"
    assert command in text(told, options)


def test_new_elements_are_told_when_a_limit_counts_another_identity(flooded: Callable[..., Throttle]) -> None:
    guard = flooded(flood(SURGES[0], 4, 3))
    notice = next(notice for notice in guard.notices(now=NOW).refusing if notice.limit == "reply-to-fan-out")
    first = told_of(guard).partition("\n")[0]
    assert f"; {notice.refused:,} new organisations under desk.com; held by reply-to-fan-out since " in first


def test_the_text_can_be_made_in_another_process(flooded: Callable[..., Throttle]) -> None:
    guard = flooded(flood(SURGES[9], 4, 2))
    sent = json.dumps(described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy))
    assert text(json.loads(sent)) == told_of(guard)


@pytest.mark.parametrize("identity", HOSTILE)
def test_hostile_names_are_harmless(identity: str, flooded: Callable[..., Throttle]) -> None:
    surge = Surge(identity, lambda rng, n: {**invented(rng), **HOSTILE[identity]}, "surge", ())
    guard = flooded(flood(surge, 4, 2), OPEN)
    diagnosis = guard.diagnose(now=NOW)
    (finding,) = diagnosis["findings"]
    told = described(diagnosis, guard.notices(now=NOW), guard.policy)
    assert finding["identity"] == identity
    assert all(line.isprintable() for line in text(told).splitlines())
    command = told["findings"][0]["action"]["command"]
    if command is not None:
        *_, given = shlex.split(command)
        assert given == told["findings"][0]["action"]["value"]
        assert not given.startswith("-") or shlex.split(command)[-2] == "--"
        guard.block(told["findings"][0]["action"]["identity"], given)
    assert text(told).count("\n    throttle ctl ") == (command is not None)


def test_a_value_with_much_ordinary_mail_is_bounded_and_not_blocked(flooded: Callable[..., Throttle]) -> None:
    """A provider that sends a part of all mail is forged."""
    surge = Surge("", lambda rng, n: invented(rng, mail_from=f"{word(rng)}@gmail.com"), "surge", ())
    guard = flooded(flood(surge, 4, 3), OPEN)
    told = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)
    (found,) = told["findings"]
    assert found["finding"]["ordinary_share"] > 0.01
    assert found["action"]["command"] is None
    assert 'quota."gmail.com" = { rate = "' in (found["action"]["toml"] or "")


def test_instead_of_a_value_that_is_longer_than_the_sample_keeps_another_gets_the_command(
    flooded: Callable[..., Throttle],
) -> None:
    address = f"{'a' * 60}@{'b' * 60}.desk.com"
    surge = Surge("", lambda rng, n: invented(rng, reply_to=address), "surge", ())
    guard = flooded(flood(surge, 4, 2), OPEN)
    (finding,) = guard.diagnose(now=NOW)["findings"]
    assert finding["identity"] == "reply_to.address"
    assert finding["value"].endswith(".desk.com")
    assert not finding["whole_value"]
    assert "throttle ctl block --for '1 hour' reply_to.org desk.com\n" in told_of(guard) + "\n"


def test_too_little_history_is_told() -> None:
    guard = Throttle(OPEN, sample=True)
    for second in range(600):
        guard.check(Envelope(client_ip="192.0.2.1"), now=NOW + second)
    diagnosis = guard.diagnose(now=NOW + 600)
    assert diagnosis["state"] == "early"
    assert report(diagnosis, guard.notices(now=NOW), guard.policy).startswith(
        "There is too little history: 5 full minutes"
    )


def test_a_guard_without_samples_says_how_to_get_them() -> None:
    guard = Throttle(OPEN)
    assert guard.sample_bytes == 0
    with pytest.raises(ThrottleError, match="sample=True"):
        guard.diagnose()


@pytest.mark.parametrize("value", ['"<info"@bank.com', '"info>"@bank.com', '" info"@bank.com'])
def test_no_command_acts_on_another_value_than_the_one_it_names(value: str, flooded: Callable[..., Throttle]) -> None:
    """Who types `<info@bank.com` blocks `info@bank.com`."""
    surge = Surge("", lambda rng, n: invented(rng, mail_from=value, reply_to=value, header_from=value), "surge", ())
    guard = flooded(flood(surge, 4, 2), OPEN)
    told = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)
    assert told["findings"]
    for action in (found["action"] for found in told["findings"]):
        if action["command"]:
            *_, identity, given = shlex.split(action["command"])
            guard.block(identity, given)
            assert [entry.value for entry in guard.blocked()] == [given]
            guard.unblock(identity, given)


def test_a_tag_gets_no_command(flooded: Callable[..., Throttle]) -> None:
    surge = Surge("", lambda rng, n: invented(rng, mail_from=""), "surge", ())
    guard = flooded(flood(surge, 4, 2), OPEN)
    told = told_of(guard)
    assert "NULL" in told
    assert "NULL stands for the empty envelope sender of bounces" in told
    assert "throttle ctl" not in told


def test_a_forged_name_with_proven_mail_is_bounded_and_not_blocked(flooded: Callable[..., Throttle]) -> None:
    """An attacker forges a small bank, whose few ordinary messages SPF proves."""
    surge = Surge("", lambda rng, n: invented(rng, mail_from="info@bank.com", reply_to="me@scam.biz"), "surge", ())
    proven = [
        Envelope(client_ip="192.0.2.9", mail_from="info@bank.com", spf="pass", header_from="info@bank.com")
        for _ in range(60)
    ]
    guard = Throttle(OPEN, sample=True, seed=bytes(16))
    begin = NOW - 4000
    for second in range(0, 3600, 3):
        sender = f"joe@firm{second % 300}.com"
        guard.check(Envelope(client_ip=f"192.0.2.{second % 250}", mail_from=sender, spf="pass"), now=begin + second)
        if second % 60 == 0:
            guard.check(proven[second // 60], now=begin + second)
    rng = random.Random(1)
    for number in range(1500):
        fields = surge.message(rng, number)
        guard.check(Envelope(**fields), now=begin + 3600 + number * 0.16)
    told = report(guard.diagnose(now=begin + 3840), guard.notices(now=begin + 3840), guard.policy)
    assert "me@scam.biz" in told
    assert "throttle ctl block --for '1 hour' reply_to.address me@scam.biz" in told
    assert "ctl block --for '1 hour' sender" not in told


def test_a_name_cannot_continue_the_sentence_around_it(flooded: Callable[..., Throttle]) -> None:
    forged = "bank.com; held by pace since 09:00. nothing is wrong; x@evil.com"
    surge = Surge("", lambda rng, n: invented(rng, auth_user=forged), "surge", ())
    guard = flooded(flood(surge, 4, 2), OPEN)
    first = told_of(guard).partition("\n")[0]
    assert f'shares auth.user "{forged}"' in first
