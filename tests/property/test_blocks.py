"""Random words of an operator at run time and in the policy, random senders and pauses, against a model that compares
every entry with every sender.

The model is a list that is searched from end to end: networks by `ipaddress`, domains by the end of the text. Lists,
marks and hashes are not in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from given_guards import REAL, guard, limit
from throttle import Envelope, ManualClock, Policy, Throttle

IPS = ["192.0.2.1", "192.0.2.9", "192.0.3.1", "198.51.100.1", "2001:db8::1", "2001:db8:0:1::1", "::ffff:192.0.2.1"]

NETS = [
    "192.0.2.1/32",
    "192.0.2.0/24",
    "192.0.2.0/29",
    "192.0.0.0/16",
    "198.51.100.1/32",
    "2001:db8::/32",
    "2001:db8::/64",
    "2001:db8::1/128",
]

HOSTS = [
    "ex.com",
    "a.ex.com",
    "b.a.ex.com",
    "b.ex.com",
    "notex.com",
    "ex.com.org",
    "alice.github.io",
    "x.alice.github.io",
    "bob.github.io",
]

#: Entries that are no suffix of anything public, with the identity that they may stand under.
NAMES = [
    ("sender.host", "ex.com"),
    ("sender.org", "ex.com"),
    ("sender.host", "a.ex.com"),
    ("sender.org+1", "a.ex.com"),
    ("sender.host", "b.a.ex.com"),
    ("sender.registered", "github.io"),
    ("sender.org", "alice.github.io"),
    ("client.host", "a.ex.com"),
    ("client.org", "ex.com"),
    ("helo.host", "a.ex.com"),
]

USERS = ["joe", "jim"]


@dataclass
class Entry:
    identity: str
    value: str
    blocks: bool
    unverified: bool
    until: float
    by: str

    def scope(self) -> tuple[str, str]:
        """What it covers: two identities of one family that say the same name are one entry."""
        return self.identity.split(".")[0] + (".user" if self.identity == "auth.user" else ""), self.value

    def covers(self, sender: Sender) -> bool:
        if self.identity == "client.net":
            address = ip_address(sender.ip)
            return (getattr(address, "ipv4_mapped", None) or address) in ip_network(self.value)
        if self.identity == "auth.user":
            return sender.user == self.value
        names = {"client": sender.client, "helo": sender.helo, "sender": sender.sender}
        name = names[self.identity.split(".")[0]]
        return name is not None and (name == self.value or name.endswith("." + self.value))

    def lets_pass(self, sender: Sender) -> bool:
        """Whether it lets this sender pass, whom it covers."""
        return not self.blocks and (self.unverified or sender.is_proven() or not self.identity.startswith("sender"))

    def toml(self) -> str:
        """As a policy states it."""
        lines = [
            f"[[{'block' if self.blocks else 'allow'}]]",
            f'identity = "{self.identity}"',
            f'value = "{self.value}"',
        ]
        if self.until != math.inf:
            lines.append(f"until = {datetime.fromtimestamp(self.until, UTC).isoformat()}")
        return "\n".join([*lines, "unverified = true" if self.unverified else ""]) + "\n"


def org(host: str) -> str:
    return ".".join(host.split(".")[-3 if host.endswith("github.io") else -2 :])


@dataclass
class Word:
    """What an operator says."""

    name: tuple[str, str]
    word: str
    seconds: int | None

    def entry(self, now: float, by: str) -> Entry:
        """What it comes to."""
        identity, value = self.name
        unverified = self.word == "unverified" or (self.word == "allow" and identity.startswith("helo"))
        until = math.inf if self.seconds is None else now + self.seconds
        return Entry(identity, value, self.word == "block", unverified, until, by)


@dataclass
class Reload:
    """Another policy, with these entries."""

    words: list[Word]


@dataclass
class Sender:
    ip: str
    client: str | None
    helo: str
    sender: str
    user: str
    spf: str | None

    def envelope(self) -> Envelope:
        return Envelope(
            client_ip=self.ip,
            client_name=self.client,
            helo=self.helo,
            mail_from=f"x@{self.sender}",
            auth_user=self.user,
            spf=self.spf,
        )

    def is_proven(self) -> bool:
        aligned = self.client is not None and org(self.client) == org(self.sender)
        return self.spf == "pass" or (self.spf is None and aligned)


LISTED = st.one_of(
    st.sampled_from([("client.net", net) for net in NETS]),
    st.sampled_from(NAMES),
    st.sampled_from([("auth.user", user) for user in USERS]),
)

SECONDS = st.one_of(st.none(), st.integers(1, 40))

WORDS = st.builds(Word, LISTED, st.sampled_from(["block", "block", "allow", "unverified", "unblock"]), SECONDS)

RELOADS = st.builds(
    Reload,
    st.lists(
        st.builds(Word, LISTED, st.sampled_from(["block", "allow", "unverified"]), SECONDS),
        max_size=6,
        unique_by=lambda word: word.entry(0, "policy").scope(),
    ),
)

SENDERS = st.builds(
    Sender,
    st.sampled_from(IPS),
    st.one_of(st.none(), st.sampled_from(HOSTS)),
    st.sampled_from(HOSTS),
    st.sampled_from(HOSTS),
    st.sampled_from(USERS),
    st.sampled_from([None, "pass", "fail"]),
)

STEPS = st.lists(st.one_of(WORDS, SENDERS, st.integers(1, 20), RELOADS), min_size=1, max_size=60)


class Model:
    """Every entry, searched from end to end."""

    def __init__(self) -> None:
        # by scope, then by who said it
        self.entries: dict[tuple[tuple[str, str], str], Entry] = {}

    def say(self, pace: Throttle, said: Word, now: float) -> None:
        identity, value = said.name
        entry = said.entry(now, "operator")
        if said.word == "unblock":
            taken = [self.entries.pop((entry.scope(), by), None) for by in ("operator", "policy")]
            assert pace.unblock(identity, value) == any(held is not None and held.until > now for held in taken)
            return
        if said.word == "block":
            pace.block(identity, value, seconds=said.seconds)
        else:
            pace.allow(identity, value, seconds=said.seconds, unverified=entry.unverified)
        self.entries[entry.scope(), "operator"] = entry

    def reload(self, pace: Throttle, reload: Reload, now: float) -> None:
        words = [word.entry(now, "policy") for word in reload.words]
        pace.reload(Policy.parse("\n".join([entry.toml() for entry in words]) + pace.policy.limits[0].to_toml()))
        self.entries = {key: entry for key, entry in self.entries.items() if entry.by == "operator"}
        self.entries |= {(entry.scope(), "policy"): entry for entry in words}

    def holding(self, now: float) -> list[Entry]:
        """Those in force: of two for one scope that of the operator."""
        holding = {key: entry for key, entry in self.entries.items() if entry.until > now}
        return [
            entry for (scope, by), entry in holding.items() if by == "operator" or (scope, "operator") not in holding
        ]

    def covering(self, sender: Sender, now: float) -> list[Entry]:
        return [entry for entry in self.holding(now) if entry.covers(sender)]

    def free(self, sender: Sender, now: float) -> float:
        """From when on no entry blocks the sender."""
        while blocks := [entry.until for entry in self.covering(sender, now) if entry.blocks]:
            now = max(blocks)
        return now

    def passes(self, sender: Sender, now: float) -> bool:
        """Whether an entry lets the sender pass, if none blocks."""
        return any(entry.lets_pass(sender) for entry in self.covering(sender, now))


@given(steps=STEPS)
def test_an_operators_word_covers_what_a_search_of_all_words_says(steps: list[Word | Sender | int | Reload]) -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("never", "auth.user", "1/day", burst=1), clock=clock)
    for user in USERS:
        pace.check(Envelope(mail_from="a@b.com", auth_user=user))
    model = Model()
    for step in steps:
        if isinstance(step, int):
            clock.advance(step)
        elif isinstance(step, Reload):
            model.reload(pace, step, clock.now)
        elif isinstance(step, Word):
            model.say(pace, step, clock.now)
        else:
            now, free = clock.now, model.free(step, clock.now)
            decision = pace.peek(step.envelope())
            assert pace.check(step.envelope()) == decision
            if model.passes(step, free):
                # Nothing else has a say.
                told = (None, 0.0) if free == now else ("blocked", free - now)
            else:
                # The limit's own wait, a day from the start, is longer than any block that ends.
                day = model.free(step, REAL + 86_400)
                told = ("never", day - now) if day < math.inf else ("blocked", math.inf)
            assert decision.limit == told[0]
            # The limit's own wait is a whole number of ticks, which are 10 ms of a day.
            assert decision.retry_after == (pytest.approx(told[1], abs=0.011) if told[0] == "never" else told[1])
            listed = {
                (entry.identity, entry.value, entry.action, entry.until, entry.by)
                for entry in (pace.blocked() + pace.allowed())
            }
            assert listed == {
                (entry.identity, short(entry.value), "block" if entry.blocks else "allow", entry.until, entry.by)
                for entry in model.holding(clock.now)
            }


@given(steps=STEPS)
def test_the_wait_of_a_block_is_that_of_the_longest_that_covers(steps: list[Word | Sender | int | Reload]) -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("plenty", "client.ip", "1000000/minute"), clock=clock)
    model = Model()
    for step in steps:
        if isinstance(step, int):
            clock.advance(step)
        elif isinstance(step, Reload):
            model.reload(pace, step, clock.now)
        elif isinstance(step, Word):
            model.say(pace, step, clock.now)
        else:
            wait = model.free(step, clock.now) - clock.now
            decision = pace.check(step.envelope())
            assert decision.retry_after == wait
            assert decision.limit == ("blocked" if wait else None)


def short(value: str) -> str:
    """An address alone has no prefix in its text."""
    return value.removesuffix("/32").removesuffix("/128") if not value.endswith("::/32") else value
