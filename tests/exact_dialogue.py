"""What one guard's sessions may do, as counts in dictionaries and a list of what is held.

It knows no table and no key. A day is a window: counts begin anew with it.
Invariant: a step that is refused changes nothing but what it let go of.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from throttle import Limit

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY: dict[str, Any] = {"algorithm": "sliding-window", "when_full": "refuse"}

MAX_OPEN = 9

MAX_NAMES = 8

Charge = tuple[str, str, int]

LIMITS = [
    Limit(name="conns", per="client.ip", rate="12/day", count="connections", **DAY),
    Limit(name="named", per="client.host", rate="7/day", count="connections", **DAY),
    Limit(name="greeted", per="helo.host", rate="9/day", count="connections", **DAY),
    Limit(name="both", per=["client.host", "helo.host"], rate="5/day", count="connections", **DAY),
    Limit(name="open", per="client.ip", in_flight=3, count="connections"),
    Limit(name="open-named", per="client.host", in_flight=2, count="connections"),
    Limit(name="open-greeted", per="helo.host", in_flight=2, count="connections"),
    Limit(name="messages", per="sender.org", rate="8/day", **DAY),
    Limit(name="user", per="auth.user", rate="6/day", **DAY),
    Limit(name="named-messages", per="client.host", rate="6/day", **DAY),
    Limit(name="octets", per="sender.org", rate="3 kB/day", **DAY),
    Limit(name="open-messages", per="global", in_flight=3),
    Limit(name="open-octets", per="global", in_flight="1 kB"),
    Limit(name="recipients", per="rcpt.address", rate="5/day", count="recipients", **DAY),
    Limit(name="hosts", per="rcpt.host", rate="6/day", **DAY),
    Limit(name="all-recipients", per="global", rate="25/day", count="recipients", **DAY),
    Limit(name="named-recipients", per="client.host", rate="9/day", count="recipients", **DAY),
    Limit(name="authors", per="from.address", rate="7/day", **DAY),
    Limit(name="author-orgs", per="from.org", rate="9/day", **DAY),
    Limit(name="answers", per=["client.ip", "reply_to.org"], rate="6/day", **DAY),
    Limit(name="lists", per="list.id", rate="5/day", **DAY),
    Limit(name="signers", per="dkim.org", rate="8/day", **DAY),
    Limit(name="author-octets", per="from.org", rate="4 kB/day", **DAY),
]

CAPS = {
    "conns": 12, "named": 7, "greeted": 9, "both": 5, "open": 3, "open-named": 2, "open-greeted": 2, "messages": 8,
    "user": 6, "named-messages": 6, "octets": 3000, "open-messages": 3, "open-octets": 1000, "recipients": 5,
    "hosts": 6, "all-recipients": 25, "named-recipients": 9, "authors": 7, "author-orgs": 9, "answers": 6, "lists": 5,
    "signers": 8, "author-octets": 4000,
}  # fmt: skip


@dataclass
class Header:
    """What a message says of itself: addresses whose host is an organisation, and a list."""

    authors: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    list_id: str | None = None

    def octets(self) -> bytes:
        lines = [f"From: Somebody <{author.upper()}>" for author in self.authors]
        lines += [f"Reply-To: {', '.join(self.answers)}"] if self.answers else []
        lines += [f"List-Id: A list\r\n <{self.list_id}>"] if self.list_id else []
        return "\r\n".join([*lines, "Subject: x", "", "From: nobody@nowhere.com"]).encode()


@dataclass
class Answer:
    """Who refuses, if anybody, and what was charged."""

    refusing: set[str] = field(default_factory=set)
    charges: list[Charge] = field(default_factory=list)


class Exact:
    """The guard: counts of this day by limit and key, and what is held, a list a permit."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.permits: list[list[Charge]] = []
        self.blocked: set[str] = set()

    def held(self, limit: str) -> Counter[str]:
        by_key: Counter[str] = Counter()
        for permit in self.permits:
            for held, key, amount in permit:
                by_key[key] += amount if held == limit else 0
        return by_key

    def ask(
        self,
        charges: list[Charge],
        looks: Sequence[Charge] = (),
        holds: list[Charge] | None = None,
        *,
        ip: str,
    ) -> tuple[Answer, list[Charge] | None]:
        """All or none. ``looks`` are consulted and not charged; ``holds`` None takes no permit."""
        wanted: Counter[tuple[str, str]] = Counter()
        for limit, key, amount in charges:
            wanted[limit, key] += amount
        refusing = {limit for (limit, key), amount in wanted.items() if self.counts[limit, key] + amount > CAPS[limit]}
        for limit, key, amount in looks:
            taken = self.held(limit)[key] if limit.startswith("open") else self.counts[limit, key]
            refusing |= {limit} if taken + amount > CAPS[limit] else set()
        for limit, key, amount in holds or []:
            refusing |= {limit} if self.held(limit)[key] + amount > CAPS[limit] else set()
        if holds is not None and len(self.permits) >= MAX_OPEN:
            refusing.add("max-open")
        if ip in self.blocked:
            refusing.add("blocked")
        if refusing:
            return Answer(refusing), None
        self.counts.update(wanted)
        if holds is not None:
            self.permits.append(holds)
        return Answer(set(), charges), holds

    def let_go(self, permit: list[Charge]) -> None:
        self.permits = [held for held in self.permits if held is not permit]

    def refund(self, charges: list[Charge]) -> bool:
        for limit, key, amount in charges:
            self.counts[limit, key] -= amount
        return any(amount > 0 for _, _, amount in charges)


