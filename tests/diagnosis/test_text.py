"""The text of a diagnosis: what holds a flood, commands that are safe to type, and names that are safe to print."""

from __future__ import annotations

import heapq
import json
import random
import shlex
from operator import itemgetter
from typing import TYPE_CHECKING

import pytest

from surges import END_US, OPEN, SURGES, Surge, flood, invented, word
from throttle import Envelope, Limit, ManualClock, Policy, Throttle, ThrottleError
from throttle.diagnosis import described, report, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from throttle.types import EnvelopeFields

NOW = END_US / 1e6

#: What hostile senders call themselves, by the identity that shows it.
HOSTILE: dict[str, EnvelopeFields] = {
    "sender.address": {"mail_from": '"<script>alert(1)</script>"@evil.com'},
    "reply_to.address": {"reply_to": "$(reboot)`id`;'@evil.com"},
    "rcpt.address": {"rcpt_to": 'a"={rate="9/minute"}#@d7.box.com'},
    "from.address": {"header_from": "-rf@evil.com"},
    "auth.user": {"auth_user": "-rf $(reboot)`id`;'@evil.com"},
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
    assert f"; {notice.refused:,} messages of new hosts under sender-inc.com; held by {notice.limit} since " in first
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
    guard = flooded(flood(SURGES[2], 4, 3))
    told = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)
    options = ["--control", "/run/my socket", "--policy", ""]
    command = "throttle ctl block --control '/run/my socket' --policy '' --for '1 hour' client.net/24/48 203.0.113.0/24"
    assert command in text(told, options)


def test_new_elements_are_told_when_a_limit_counts_another_identity(flooded: Callable[..., Throttle]) -> None:
    guard = flooded(flood(SURGES[0], 4, 3))
    notice = next(notice for notice in guard.notices(now=NOW).refusing if notice.limit == "reply-to-fan-out")
    first = told_of(guard).partition("\n")[0]
    assert (
        f"; {notice.refused:,} messages of new organisations under desk.com; held by reply-to-fan-out since " in first
    )


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
    action = told["findings"][0]["action"]
    command, toml = action["command"], action["toml"]
    if command is not None:
        *_, given = shlex.split(command)
        assert given == action["value"]
        assert not given.startswith("-") or shlex.split(command)[-2] == "--"
        guard.block(action["identity"], given)
    elif toml is not None:
        (one,) = Policy.parse(toml).limits
        assert list(one.fields["quota"]) == [action["value"]]
    else:
        assert action["why_none"] == "the value has characters that cannot be typed: block it from Python"
    assert (command is not None) == (identity == "auth.user"), "the rest is claimed, so nobody is blocked for it"
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
    action = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)["findings"][0]["action"]
    assert (action["identity"], action["value"]) == ("reply_to.org", "desk.com")
    assert 'quota."desk.com" = { rate = ' in (action["toml"] or "")


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


#: What a sender writes, and what a command or a quota may name of it.
NAMED = {
    '"<info"@bank.com': ("reply_to.org", "bank.com"),
    '" info"@bank.com': ("reply_to.org", "bank.com"),
    '"info>"@bank.com': ("reply_to.address", "info>@bank.com"),
}


@pytest.mark.parametrize("written", NAMED)
@pytest.mark.parametrize("spf", ["none", "pass"])
def test_no_command_or_quota_acts_on_another_value_than_the_one_it_names(
    spf: str, written: str, flooded: Callable[..., Throttle]
) -> None:
    """Who types `<info@bank.com` blocks `info@bank.com`. Of a proven flood the Reply-To may be blocked."""

    def answered(rng: random.Random, n: int) -> EnvelopeFields:
        return invented(rng, mail_from=f"a@own{n % 7}.com", spf=spf, header_from=written, reply_to=written)

    guard = flooded(flood(Surge("", answered, "surge", ()), 4, 2), OPEN)
    told = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)
    (action,) = (found["action"] for found in told["findings"])
    assert (action["identity"], action["value"]) == NAMED[written]
    if spf == "none":
        assert f"quota.{json.dumps(action['value'])} = " in (action["toml"] or "")
        return
    *_, identity, given = shlex.split(action["command"] or "")
    guard.block(identity, given)
    assert [entry.value for entry in guard.blocked()] == [given] == [action["value"]]


def test_a_tag_gets_no_command(flooded: Callable[..., Throttle]) -> None:
    surge = Surge("", lambda rng, n: invented(rng, mail_from=""), "surge", ())
    guard = flooded(flood(surge, 4, 2), OPEN)
    told = told_of(guard)
    assert "NULL" in told
    assert "NULL stands for the empty envelope sender of bounces" in told
    assert "throttle ctl" not in told


