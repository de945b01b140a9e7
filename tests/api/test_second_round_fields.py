"""The fields that close the second round of attacks, from Python: `charge`, `warm_up`, recipients of a fan-out,
`max_recipients`, and limits that look at how far the sender is proven.
"""

from __future__ import annotations

import itertools
import math
import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest

from given_guards import REAL, guard, limit
from throttle import Envelope, Limit, ManualClock, Policy, PolicyError, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR = 3700.0  # an hour, and more than the unit in which a seen set counts

PACE = limit("pace", "client.ip", "1000/minute")

TOO_MANY = "452 4.5.3 too many recipients at once for global"

MAX = 100  # the least that `max_recipients` may be


def fan(rate: str = "3/30 days", **fields: Any) -> Limit:
    return limit("fan", "sender.registered", rate, distinct="sender.host", **{"remember": "7 days"} | fields)


def host(name: str, recipients: int = 1) -> Envelope:
    return Envelope(client_ip="192.0.2.1", mail_from=f"a@{name}.b.com", rcpt_to=mailboxes(recipients))


def mailboxes(count: int) -> list[str]:
    return [f"u{number}@q.net" for number in range(count)]


def passed(pace: Throttle, *names: str) -> list[bool]:
    return [bool(pace.check(host(name))) for name in names]


def only(pace: Throttle, envelope: Envelope) -> Any:
    """What the one limit says."""
    [row] = pace.explain(envelope).limits
    return row


# --- charge ---


@pytest.mark.parametrize("start", [0.0, 1.0, REAL])
@pytest.mark.parametrize("charge", ["once", "twice", "until-return"])
def test_a_new_element_is_charged_whatever_the_time_is(start: float, charge: str) -> None:
    pace = guard(fan(charge=charge), clock=ManualClock(start))
    assert passed(pace, "h0", "h1", "h2", "h3") == [True, True, True, False]


def test_once_charges_what_is_new_and_nothing_that_returns() -> None:
    clock = ManualClock(REAL)
    pace = guard(fan(charge="once"), clock=clock)
    assert passed(pace, "h0", "h1", "h2", "h0", "h0") == [True] * 5
    clock.advance(HOUR)
    assert passed(pace, "h0", "h1", "h2", "h3") == [True, True, True, False]


def test_twice_charges_what_returns_once_more() -> None:
    clock = ManualClock(REAL)
    pace = guard(fan(charge="twice"), clock=clock)
    assert passed(pace, "h0", "h0", "h0") == [True] * 3
    assert only(pace, host("h0")).used == 1
    assert only(pace, host("h0")).adds == 0
    clock.advance(HOUR)
    assert only(pace, host("h0")).adds == 1, "it returns"
    assert passed(pace, "h0", "h0", "h1", "h2") == [True, True, True, False], "one for the return, one for h1"
    assert only(pace, host("h0")).adds == 0, "it has returned"
    clock.advance(HOUR)
    assert passed(pace, "h0", "h1") == [True, False], "h1 returns, and there is no room"


def test_until_return_charges_each_message() -> None:
    clock = ManualClock(REAL)
    pace = guard(fan(charge="until-return"), clock=clock)
    assert passed(pace, "h0", "h0") == [True, True]
    assert (only(pace, host("h0")).used, only(pace, host("h0")).adds) == (2, 1)
    clock.advance(HOUR)
    assert passed(pace, "h0") == [True], "the return is charged"
    assert passed(pace, "h0", "h1", "h0") == [True, False, True], "from now on it is free"


def test_until_return_lets_nothing_return_that_is_refused() -> None:
    clock = ManualClock(REAL)
    pace = guard(fan(charge="until-return"), clock=clock)
    assert passed(pace, "h0", "h0", "h0", "h0") == [True, True, True, False]
    clock.advance(HOUR)
    assert passed(pace, "h0", "h0") == [False, False]


def test_with_settle_an_element_returns_after_that_time() -> None:
    clock = ManualClock(REAL)
    pace = guard(fan("9/minute", charge="until-return", settle="2 hours"), clock=clock)
    assert passed(pace, "h0") == [True]
    clock.advance(HOUR)
    assert passed(pace, "h0") == [True]
    assert only(pace, host("h0")).adds == 1
    clock.advance(HOUR)
    assert passed(pace, "h0") == [True]
    assert only(pace, host("h0")).adds == 0


