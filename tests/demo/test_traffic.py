"""The traffic of the demo is the incident's, in the numbers that the demo claims."""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from throttle import Policy
from throttle.demo.careful import Careful
from throttle.demo.cast import FLOODED, PROVIDER
from throttle.demo.naive import Naive
from throttle.demo.peers import host_of
from throttle.demo.plan import Plan, with_policy
from throttle.demo.traffic import REPLY_TO, Message, Mix, conversations, last_minute, quiet_hours

if TYPE_CHECKING:
    from pathlib import Path

SEED = 7


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return [message for conversation in conversations(SEED, Mix()) for message in conversation]


def of(messages: list[Message], group: str) -> list[Message]:
    return [message for message in messages if message.group == group]


def network(message: Message) -> str:
    prefix = 64 if ":" in message.client_ip else 24
    return str(ipaddress.ip_network(f"{message.client_ip}/{prefix}", strict=False))


def organisation(host: str) -> str:
    labels = host.split(".")
    return ".".join(labels[-3 if labels[-2] in ("co", "com") else -2 :])


def test_the_flood_is_20000_messages_from_64_networks_with_one_reply_to(messages: list[Message]) -> None:
    flood = of(messages, "flood")
    assert len(flood) == 20_000
    assert len({network(message) for message in flood}) == 64
    assert {message.reply_to for message in flood} == {REPLY_TO}


def test_no_flood_host_is_used_twice_and_its_parent_is_fresh_too(messages: list[Message]) -> None:
    hosts = [host_of(message.mail_from) for message in of(messages, "flood")]
    for fresh_levels in range(3):
        assert len({host.split(".", fresh_levels)[-1] for host in hosts}) == len(hosts)


def test_every_flood_host_lies_at_least_six_labels_below_the_flooded_organisation(messages: list[Message]) -> None:
    for message in of(messages, "flood"):
        below = host_of(message.mail_from).removesuffix(f".{FLOODED}")
        assert below != host_of(message.mail_from)
        assert below.count(".") + 1 >= 6


def test_the_header_from_changes_with_the_envelope_sender(messages: list[Message]) -> None:
    assert len({message.header_from for message in of(messages, "flood")}) == 20_000


def test_at_least_2000_innocent_messages_come_from_at_least_500_organisations(messages: list[Message]) -> None:
    innocents = of(messages, "innocent")
    assert len(innocents) == 2_400
    organisations = {organisation(host_of(message.mail_from)) for message in innocents if message.mail_from != "<>"}
    assert len(organisations) >= 500
    assert FLOODED not in organisations


def test_a_provider_sends_250_messages_of_50_senders_from_inside_the_floods_networks(messages: list[Message]) -> None:
    provider = [message for message in messages if host_of(message.mail_from) == PROVIDER]
    assert len(provider) == 250
    assert len({message.mail_from for message in provider}) == 50
    assert {network(message) for message in provider} <= {network(message) for message in of(messages, "flood")}


def test_bounces_have_the_null_sender_and_lists_a_return_path_for_each_subscriber(messages: list[Message]) -> None:
    innocents = of(messages, "innocent")
    assert sum(message.mail_from == "<>" for message in innocents) == 250
    verp = [message for message in innocents if message.rcpt_to.replace("@", "=") in message.mail_from]
    assert len(verp) == 300


def test_100_tenants_keep_their_host_and_20_write_a_fresh_host_a_message(messages: list[Message]) -> None:
    hosts = Counter(host_of(message.mail_from) for message in of(messages, "tenant"))
    assert Counter(hosts.values()) == {4: 100, 1: 200}
    below = Counter(host.partition(".")[2] for host, count in hosts.items() if count == 1)
    assert Counter(below.values()) == {10: 20}
    flood_parents = {host_of(message.mail_from).partition(".")[2] for message in of(messages, "flood")}
    assert not flood_parents & below.keys()


def test_every_group_arrives_throughout_the_flood(messages: list[Message]) -> None:
    for group in ("flood", "innocent", "tenant"):
        places = [place for place, message in enumerate(messages) if message.group == group]
        tenths = Counter(place * 10 // len(messages) for place in places)
        assert all(0.5 < tenths[tenth] / (len(places) / 10) < 1.5 for tenth in range(10)), (group, tenths)


def test_one_connection_has_one_client() -> None:
    assert all(len({message.client_ip for message in talk}) == 1 for talk in conversations(SEED, Mix.scaled(400)))


def test_a_seed_gives_the_same_traffic_and_another_seed_another() -> None:
    small = Mix.scaled(200)
    assert conversations(SEED, small) == conversations(SEED, small)
    assert conversations(SEED, small) != conversations(SEED + 1, small)


def test_a_smaller_flood_keeps_the_proportions_and_a_larger_one_the_innocents() -> None:
    assert Mix.scaled(20_000) == Mix()
    assert Mix.scaled(2_000) == Mix(2_000, 160, 25, 25, 30, 40, 20)
    assert Mix.scaled(40_000).ordinary == Mix().ordinary
    assert sum(map(len, conversations(SEED, Mix.scaled(2_001)))) == Mix.scaled(2_001).total


def test_in_the_quiet_hours_every_tenant_is_seen_more_than_an_hour_before_and_time_only_rises(
    messages: list[Message],
) -> None:
    quiet = list(quiet_hours(SEED))
    times = [seconds for seconds, _ in quiet]
    assert times == sorted(times, reverse=True)
    assert times[-1] == 60
    settled = {host_of(message.mail_from) for seconds, message in quiet if seconds > 3_600}
    settled |= {host.partition(".")[2] for host in settled}
    for message in of(messages, "tenant"):
        host = host_of(message.mail_from)
        assert host in settled or host.partition(".")[2] in settled


def test_the_quiet_hours_bring_fewer_than_200_fresh_hosts_in_any_ten_minutes() -> None:
    seen: set[str] = set()
    fresh: dict[int, int] = defaultdict(int)
    for seconds, message in quiet_hours(SEED):
        host = host_of(message.mail_from)
        if host.endswith(FLOODED) and host not in seen:
            seen.add(host)
            fresh[seconds // 300] += 1
    assert max(fresh[five] + fresh[five + 1] for five in list(fresh)) < 200


@pytest.mark.parametrize("side", [Naive, Careful])
def test_without_the_flood_the_other_sides_would_refuse_nobody(side: type[Naive] | type[Careful]) -> None:
    # otherwise an innocent would be refused for the operator's choice of quota, not for the flood
    guard = side()
    others = [m for talk in conversations(SEED, Mix()) for m in talk if m.group != "flood"]
    assert all(guard.admits(message.mail_from) for message in others)


def test_the_last_minute_before_the_flood_brings_one_message_from_each_organisation_that_was_there() -> None:
    quiet = {host_of(message.mail_from) for _, message in quiet_hours(SEED)}
    senders = [host_of(message.mail_from) for talk in last_minute(SEED) for message in talk]
    assert len(set(senders)) == len(senders) == 560
    assert set(senders) <= quiet


def test_a_plan_takes_a_built_in_policy_by_name_and_a_file_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text('[[limit]]\nname = "mine"\nper = "client.ip"\nrate = "1/day"\n')
    assert Plan(policy=with_policy("submission")).guard().policy == Policy.builtin("submission")
    assert with_policy("mine.toml") == str(tmp_path / "mine.toml")
    assert [limit.name for limit in Plan(policy=with_policy("mine.toml")).guard().policy.limits] == ["mine"]