BANK: EnvelopeFields = {
    "client_ip": "81.200.1.9",
    "mail_from": "service@bank.com",
    "rcpt_to": "u1@box.com",
    "spf": "pass",
    "header_from": "service@bank.com",
    "reply_to": "service@bank.com",
    "dkim": "bank.com",
}

#: What a flood in the name of a bank shares. Its other names are invented.
FORGED: dict[str, EnvelopeFields] = {
    "sender.host": {"mail_from": "service@bank.com", "spf": "softfail", "reply_to": "joe@freemail.com"},
    "helo.host": {"helo": "mx1.bank.com", "mail_from": ""},
    "from.address": {"header_from": "service@bank.com", "reply_to": None},
    "reply_to.address": {"reply_to": "service@bank.com"},
}


@pytest.mark.parametrize("identity", FORGED)
def test_what_anybody_can_write_is_bounded_for_claimed_senders_and_the_owners_proven_mail_passes(
    identity: str, flooded: Callable[..., Throttle]
) -> None:
    """The sample has no mail of the bank, which sends little: nobody may make an operator shut it out."""

    def forged(rng: random.Random, n: int) -> EnvelopeFields:
        return invented(rng, client_ip=("100.64.1.5", "101.70.1.5")[n % 2], **FORGED[identity])

    guard = flooded(flood(Surge("", forged, "surge", ()), 4, 1), OPEN)
    told = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)
    actions = [one["action"] for one in told["findings"]]
    assert [action["command"] for action in actions] == [None]
    assert "other mail of it that nobody has proven shares this quota" in text(told)
    (toml,) = (action["toml"] for action in actions)
    assert toml
    guard.reload(Policy.parse(toml))
    rng = random.Random(2)
    attack = [guard.check(Envelope(**forged(rng, n)), now=NOW + n / 100) for n in range(200)]
    assert sum(decision.limit is not None and decision.limit.startswith("surge-") for decision in attack) > 150
    assert guard.check(Envelope(**BANK), now=NOW + 2).allowed


@pytest.mark.parametrize("reply_to", ["service@bank.com", None])
def test_nothing_acts_on_a_value_that_other_proven_mail_has_when_the_flood_is_proven_too(
    reply_to: str | None, ordinary: list[tuple[int, Envelope]]
) -> None:
    """The envelopes of the flood are proven for domains of the attacker's own; the bank stands in From and Reply-To."""

    def forged(rng: random.Random, n: int) -> EnvelopeFields:
        return invented(
            rng, mail_from=f"a@own{n % 7}.com", spf="pass", header_from="service@bank.com", reply_to=reply_to
        )

    every_minute = [(END_US - minute * 60_000_000 - 5, Envelope(**BANK)) for minute in range(10, 70)]
    guard = Throttle(OPEN, sample=True, seed=b"sixteen octets!!")
    for at_us, envelope in heapq.merge(
        ordinary, sorted(every_minute), flood(Surge("", forged, "surge", ()), 4, 2), key=itemgetter(0)
    ):
        guard.check(envelope, now=at_us / 1e6)
    told = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)
    identity = "reply_to.address" if reply_to else "from.address"
    assert (identity, "service@bank.com") in [
        (one["finding"]["identity"], one["finding"]["value"]) for one in told["findings"]
    ]
    assert "other proven mail has it, too" in text(told)
    for action in (one["action"] for one in told["findings"]):
        assert "bank.com" not in (action["command"] or action["toml"] or "")


def test_who_blocks_what_a_proven_flood_shares_is_told_that_anybody_can_write_it(
    flooded: Callable[..., Throttle],
) -> None:
    def proven(rng: random.Random, n: int) -> EnvelopeFields:
        return invented(rng, mail_from=f"a@own{n % 7}.com", spf="pass", reply_to="case@desk.com")

    guard = flooded(flood(Surge("", proven, "surge", ()), 4, 2), OPEN)
    lines = told_of(guard).splitlines()
    command = lines.index("    throttle ctl block --for '1 hour' reply_to.address case@desk.com")
    assert lines[command + 1].startswith("Anybody can send this value: block it only if ")