@pytest.mark.parametrize("fields", [{"charge": "twice"}, {"warm_up": "1 hour"}])
def test_charge_and_warm_up_are_fields_of_a_fan_out(fields: dict[str, Any]) -> None:
    with pytest.raises(PolicyError) as raised:
        Policy([limit("pace", "sender.org", **fields)])
    assert (raised.value.limit, raised.value.field) == ("pace", next(iter(fields)))


@pytest.mark.parametrize("fields", [{"charge": "twice"}, {"charge": "until-return", "warm_up": "2 hours"}])
def test_charge_and_warm_up_are_written_and_pickled(fields: dict[str, Any]) -> None:
    policy = Policy([fan(**fields)])
    assert Policy.parse(policy.to_toml()) == pickle.loads(pickle.dumps(policy)) == policy
    assert {name: policy.limits[0].fields[name] for name in fields} == fields


# --- warm_up ---


def test_a_fan_out_that_warms_up_only_learns() -> None:
    clock = ManualClock(REAL)
    pace = guard(fan(warm_up="10 minutes"), clock=clock)
    before = [f"before-{number}" for number in range(50)]
    assert all(passed(pace, *before))
    clock.advance(599.999)
    assert all(passed(pace, "last", *before))
    assert only(pace, host("h0")).used == 0
    clock.advance(0.001)
    assert passed(pace, "h0", "h1", "h2", "h3") == [True, True, True, False]
    assert all(passed(pace, "last", *before)), "what it has learnt is known"


def test_a_warm_up_begins_with_the_first_check() -> None:
    clock = ManualClock(REAL)
    pace = guard(fan(warm_up="10 minutes"), clock=clock)
    clock.advance(HOUR)
    assert pace.peek(host("h0"))
    clock.advance(HOUR)
    assert all(passed(pace, *map(str, range(9)))), "a guard that was only looked at has not begun"
    clock.advance(600.0)
    assert passed(pace, "h0", "h1", "h2", "h3") == [True, True, True, False]


# --- recipients of a fan-out ---


def test_a_new_element_is_charged_for_each_recipient_and_a_known_one_for_none() -> None:
    pace = guard(fan("10/30 days", count="recipients"))
    assert [bool(pace.check(host(f"h{number}", 4))) for number in range(4)] == [True, True, False, False]
    assert only(pace, host("h9", 2)).used == 8
    assert pace.check(host("h0", 50))
    assert pace.check(host("h9", 2))
    assert not pace.check(host("h10"))


def test_more_recipients_of_a_new_element_than_ever_fit_wait_for_ever() -> None:
    decision = guard(fan("10/day", count="recipients")).check(host("h0", 11))
    assert (bool(decision), decision.retry_after, decision.limit) == (False, math.inf, "fan")


@pytest.mark.parametrize("others", [(), (limit("messages", "sender.registered", "99/day", distinct="sender.host"),)])
def test_a_transaction_remembers_that_its_host_was_new(others: tuple[Limit, ...]) -> None:
    pace = guard(fan("10/30 days", count="recipients"), *others)
    session = pace.session(client_ip="192.0.2.1")
    assert session.mail("a@h0.b.com")
    answers = [session.rcpt(recipient) for recipient in mailboxes(13)]
    assert [bool(answer) for answer in answers] == [True] * 10 + [False] * 3
    assert answers[10].limit == "fan"
    assert session.data()
    assert session.mail("a@h0.b.com")
    assert session.rcpt(mailboxes(50)), "in its next message it is known"


# --- max_recipients ---


def bounded(**fields: Any) -> Policy:
    return Policy([PACE], max_recipients=MAX, **fields)


def test_one_recipient_too_many_waits_for_the_next_transaction() -> None:
    session = Throttle(bounded(), clock=ManualClock(REAL)).session(client_ip="192.0.2.1")
    assert session.mail("a@b.com")
    assert all(session.rcpt(recipient) for recipient in mailboxes(MAX - 1))
    assert not session.rcpt(["x@q.net", "y@q.net"]), "all, or none"
    assert session.rcpt("x@q.net")
    assert session.rcpt(["x@q.net", *mailboxes(9)]), "the transaction has them already"
    refused = session.rcpt("y@q.net")
    assert (refused.limit, refused.stage, refused.key) == ("max-recipients", "rcpt", "global")
    assert refused.reply == "452 4.5.3 global has too many recipients; retry in 1 s"
    assert session.data(), "what was accepted is delivered"
    assert session.mail("a@b.com")
    assert session.rcpt("y@q.net")


