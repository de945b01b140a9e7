"""Random dialogues, several on one guard, against a model that counts: each limit once, and nothing left behind."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from exact_dialogue import LIMITS, MAX_OPEN, Answer, Exact, ExactSession, Header
from given_guards import REAL, SEED, is_sound
from throttle import Limit, ManualClock, Policy, Throttle

if TYPE_CHECKING:
    from throttle import Decision, Session

SESSIONS = 4

ADDRESSES = [f"{box}@{host}" for box in ("a", "b", "c") for host in ("x.com", "y.com")]

which = st.integers(0, SESSIONS - 1)
spelled = {"a.com": "A.com.", "b.com": "b.com", "c.com": "c.com", None: " "}
# They prove no sender: the model knows no classes.
names = st.sampled_from([None, "mx.one.net", "mx.two.net"])
headers = st.builds(
    Header,
    st.lists(st.sampled_from(ADDRESSES), max_size=3),
    st.lists(st.sampled_from(ADDRESSES), max_size=3),
    st.sampled_from([None, "news.x.com", "news.y.com"]),
)
signers = st.lists(st.sampled_from(["x.com", "y.com"]), max_size=3)


class Dialogues(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock(REAL)
        spare = Limit(name="spare", per="helo.org", rate="1000000/second", memory="64 KiB")
        self.guard = Throttle(
            Policy([*LIMITS, spare]), memory="1536 KiB", max_open=MAX_OPEN, clock=self.clock, seed=SEED
        )
        self.exact = Exact()
        self.day = 0
        self.made: list[tuple[Decision, Answer, int]] = []
        self.talks: list[tuple[Session, ExactSession]] = []
        for number in range(SESSIONS):
            self.talks.append(self.arrive(f"192.0.2.{number % 2}", None))

    def arrive(self, ip: str, name: str | None) -> tuple[Session, ExactSession]:
        return self.guard.session(client_ip=ip, client_name=name), ExactSession(self.exact, ip, name)

    def same(self, decision: Decision, answer: Answer) -> None:
        assert is_sound(decision)
        assert decision.allowed == (not answer.refusing), (decision, answer)
        assert decision.allowed or decision.limit in answer.refusing, (decision, answer)
        self.made.append((decision, answer, self.day))

    @rule(at=which)
    def connect(self, at: int) -> None:
        session, exact = self.talks[at]
        self.same(session.connect(), exact.connect())

    @rule(at=which, name=st.sampled_from(list(spelled)), plain=st.booleans())
    def helo(self, at: int, name: str | None, plain: bool) -> None:
        session, exact = self.talks[at]
        self.same(session.helo(name if plain and name else spelled[name]), exact.helo(name))

    @rule(
        at=which,
        sender=st.sampled_from(["one.com", "two.com"]),
        size=st.sampled_from([None, 0, 100, 600, 1001]),
        user=st.sampled_from([None, None, "joe"]),
    )
    def mail(self, at: int, sender: str, size: int | None, user: str | None) -> None:
        session, exact = self.talks[at]
        self.same(session.mail(f"a@{sender}", size=size, auth_user=user), exact.mail(sender, size, user))

    @rule(at=which, recipients=st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=4), shout=st.booleans())
    def rcpt(self, at: int, recipients: list[str], shout: bool) -> None:
        session, exact = self.talks[at]
        said = [one.upper() for one in recipients] if shout else recipients
        self.same(session.rcpt(said[0] if len(said) == 1 else said), exact.rcpt(recipients))

    @rule(at=which, size=st.sampled_from([None, 0, 100, 700, 1001]), header=st.none() | headers, signed=signers)
    def data(self, at: int, size: int | None, header: Header | None, signed: list[str]) -> None:
        session, exact = self.talks[at]
        octets = None if header is None else header.octets()
        below = [f"Mail.{one}." for one in signed]
        self.same(session.data(headers=octets, dkim=below, size=size), exact.data(size, header, signed))

    @rule(at=which)
    def reset(self, at: int) -> None:
        session, exact = self.talks[at]
        session.reset()
        exact.reset()

    @rule(at=which, name=names)
    def the_name_comes(self, at: int, name: str | None) -> None:
        session, exact = self.talks[at]
        session.client_name = name
        exact.name_came(name)

    @rule(at=which)
    def close(self, at: int) -> None:
        session, exact = self.talks[at]
        session.close()
        exact.close()

    @rule(at=which, name=names, how=st.sampled_from(["drop", "cycle", "exception", "close"]))
    def another_client(self, at: int, name: str | None, how: str) -> None:
        session, exact = self.talks[at]
        exact.close()
        self.talks[at] = self.arrive(exact.ip, name)
        if how == "exception":
            with pytest.raises(KeyError), session:
                raise KeyError
        elif how == "close":
            session.close()
            session.close()
        elif how == "cycle":
            gc.disable()  # or a collection of its own would make the knot too old for this one
            knot: list[Any] = [session]
            knot.append(knot)
            del session, knot
            gc.collect(0)
            gc.enable()

    @rule(number=st.integers(0, 1), blocks=st.sampled_from([False, False, False, True]))
    def say(self, number: int, blocks: bool) -> None:
        ip = f"192.0.2.{number}"
        if blocks:
            self.guard.block("client.ip", ip)
            self.exact.blocked.add(ip)
        else:
            assert self.guard.unblock("client.ip", ip) == (ip in self.exact.blocked)
            self.exact.blocked.discard(ip)

    @rule(more=st.integers(0, 2))
    def reload(self, more: int) -> None:
        never: dict[str, Any] = {"rate": "1000000/second", "memory": "4 KiB"}
        others = [Limit(name=f"new-{per[:4]}", per=per, **never) for per in ("sender.org", "from.org")[:more]]
        self.guard.reload(Policy([*others, *reversed(LIMITS)]))
        for _, exact in self.talks:
            exact.policy_changed()
        self.made.clear()

    @rule(back=st.integers(0, 30))
    def refund(self, back: int) -> None:
        if not self.made:
            return
        decision, answer, day = self.made[-1 - back % len(self.made)]
        gives = day == self.day and self.exact.refund(answer.charges)
        assert decision.refund() == gives
        assert not decision.refund()
        answer.charges = []

    @rule()
    def tomorrow(self) -> None:
        self.clock.advance(2 * 86_400)
        self.day += 1
        self.exact.counts.clear()

    @invariant()
    def what_is_open_is_what_is_held(self) -> None:
        used = {table.table: table.used for table in self.guard.tables()}
        assert used["permits"] == len(self.exact.permits)
        for limit in (limit.name for limit in LIMITS if "in_flight" in limit.fields):
            assert used[limit] == max(self.exact.held(limit).values(), default=0), limit

    def teardown(self) -> None:
        if not hasattr(self, "talks"):
            return
        self.talks.clear()
        open_ = {table.table: table.used for table in self.guard.tables() if "open" in table.table}
        assert set(open_.values()) == {0}
        assert {table.used for table in self.guard.tables() if table.table == "permits"} == {0}


TestDialogues = Dialogues.TestCase
TestDialogues.settings = settings(max_examples=80, stateful_step_count=60)