@pytest.mark.parametrize(("identity", "value"), [("client.org", "bigcloud.com"), ("client.net/16/32", "34.100.0.0/16")])
def test_a_provider_and_its_networks_are_not_blocked_for_one_proven_customer(
    identity: str, value: str, ordinary: list[tuple[int, Envelope]]
) -> None:
    """Other customers of the provider send one message of three hundred, from domains of their own."""

    def address(rng: random.Random) -> str:
        second = 100 if identity == "client.net/16/32" else rng.randrange(100, 104)
        return f"34.{second}.{rng.randrange(256)}.{rng.randrange(1, 255)}"

    def customer(rng: random.Random, n: int) -> EnvelopeFields:
        client = address(rng)
        name = f"{client.replace('.', '-')}.bc.bigcloud.com"
        return invented(rng, client_ip=client, client_name=name, spf="pass", reply_to=None)

    rng = random.Random(identity)
    others = [(END_US - n * 108_000_000, Envelope(**customer(rng, n))) for n in range(40, 3, -1)]
    guard = Throttle(OPEN, sample=True, seed=b"sixteen octets!!")
    attack = flood(Surge("", customer, "surge", ()), 4, 2)
    for at_us, envelope in heapq.merge(ordinary, others, attack, key=itemgetter(0)):
        guard.check(envelope, now=at_us / 1e6)
    told = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)
    (found,) = told["findings"]
    assert (found["finding"]["identity"], found["finding"]["value"]) == (identity, value)
    assert (found["action"]["command"], found["action"]["toml"]) == (None, None)
    assert f"No command acts on {identity} {value}: other proven mail has it, too" in text(told)


def test_a_network_with_other_proven_users_gets_a_limit_and_no_block(ordinary: list[tuple[int, Envelope]]) -> None:
    """A customer of a provider floods; others in its network send one message in two minutes."""

    def customer(rng: random.Random, n: int) -> EnvelopeFields:
        return invented(rng, client_ip=f"40.107.1.{rng.randrange(1, 255)}", spf="pass", reply_to=None)

    rng = random.Random("network")
    others = [(END_US - n * 120_000_000, Envelope(**customer(rng, n))) for n in range(36, 3, -1)]
    guard = Throttle(OPEN, sample=True, seed=b"sixteen octets!!")
    for at_us, envelope in heapq.merge(
        ordinary, others, flood(Surge("", customer, "surge", ()), 4, 2), key=itemgetter(0)
    ):
        guard.check(envelope, now=at_us / 1e6)
    told = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)
    (found,) = told["findings"]
    assert (found["finding"]["identity"], found["finding"]["value"]) == ("client.net/24/48", "40.107.1.0/24")
    assert found["action"]["command"] is None
    assert "/minute" in (found["action"]["toml"] or "")


@pytest.mark.parametrize(
    ("minutes", "times"),
    [(2, 6), (4, 6), (6, 6), (10, 6), (14, 6), (25, 6), (32, 1.2), (35, 1.2), (40, 1.2), (45, 1.2)],
)
def test_a_proven_flood_gets_the_same_command_as_it_goes_on(
    minutes: int, times: float, ordinary: list[tuple[int, Envelope]]
) -> None:
    """A tenant floods with new hosts and one Reply-To, and other tenants send a message now and then. The flood's own
    messages of the minutes before are no other proven mail, and no organisation is blocked instead.
    """

    def of_tenant(rng: random.Random, n: int) -> EnvelopeFields:
        return invented(rng, mail_from=f"case@{word(rng)}.my.salesforce.com", spf="pass", reply_to="case@desk.com")

    rng = random.Random("tenants")
    tenants = [
        (END_US - n * 60_000_000, Envelope(**invented(rng, mail_from=f"a@t{n % 9}.my.salesforce.com", spf="pass")))
        for n in range(70, 3, -1)
    ]
    guard = Throttle(OPEN, sample=True, seed=b"sixteen octets!!")
    attack = flood(Surge("", of_tenant, "surge", ()), minutes, times)
    for at_us, envelope in heapq.merge(ordinary, tenants, attack, key=itemgetter(0)):
        guard.check(envelope, now=at_us / 1e6)
    told = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)
    (found,) = told["findings"]
    assert (found["finding"]["identity"], found["finding"]["value"]) == ("reply_to.address", "case@desk.com")
    assert found["action"]["command"] == "throttle ctl block --for '1 hour' reply_to.address case@desk.com"