def test_an_envelope_of_too_many_recipients_is_refused_for_good_and_charges_nothing() -> None:
    pace = Throttle(bounded(), clock=ManualClock(REAL))
    refused = pace.check(host("h0", MAX + 1))
    assert (refused.reply, refused.limit, refused.retry_after) == (TOO_MANY, "max-recipients", math.inf)
    assert only(pace, host("h0", MAX)).used == 0
    assert pace.explain(host("h0", MAX + 1)).limit == "max-recipients"
    assert pace.check(host("h0", MAX))
    assert pace.check(host("h0", MAX).replace(rcpt_to=mailboxes(MAX) * 3)), "the different ones count"


def test_in_shadow_mode_recipients_are_only_told() -> None:
    pace = Throttle(bounded(mode="shadow"), clock=ManualClock(REAL))
    decision = pace.check(host("h0", MAX + 1))
    assert (bool(decision), decision.shadow) == (True, ("max-recipients",))
    session = pace.session(client_ip="192.0.2.1")
    assert session.mail("a@b.com").shadow == ()
    assert session.rcpt(mailboxes(MAX)).shadow == ()
    assert session.rcpt("x@q.net").shadow == ("max-recipients",)


def test_it_is_an_argument_a_field_and_an_attribute() -> None:
    assert Policy([PACE]).max_recipients is None
    assert bounded().max_recipients == MAX
    assert bounded() != Policy([PACE])
    assert bounded().to_toml().startswith("max_recipients = 100\n\n[[limit]]\n")
    assert Policy.parse(bounded().to_toml()) == pickle.loads(pickle.dumps(bounded())) == bounded()
    assert pickle.loads(pickle.dumps(bounded())).max_recipients == MAX
    assert bounded(scale=3).max_recipients == MAX, "no rate: the scale leaves it"


def test_a_policy_that_extends_another_inherits_or_replaces_it(tmp_path: Path) -> None:
    assert Policy.builtin().max_recipients == Policy.parse('extends = "inbound"').max_recipients == 1000
    mine = Policy.parse('extends = "inbound"\nmax_recipients = 200\nscale = 3\n')
    assert (mine.max_recipients, Policy.parse(mine.to_toml()).max_recipients) == (200, 200)
    (tmp_path / "base.toml").write_text(bounded().to_toml())
    (tmp_path / "kept.toml").write_text('extends = "base.toml"\n')
    (tmp_path / "mine.toml").write_text('extends = "kept.toml"\nmax_recipients = 101\n')
    assert Policy.from_file(tmp_path / "kept.toml").max_recipients == MAX
    assert Policy.from_file(tmp_path / "mine.toml").max_recipients == MAX + 1


def test_a_reload_changes_it() -> None:
    pace = Throttle(bounded(), clock=ManualClock(REAL))
    pace.reload(Policy([PACE], max_recipients=MAX + 1))
    assert pace.check(host("h0", MAX + 1))
    assert not pace.check(host("h0", MAX + 2))
    pace.reload(Policy([PACE]))
    assert pace.check(host("h0", MAX + 2))


@pytest.mark.parametrize("wrong", [99, 0, -1, 1_000_001, "x", 100.5])
def test_less_than_every_server_has_to_take_is_an_error(wrong: Any) -> None:
    with pytest.raises(PolicyError, match=r"a whole number from 100 to 1000000: .*RFC 5321 §4\.5\.3\.1\.8") as raised:
        Policy([PACE], max_recipients=wrong)
    assert raised.value.field == "max_recipients"


# --- verified, and the trust of a sender ---

NAMED = {"client_name": "mx.b.com"}
PROVEN = {"spf": "pass"}


def sender(known: dict[str, Any] | None = None, mail_from: str = "a@x.b.com", ip: str = "192.0.2.1") -> Envelope:
    return Envelope(client_ip=ip, mail_from=mail_from, **known or {})


def test_claimed_mail_of_a_network_has_a_limit_of_its_own() -> None:
    pace = guard(limit("net", "client.net", "3/day", verified="claimed"))
    for known in (NAMED, PROVEN):
        assert all(pace.check(sender(known)) for _ in range(9))
    claims = [sender(mail_from=f"a@org{number}.com", ip=f"192.0.2.{number}") for number in range(5)]
    decisions = [pace.check(claim) for claim in claims]
    assert [bool(decision) for decision in decisions] == [True, True, True, False, False], "whatever names it claims"
    assert (decisions[3].limit, decisions[3].key, decisions[3].identity) == ("net", "192.0.2.0/24", "client.net")
    assert pace.check(sender(ip="198.51.100.1")), "another network"
    for known in (NAMED, PROVEN):
        assert all(pace.check(sender(known)) for _ in range(9)), "not refused either"
        assert only(pace, sender(known)).verdict == "does not apply"
    session = pace.session(client_ip="192.0.2.1")
    assert session.connect()
    assert not session.mail("a@org6.com")


