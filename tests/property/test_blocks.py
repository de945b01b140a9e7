"""Random words of an operator, random senders and pauses, against a model that compares every entry with every sender.

The model is a list that is searched from end to end: networks by `ipaddress`, domains by the end of the text. Lists,
marks and hashes are not in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from given_guards import REAL, guard, limit
from throttle import Envelope, ManualClock, Throttle

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


def org(host: str) -> str:
    return ".".join(host.split(".")[-3 if host.endswith("github.io") else -2 :])


@dataclass
class Word:
    """What an operator says."""

    name: tuple[str, str]
    word: str
    seconds: int | None


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


WORDS = st.builds(
    Word,
    st.one_of(
        st.sampled_from([("client.net", net) for net in NETS]),
        st.sampled_from(NAMES),
        st.sampled_from([("auth.user", user) for user in USERS]),
    ),
    st.sampled_from(["block", "block", "allow", "unverified", "unblock"]),
    st.one_of(st.none(), st.integers(1, 40)),
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

STEPS = st.lists(st.one_of(WORDS, SENDERS, st.integers(1, 20)), min_size=1, max_size=60)


class Model:
    """Every entry, searched from end to end."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], Entry] = {}

    def say(self, pace: Throttle, said: Word, now: float) -> None:
        identity, value = said.name
        unverified = said.word == "unverified" or (said.word == "allow" and identity.startswith("helo"))
        until = math.inf if said.seconds is None else now + said.seconds
        entry = Entry(identity, value, said.word == "block", unverified, until)
        if said.word == "unblock":
            held = self.entries.pop(entry.scope(), None)
            assert pace.unblock(identity, value) == (held is not None and held.until > now)
            return
        if said.word == "block":
            pace.block(identity, value, seconds=said.seconds)
        else:
            pace.allow(identity, value, seconds=said.seconds, unverified=unverified)
        self.entries[entry.scope()] = entry

    def holding(self, now: float) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.until > now]

    def covering(self, sender: Sender, now: float) -> list[Entry]:
        return [entry for entry in self.holding(now) if entry.covers(sender)]


@given(steps=STEPS)
def test_an_operators_word_covers_what_a_search_of_all_words_says(steps: list[Word | Sender | int]) -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("never", "auth.user", "1/day", burst=1), clock=clock)
    for user in USERS:
        pace.check(Envelope(mail_from="a@b.com", auth_user=user))
    model = Model()
    for step in steps:
        if isinstance(step, int):
            clock.advance(step)
        elif isinstance(step, Word):
            model.say(pace, step, clock.now)
        else:
            covering = model.covering(step, clock.now)
            lets = [entry for entry in covering if not entry.blocks]
            passes = any(
                entry.unverified or step.is_proven() or not entry.identity.startswith("sender") for entry in lets
            )
            for_good = any(entry.blocks and entry.until == math.inf for entry in covering)
            decision = pace.peek(step.envelope())
            assert pace.check(step.envelope()) == decision
            # The limit's own wait, a day from the start, is longer than any block that ends.
            told = None if passes else "blocked" if for_good else "never"
            assert decision.limit == told
            listed = {
                (entry.identity, entry.value, entry.action, entry.until) for entry in (pace.blocked() + pace.allowed())
            }
            assert listed == {
                (entry.identity, short(entry.value), "block" if entry.blocks else "allow", entry.until)
                for entry in model.holding(clock.now)
            }


@given(steps=STEPS)
def test_the_wait_of_a_block_is_that_of_the_longest_that_covers(steps: list[Word | Sender | int]) -> None:
    clock = ManualClock(REAL)
    pace = guard(limit("plenty", "client.ip", "1000000/minute"), clock=clock)
    model = Model()
    for step in steps:
        if isinstance(step, int):
            clock.advance(step)
        elif isinstance(step, Word):
            if step.word == "block":
                model.say(pace, step, clock.now)
        else:
            waits = [entry.until - clock.now for entry in model.covering(step, clock.now)]
            decision = pace.check(step.envelope())
            assert decision.retry_after == max(waits, default=0.0)
            assert decision.limit == ("blocked" if waits else None)


def short(value: str) -> str:
    """An address alone has no prefix in its text."""
    return value.removesuffix("/32").removesuffix("/128") if not value.endswith("::/32") else value
