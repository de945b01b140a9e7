"""Keys of many envelopes at once, and what is new of them, against one envelope after another."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from throttle import Envelope, Limit, ManualClock, Policy, Throttle, learned
from throttle._replay import Rows, observed, values
from throttle.replay import run
from throttle.replay.learning import Remembered
from throttle.replay.limits import Keys
from throttle.replay.notes import Notes
from throttle.replay.report import report
from throttle.replay.suggest import suggestions
from throttle.replay.tables import show
from throttle.replay.transaction import Transaction

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from throttle.replay.limits import Values

NAMES = ("client.net/24/48", "sender.org", "rcpt.address", "dkim.org")
PLACES = [(0,), (2,), (0, 1), (0, 2), (2, 0), (2, 3), (0, 1, 2), (1, 2, 3)]
REMEMBER_S = 500


def guard() -> Throttle:
    per = [*NAMES, "auth.user"]
    return Throttle(Policy([Limit(name=f"l{n}", per=name, rate="1000/minute") for n, name in enumerate(per)]))


def places_of(guard: Throttle, places: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(observed(guard).index(NAMES[place]) for place in places)


def envelopes(rng: random.Random, count: int) -> list[Envelope]:
    def one() -> Envelope:
        return Envelope(
            client_ip=rng.choice([None, "what", *(f"192.0.{n}.7" for n in range(6))]),
            client_name=rng.choice([None, "mx.o1.com", "mx.o2.com"]),
            mail_from=rng.choice([None, "<>", "", "a@\xff..com", "same", *(f"a@h.o{n}.com" for n in range(6))]),
            rcpt_to=[f"r{rng.randrange(6)}@in.com" for _ in range(rng.randrange(3))],
            dkim=[f"d{rng.randrange(6)}.com" for _ in range(rng.randrange(3))],
        )

    return [one() for _ in range(count)]


def several(value: object) -> list[str]:
    return list(value) if isinstance(value, tuple) else [value] if isinstance(value, str) and value else []


def keys_of(places: tuple[int, ...], row: Values) -> list[str]:
    keys = several(row[places[0]])
    for place in places[1:]:
        keys = [f"{key} + {other}" for key in keys for other in several(row[place])]
    return keys


@pytest.mark.parametrize("numbers", PLACES)
def test_keys_of_many_are_those_of_each(numbers: tuple[int, ...], rng: random.Random) -> None:
    asked = guard()
    places = places_of(asked, numbers)
    keys, rows = Keys("x", places), Rows(asked)
    for asks in (False, True):
        sent = envelopes(rng, 500)
        for envelope in sent:
            if asks:
                assert rows.ask(1.0, 1.0, envelope) is None
            else:
                rows.add(1.0, envelope)
        of_each = [values(asked, envelope) for envelope in sent]
        assert {row[-1] for row in of_each} == {True, False}
        assert [list(keys.of(row)) for row in of_each] == [keys_of(places, row) for row in of_each]
        for verified, wanted in (("any", (True, False)), ("proven", (True,)), ("claimed", (False,))):
            told = rows.keys(places, verified)
            assert told.list() == [key for row in of_each if row[-1] in wanted for key in keys_of(places, row)]
            assert len(told) == len(told.list())
        assert len(rows) == 500
        rows.clear()
        assert (len(rows), rows.keys(places, "any").list()) == (0, [])


@pytest.mark.parametrize("numbers", PLACES)
@pytest.mark.parametrize("number", [1, 2])
def test_what_is_new_is_told_once_for_each(numbers: tuple[int, ...], number: int, rng: random.Random) -> None:
    asked = guard()
    places, (place,) = places_of(asked, numbers), places_of(asked, (number,))
    memory = Remembered(learned.Memory(["x"], "y"), Keys("x", places), place, [], REMEMBER_S)
    seen: dict[tuple[str, str], tuple[float, float]] = {}
    at, rows = 0.0, Rows(asked)
    for _ in range(20):
        wanted, without = [], [n for n in range(30) if rng.random() < 0.1]
        for n, envelope in enumerate(envelopes(rng, 30)):
            at += rng.randrange(40)
            rows.add(at, envelope)
            row = values(asked, envelope)
            for key in keys_of(places, row) if n not in without else []:
                for element in several(row[place]):
                    if element == key:
                        continue
                    first, last = seen.get((key, element), (at, -REMEMBER_S - 1))
                    if at - last > REMEMBER_S:
                        wanted.append(key)
                        first = at
                    if element != "MALFORMED":
                        seen[key, element] = (first, at)
        assert memory.update(rows, without).list() == wanted
        rows.clear()
    assert memory.seen.items() == [(*known, *times) for known, times in seen.items()]


def test_where_a_key_ends_is_a_part_of_what_is_known() -> None:
    asked, sent = guard(), [("a", "bc.com"), ("ab", "c.com")]
    rows, per = Rows(asked), observed(asked).index("auth.user")
    for user, organisation in sent:
        rows.add(1.0, Envelope(auth_user=user, mail_from=f"x@{organisation}"))
    (place,) = places_of(asked, (1,))
    memory = Remembered(learned.Memory(["x"], "y"), Keys("x", (per,)), place, [], REMEMBER_S)
    assert memory.update(rows).list() == ["a", "ab"]
    assert memory.seen.items() == [(*known, 1.0, 1.0) for known in sent]


def test_beyond_its_bound_a_memory_keeps_what_came_back_and_then_the_latest(
    monkeypatch: pytest.MonkeyPatch, rng: random.Random
) -> None:
    monkeypatch.setattr("throttle.replay.learning.MOST_ELEMENTS", 20)
    monkeypatch.setattr("throttle.replay.learning.COMEBACK_S", 100)
    asked = guard()
    (per, place) = places_of(asked, (0, 1))
    memory = Remembered(learned.Memory(["x"], "y"), Keys("x", (per,)), place, [], REMEMBER_S)
    seen: dict[tuple[str, str], tuple[float, float]] = {}
    dropped, at, rows = 0, 0.0, Rows(asked)
    for _ in range(60):
        for _ in range(5):
            at += rng.randrange(3)
            network, organisation = rng.randrange(3), f"o{int(rng.paretovariate(0.5)) % 999}.com"
            rows.add(at, Envelope(client_ip=f"192.0.{network}.7", mail_from=f"a@{organisation}"))
            known = (f"192.0.{network}.0/24", organisation)
            seen[known] = (seen.get(known, (at, at))[0], at)
        memory.update(rows)
        rows.clear()
        if len(seen) > 20:
            ranked = sorted(seen.items(), key=lambda item: (item[1][1] - item[1][0] >= 100, item[1][1]), reverse=True)
            dropped += len(seen) - 10
            seen = dict(ranked[:10])
        assert memory.seen.items() == [(*known, *times) for known, times in seen.items()]
        assert len(memory.seen) == len(seen)
    assert memory.dropped == dropped > 20


def test_what_a_guard_refuses_is_not_appended_and_its_decision_told() -> None:
    limits = [
        Limit(name="soft", per="client.ip", rate="2/hour", mode="shadow"),
        Limit(name="hard", per="client.ip", rate="4/hour"),
    ]
    rows, envelope = Rows(Throttle(Policy(limits))), Envelope(client_ip="192.0.2.1", mail_from="a@b.com")
    said = [rows.ask(1.0, 1.0, envelope) for _ in range(6)]
    assert [None if decision is None else (decision.allowed, decision.limit, decision.shadow) for decision in said] == [
        None, None, (True, None, ("soft",)), (True, None, ("soft",)),
        (False, "hard", ("soft",)), (False, "hard", ("soft",)),
    ]  # fmt: skip
    assert rows.keys([0], "any").list() == ["192.0.2.1"] * 2


def test_a_place_that_no_identity_has_is_told() -> None:
    asked = guard()
    rows, memory = Rows(asked), Remembered(learned.Memory(["x"], "y"), Keys("x", (0,)), 5, [], REMEMBER_S)
    with pytest.raises(ValueError, match="place: found 5; allowed: less than 5"):
        rows.keys([0, 5], "any")
    with pytest.raises(ValueError, match="place: found 5"):
        memory.update(rows)


def test_what_waits_is_bounded_by_its_recipients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_AT_ONCE", 4)
    replay = run.Replay(Throttle(memory="8 MiB", clock=ManualClock(0.0)))
    waited = []
    for count in (1, 2, 5, 1, 1):
        recipients = [f"u{number}@box.com" for number in range(count)]
        replay.add(
            Transaction(0.0, Envelope(client_ip="192.0.2.1", mail_from="x@a.com", rcpt_to=recipients), None, False)
        )
        waited.append(len(replay._rows))
    assert waited == [1, 2, 3, 1, 2]


def never_asked(limits: list[Limit], sent: list[Envelope]) -> list[str]:
    replay = run.Replay(Throttle(Policy(limits), clock=ManualClock(0.0)))
    for at, envelope in enumerate(sent):
        replay.add(Transaction(float(at), envelope))
    replay.close()
    names: list[str] = report(replay, Notes())["policy"]["never_asked"]
    return names


def test_a_limit_was_asked_when_another_limit_refused_all_of_its_keys() -> None:
    limits = [
        Limit(name="few", per="sender.registered", distinct="sender.host", rate="2/hour"),
        Limit(name="many", per="sender.registered", distinct="sender.host", rate="200/hour"),
        Limit(name="user", per="auth.user", rate="200/hour"),
    ]
    sent = [Envelope(client_ip="192.0.2.1", mail_from=f"a@h{n}.b.com") for n in range(9)]
    assert never_asked(limits, sent) == ["user"]


def test_a_limit_was_asked_when_all_messages_with_its_keys_were_refused() -> None:
    limits = [
        Limit(name="network", per="client.ip", rate="1/day"),
        Limit(name="user", per="auth.user", rate="200/hour"),
        Limit(name="proven", per="sender.host", rate="200/hour", verified="proven"),
        Limit(name="claimed", per="sender.host", rate="200/hour", verified="claimed"),
    ]
    sent = [
        Envelope(client_ip="192.0.2.1"),
        Envelope(client_ip="192.0.2.1", mail_from="a@b.com", auth_user="joe"),
    ]
    assert never_asked(limits, sent) == ["proven"]


def mail(
    at: float, network: int, sender: str = "a@b.com", to: Sequence[str] = ("in@box.com",), spf: str | None = None
) -> Transaction:
    return Transaction(at, Envelope(client_ip=f"10.0.{network}.1", mail_from=sender, rcpt_to=to, spf=spf))


def replayed(limits: list[Limit], sent: list[Transaction]) -> run.Replay:
    replay = run.Replay(Throttle(Policy(limits), clock=ManualClock(0.0)))
    for transaction in sent:
        replay.add(transaction)
    replay.close()
    return replay


FAN_OUT: dict[str, Any] = {"per": "sender.registered", "distinct": "sender.host", "rate": "40/hour"}


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"count": "recipients"}, "recipients of new sender.host"),
        ({"charge": "twice"}, "new or returned sender.host"),
        ({"charge": "until-return"}, "messages of new sender.host"),
        ({"warm_up": "2 hours"}, "new sender.host"),
        ({"new_to": "client.net", "per": "client.ip"}, "new sender.host"),
    ],
)
def test_what_a_limit_charges_beyond_what_is_new_to_its_key_is_not_told(fields: dict[str, str], counts: str) -> None:
    limits = [Limit(name="new", **FAN_OUT), Limit(name="more", **FAN_OUT | fields)]
    sent = [mail(n, 0, f"a@h{n}.b.com", ["x@box.com", "y@box.com"]) for n in range(30)]
    told = report(replayed(limits, sent), Notes())
    rows = {row["limit"]: row for row in told["limits"]}
    assert (rows["new"]["counts"], rows["new"]["max"]) == ("new sender.host", 20 if "count" in fields else 30)
    assert (rows["more"]["counts"], rows["more"]["max"], rows["more"]["p99"]) == (counts, None, None)
    assert told["policy"]["not_told"] == ["more"]
    assert told["policy"]["warm_up"] == ({"more": "2 hours"} if "warm_up" in fields else {})
    refused = [(row["limit"], row["count"]) for row in told["refused_by"]]
    assert refused == ([("more", 10)] if "count" in fields else [])
    show(told, Console(file=io.StringIO()))


def test_a_quota_for_a_fan_out_of_recipients_is_in_recipients() -> None:
    limits = [Limit(name="hosts", **FAN_OUT | {"count": "recipients"})]
    sent = [mail(n, 0, f"a@h{n}.b.com", ["x@box.com", "y@box.com"]) for n in range(30)]
    (quota,) = suggestions(replayed(limits, sent))["quotas"]
    assert quota["rate"] == "75/hour"  # 40, and 20 for ten refused messages, with a quarter more


def test_in_the_warm_up_of_a_log_nothing_is_refused_and_networks_are_learned() -> None:
    limit = Limit(name="net", per="sender.org", distinct="client.net", rate="5/day", charge="until-return",
                  warm_up="2 hours")  # fmt: skip
    early = [mail(at + n, n) for at in (0, 4000) for n in range(50)]
    late = [mail(9000 + n, n) for n in range(100)]  # fifty that came back an hour later, and fifty new ones
    told = report(replayed([limit], [*early, *late]), Notes())
    assert [(row["limit"], row["count"]) for row in told["refused_by"]] == [("net", 45)]


def test_a_limit_on_claimed_senders_learns_nothing_of_proven_ones() -> None:
    limit = Limit(name="net", per="sender.org", distinct="client.net", rate="100/day", verified="claimed")
    sent = [mail(n, n, spf="pass" if n % 3 else None) for n in range(60)]
    replay = replayed([limit], sent)
    networks = [f"10.0.{n}.0/24" for n in range(0, 60, 3)]
    assert [element for _, element, *_ in replay.remembered[0].seen.items()] == networks
    (row,) = report(replay, Notes())["limits"]
    assert (row["counts"], row["max"]) == ("new client.net", 20)
    # As a guard: the claimed mail of a network that has only sent proven mail is new to it.
    guard = Throttle(Policy([limit]), clock=ManualClock(0.0))
    for transaction in sent:
        guard.check(transaction.envelope, now=transaction.time)
    assert guard.explain(mail(60, 1).envelope).limits[0].adds == 1
    assert guard.explain(mail(60, 0).envelope).limits[0].adds == 0


def test_a_limit_that_shares_its_memory_with_other_senders_is_not_told() -> None:
    limits = [
        Limit(name="all", **FAN_OUT),
        Limit(name="claimed", **FAN_OUT, verified="claimed"),
        Limit(name="short", **FAN_OUT, remember="1 hour"),
    ]
    told = report(replayed(limits, [mail(0, 0)]), Notes())
    assert told["policy"]["not_told"] == ["claimed", "short"]


def test_what_is_new_to_another_key_is_learned_under_that_key() -> None:
    limit = Limit(name="client", per="client.net/32/64", new_to="client.net/24/48", distinct="sender.org", rate="9/day")
    (memory,) = replayed([limit], [mail(n, n % 2, f"a@o{n}.com") for n in range(4)]).remembered
    assert memory.memory == learned.Memory(["client.net/24/48"], "sender.org")
    assert [(key, element) for key, element, *_ in memory.seen.items()] == [
        (f"10.0.{n % 2}.0/24", f"o{n}.com") for n in range(4)
    ]