def test_a_sender_is_named_by_its_client_alone() -> None:
    explained = guard(PACE).explain(sender(NAMED))
    trust = {name: explained.identities[name].trust for name in ("sender.address", "sender.host", "sender.org")}
    assert set(trust.values()) == {"named"}
    assert str(explained.identities["sender.org"]) == "b.com (named)"
    assert guard(PACE).explain(sender(NAMED | PROVEN)).identities["sender.org"].trust == "proven"
    assert guard(PACE).explain(sender()).identities["sender.org"].trust == "claimed"


def test_each_trust_has_a_counter_and_a_refund_returns_to_its_own() -> None:
    pace = guard(limit("org", "sender.org", "1/day"))
    levels = {"claimed": {}, "named": NAMED, "proven": PROVEN}
    decisions = {trust: pace.check(sender(known)) for trust, known in levels.items()}
    assert all(decisions.values())
    for trust, known in levels.items():
        assert not pace.check(sender(known))
        assert (only(pace, sender(known)).trust, only(pace, sender(known)).used) == (trust, 1)
    assert decisions["named"].refund()
    assert not decisions["named"].refund()
    assert {trust: only(pace, sender(known)).used for trust, known in levels.items()} == {
        "claimed": 1,
        "named": 0,
        "proven": 1,
    }
    assert [bool(pace.check(sender(known))) for known in levels.values()] == [False, True, False]


def test_a_limit_on_proven_senders_holds_named_ones_and_never_blocks_them() -> None:
    pace = guard(limit("org", "sender.org", "1/day", verified="proven", action="block 1 hour"))
    assert [bool(pace.check(sender(NAMED))) for _ in range(3)] == [True, False, False]
    assert pace.blocked() == []
    assert pace.check(sender(PROVEN))
    assert not pace.check(sender(PROVEN))
    assert [(entry.identity, entry.value) for entry in pace.blocked()] == [("sender.org", "b.com")]
    assert pace.check(sender()), "claimed ones have nothing to do with it"


def test_no_allow_entry_holds_for_a_named_sender() -> None:
    pace = guard(limit("org", "sender.org", "1/day"))
    pace.allow("sender.org", "b.com")
    assert [bool(pace.check(sender(NAMED))) for _ in range(2)] == [True, False]
    assert [bool(pace.check(sender(PROVEN))) for _ in range(3)] == [True] * 3


# --- threads ---


def hammer(ask: Callable[[], bool]) -> int:
    """How many were admitted of what eight threads asked, beginning together."""
    start, admitted = threading.Barrier(8), [0] * 8

    def run(number: int) -> None:
        start.wait()
        admitted[number] = sum(ask() for _ in range(1000))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(admitted)


def test_threads_admit_exactly_the_limit_of_recipients_of_new_hosts() -> None:
    pace = guard(fan("3001/day", count="recipients"))
    fresh = itertools.count()
    assert hammer(lambda: pace.check(host(f"h{next(fresh)}", 3)).allowed) == 1000
    assert pace.check(host("last", 1))
    assert not pace.check(host("one-more", 1))


def test_threads_admit_exactly_the_limit_of_one_element_that_has_not_returned() -> None:
    pace = guard(limit("nets", "sender.org", "700/day", distinct="client.net", charge="until-return"))
    assert hammer(lambda: pace.check(sender()).allowed) == 700
    assert not pace.check(sender(ip="198.51.100.1"))


def test_threads_admit_exactly_the_limit_of_a_named_sender_and_refunds_return_it() -> None:
    pace = guard(limit("org", "sender.org", "700/day", verified="proven"))
    assert hammer(lambda: pace.check(sender(NAMED)).allowed) == 700
    assert pace.check(sender(PROVEN)).refund()
    assert only(pace, sender(PROVEN)).used == 0
    other = guard(limit("org", "sender.org", "700/day", verified="proven"))
    assert hammer(lambda: other.check(sender(NAMED)).refund()) == 8000
    assert only(other, sender(NAMED)).used == 0