class ExactSession:
    """One connection of it, step by step, as ``docs/stages.md`` has it."""

    def __init__(self, guard: Exact, ip: str, name: str | None) -> None:
        self.guard, self.ip, self.name = guard, ip, name
        self.is_open, self.connected = True, False
        self.user: str | None = None
        self.greeting: str | None = None
        self.greeted = False
        self.names: list[str] = []
        self.asked: set[str] = set()  # groups of limits on the client's name that were asked
        self.late = False
        self.owes = False  # whether steps are asked anew, though it be about nothing
        self.at_connect: list[list[Charge]] = []
        self.at_helo: list[list[Charge]] = []
        self.at_mail: list[list[Charge]] = []
        self.forget()

    def forget(self) -> None:
        self.in_transaction = False
        self.refused: set[str] | None = None
        self.sender = ""
        self.declared: int | None = None
        self.recipients: list[str] = []
        self.hosts: set[str] = set()
        self.asked -= {"mail", "rcpt"}

    def free(self, permits: list[list[Charge]]) -> None:
        for permit in permits:
            self.guard.let_go(permit)
        permits.clear()

    def name_came(self, name: str | None) -> None:
        self.name = name
        self.late = True
        self.owes = self.owes or self.connected

    def policy_changed(self) -> None:
        """Limits of steps that have passed are for the next transaction, or the next connection."""
        passed = {"connect": self.connected, "helo": self.greeted, "mail": self.in_transaction}
        self.asked |= {step for step, has_passed in passed.items() if has_passed}
        self.asked |= {"rcpt"} if self.recipients else set()

    def ask(self, *args: Any, **more: Any) -> tuple[Answer, list[Charge] | None]:
        return self.guard.ask(*args, **more, ip=self.ip)

    def catch_up(self) -> Answer:
        """What is owed: the connection, or what could not be asked without a name."""
        first = Answer()
        if not self.connected:
            charges, holds = [("conns", self.ip, 1)], [("open", self.ip, 1)]
            if self.name:
                charges.append(("named", self.name, 1))
                holds.append(("open-named", self.name, 1))
            first, held = self.ask(charges, holds=holds)
            if first.refusing or held is None:
                return first
            self.connected = True
            self.at_connect.append(held)
            self.asked |= {"connect"} if self.name else set()
        if self.owes and self.ip in self.guard.blocked:
            return Answer({"blocked"})
        if not self.late or not self.name:
            self.late = self.owes = False
            return first
        name = self.name
        if "connect" not in self.asked:
            answer, held = self.ask([("named", name, 1)], holds=[("open-named", name, 1)])
            if answer.refusing or held is None:
                return answer
            self.at_connect.append(held)
            self.asked.add("connect")
        if self.greeted and self.greeting and "helo" not in self.asked:
            answer, _ = self.ask([("both", f"{name} {self.greeting}", 1)])
            if answer.refusing:
                return answer
            self.asked.add("helo")
        if self.in_transaction and "mail" not in self.asked:
            answer, _ = self.ask([("named-messages", name, 1)])
            if answer.refusing:
                return answer
            self.asked.add("mail")
        if self.recipients and "rcpt" not in self.asked:
            answer, _ = self.ask([("named-recipients", name, len(self.recipients))])
            if answer.refusing:
                return answer
            self.asked.add("rcpt")
        self.late = self.owes = False
        return first

    def connect(self) -> Answer:
        return self.catch_up() if self.is_open else Answer({"out-of-order"})

    def helo(self, greeting: str | None) -> Answer:
        self.reset()
        if not self.is_open:
            return Answer({"out-of-order"})
        if self.greeted and self.greeting == greeting:
            return Answer(self.catch_up().refusing)
        self.greeted = False
        owed = self.catch_up()
        if owed.refusing:
            return Answer(owed.refusing)
        is_known = greeting in self.names
        charges: list[Charge] = []
        self.asked.discard("helo")
        if greeting and not is_known:
            charges = [("greeted", greeting, 1)]
            charges += [("both", f"{self.name} {greeting}", 1)] if self.name else []
        self.free(self.at_helo)
        answer, held = self.ask(charges, holds=[("open-greeted", greeting, 1)] if greeting else None)
        if not answer.refusing:
            self.greeted, self.greeting = True, greeting
            if held is not None:
                self.at_helo.append(held)
            if greeting and not is_known and len(self.names) < MAX_NAMES:
                self.names.append(greeting)
            self.asked |= {"helo"} if self.name or is_known else set()
        return answer

    def mail(self, sender: str, size: int | None, user: str | None) -> Answer:
        self.reset()
        if not self.is_open:
            return Answer({"out-of-order"})
        owed = self.catch_up()
        if owed.refusing:
            self.refused = owed.refusing
            return Answer(owed.refusing)
        user = user or self.user
        charges = [("messages", sender, 1)]
        charges += [("user", user, 1)] if user else []
        charges += [("named-messages", self.name, 1)] if self.name else []
        holds = [("open-messages", "global", 1)] + ([("open-octets", "global", size)] if size else [])
        answer, held = self.ask(charges, [("octets", sender, size)] if size is not None else [], holds)
        if held is None:
            self.refused = answer.refusing
            return answer
        self.in_transaction, self.sender, self.declared, self.user = True, sender, size, user
        self.at_mail.append(held)
        self.asked |= {"mail"} if self.name else set()
        return answer

    def rcpt(self, recipients: list[str]) -> Answer:
        if not self.in_transaction:
            return Answer(self.refused or {"out-of-order"})
        owed = self.catch_up()
        if owed.refusing:
            return Answer(owed.refusing)
        fresh = [one for one in dict.fromkeys(recipients) if one not in self.recipients]
        if not fresh:
            return Answer()
        hosts = {one.split("@")[1] for one in fresh}
        charges = [("recipients", one, 1) for one in fresh]
        charges += [("hosts", host, 1) for host in hosts - self.hosts]
        charges += [("all-recipients", "global", len(fresh))]
        charges += [("named-recipients", self.name, len(fresh))] if self.name else []
        answer, _ = self.ask(charges)
        if not answer.refusing:
            self.recipients += fresh
            self.hosts |= hosts
            self.asked |= {"rcpt"} if self.name else set()
        return answer

    def data(self, size: int | None, header: Header | None = None, signers: Sequence[str] = ()) -> Answer:
        if not self.in_transaction:
            return Answer(self.refused or {"out-of-order"})
        owed = self.catch_up()
        if owed.refusing:
            self.reset()
            return Answer(owed.refusing)
        size = self.declared if size is None else size
        self.free(self.at_mail)
        charges = [("octets", self.sender, size)] if size is not None else []
        header = header or Header()
        orgs = {author.split("@")[1] for author in header.authors}
        charges += [("authors", author, 1) for author in set(header.authors)]
        charges += [("author-orgs", org, 1) for org in orgs]
        charges += [("answers", f"{self.ip} {org}", 1) for org in {one.split("@")[1] for one in header.answers}]
        charges += [("lists", header.list_id, 1)] if header.list_id else []
        charges += [("signers", signer, 1) for signer in set(signers)]
        charges += [("author-octets", org, size) for org in orgs] if size is not None else []
        looks = [("open-octets", "global", size)] if size and size != self.declared else []
        answer, _ = self.ask(charges, looks)
        self.reset()
        return answer

    def reset(self) -> None:
        self.free(self.at_mail)
        self.forget()

    def close(self) -> None:
        self.reset()
        self.free(self.at_helo)
        self.free(self.at_connect)
        self.is_open = False