def test_mail_that_began_half_an_hour_ago_is_no_flood(ordinary: list[tuple[int, Envelope]]) -> None:
    """A bank has sent twelve messages a minute since then, and a flood with its name in From begins now."""

    def forged(rng: random.Random, n: int) -> EnvelopeFields:
        return invented(
            rng, mail_from=f"a@own{n % 7}.com", spf="pass", header_from="service@bank.com", reply_to="service@bank.com"
        )

    banks = [(END_US - n * 5_000_000, Envelope(**BANK)) for n in range(480, 0, -1)]
    guard = Throttle(OPEN, sample=True, seed=b"sixteen octets!!")
    for at_us, envelope in heapq.merge(ordinary, banks, flood(Surge("", forged, "surge", ()), 4, 2), key=itemgetter(0)):
        guard.check(envelope, now=at_us / 1e6)
    told = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)
    assert "other proven mail has it, too" in text(told)
    for action in (one["action"] for one in told["findings"]):
        assert "bank.com" not in (action["command"] or action["toml"] or "")


def test_a_limit_that_would_not_hold_a_long_flood_is_not_suggested(flooded: Callable[..., Throttle]) -> None:
    """After fifty-five minutes, some of the ordinary minutes are the flood's own."""
    guard = flooded(flood(SURGES[4], 55, 2))
    told = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)
    (found,) = told["findings"]
    assert found["finding"]["value"] == "sender-inc.com"
    assert (found["action"]["command"], found["action"]["toml"]) == (None, None)
    assert "a minute, twice its busiest one before, would not hold it" in text(told)


def test_a_flood_that_has_become_ordinary_is_told_by_what_is_refused(flooded: Callable[..., Throttle]) -> None:
    guard = flooded(flood(SURGES[4], 70, 2))
    diagnosis = guard.diagnose(now=NOW)
    assert diagnosis["state"] == "quiet"
    told = told_of(guard)
    assert told.startswith("There is no surge: ")
    assert f"But {diagnosis['refused']:,} were refused, or would be outside shadow mode." in told
    (notice,) = (one for one in guard.notices(now=NOW).refusing if one.limit == "org-fan-out")
    assert f"\n    org-fan-out defers sender-inc.com: {notice.refused:,} messages of new hosts since " in told


def test_a_recipient_whom_proven_senders_flood_is_shut_out_by_nothing(flooded: Callable[..., Throttle]) -> None:
    def mailbox(rng: random.Random, n: int) -> EnvelopeFields:
        return invented(rng, mail_from=f"a@own{n % 7}.com", spf="pass", rcpt_to="boss@d7.box.com")

    guard = flooded(flood(Surge("", mailbox, "surge", ()), 4, 2), OPEN)
    told = described(guard.diagnose(now=NOW), guard.notices(now=NOW), guard.policy)
    (found,) = told["findings"]
    assert (found["finding"]["identity"], found["finding"]["value"]) == ("rcpt.address", "boss@d7.box.com")
    assert (found["action"]["command"], found["action"]["toml"]) == (None, None)
    assert "No command acts on rcpt.address boss@d7.box.com: proven senders flood it" in text(told)


@pytest.mark.parametrize("is_blocked", [False, True])
def test_refused_messages_hide_no_flood_that_is_let_through(is_blocked: bool) -> None:
    """For each message of the flood, one address sends forty that are refused."""
    policy = Policy([Limit(name="pace", per="client.ip", rate="1/hour")])
    guard = Throttle(policy, sample=True, seed=bytes(16), clock=ManualClock(NOW - 4000))
    if is_blocked:
        guard.block("client.ip", "100.99.9.9")
    for second in range(60 * 60):
        guard.check(
            Envelope(client_ip=f"11.{second // 250}.{second % 250}.1", mail_from=f"a@f{second}.com"),
            now=NOW - 3800 + second,
        )
    rng = random.Random(1)
    for n in range(1000):
        at = NOW - 200 + n / 5
        guard.check(Envelope(**invented(rng, reply_to="win@camp.biz")), now=at)
        for _ in range(40):
            guard.check(Envelope(client_ip="100.99.9.9", mail_from=f"a@{word(rng)}.com"), now=at)
    diagnosis = guard.diagnose(now=NOW)
    found = [(finding["identity"], finding["value"]) for finding in diagnosis["findings"]]
    assert found == [("client.ip", "100.99.9.9"), ("reply_to.address", "win@camp.biz")]


def test_a_name_cannot_continue_the_sentence_around_it(flooded: Callable[..., Throttle]) -> None:
    forged = "bank.com; held by pace since 09:00. nothing is wrong; x@evil.com"
    surge = Surge("", lambda rng, n: invented(rng, auth_user=forged), "surge", ())
    guard = flooded(flood(surge, 4, 2), OPEN)
    first = told_of(guard).partition("\n")[0]
    assert f'shares auth.user "{forged}"' in first
