"""Ordinary mail from a cold start is hardly ever deferred by the policy `inbound`, and each of its limits does have
something to do with that mail.

Limits on names that are new to the whole server only learn for two hours, so some runs here last four.
`.venv/bin/python tests/legitimate_mail.py` prints the same runs as tables.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from legitimate_mail import guard_for, main, table, trial
from mail.kinds import KINDS, Verdicts
from mail.mix import ALL_VERDICTS, START_US, ordinary_mail
from mail.trial import Counts, Trial
from throttle import Limit, Policy, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from mail.message import Message

WITHOUT_SPF = Verdicts(spf=False)
THREE_IN_TEN_THOUSAND = 0.0003


def seed_of(rng: random.Random) -> str:
    seed = str(rng.getrandbits(32))
    print(f"\n--seed {seed}")
    return seed


def check_volume(seen: Trial, per_hour: int, *allowed_by_hour: float) -> None:
    print(table(seen))
    for hour, allowed in enumerate(allowed_by_hour):
        assert 0.7 * per_hour < seen.sent(hour) < 1.4 * per_hour
        assert seen.share_deferred(hour) <= allowed
    # a mailing of a rare kind may not come at all in two hours of little mail
    assert len({kind for _, kind in seen.messages}) >= len(KINDS) - (5 if per_hour < 100_000 else 0)


#: The only limits that may defer ordinary mail, and only after their warm-up of two hours.
ON_NEW_NAMES = {"org-net-fan-out", "all-org-fan-out", "all-org-fan-out-spf"}
#: By messages an hour, how many fixed seeds a soak has; `None` stands for the seed of this run.
FIXED_SEEDS = {10_000: 20, 100_000: 20, 1_000_000: 3}
RUNS = [
    (10_000, None),
    (100_000, None),
    *(
        pytest.param(per_hour, str(number + 1), marks=[pytest.mark.soak, pytest.mark.timeout(1800)])
        for per_hour, count in FIXED_SEEDS.items()
        for number in range(count)
    ),
]


@pytest.mark.parametrize("verdicts", [ALL_VERDICTS, WITHOUT_SPF], ids=["with SPF", "without SPF"])
@pytest.mark.parametrize(("per_hour", "fixed"), RUNS)
def test_only_limits_on_new_names_defer_anything_and_hardly_ever_and_never_twice(
    per_hour: int, fixed: str | None, verdicts: Verdicts, rng: random.Random
) -> None:
    seen = trial(per_hour, fixed or seed_of(rng), hours=4, verdicts=verdicts)
    check_volume(seen, per_hour, 0, 0, THREE_IN_TEN_THOUSAND, THREE_IN_TEN_THOUSAND)
    assert seen.limits().keys() <= ON_NEW_NAMES
    assert seen.refused_again == {}


@pytest.mark.parametrize(
    ("rates", "verdicts"),
    [
        ({"org-net-fan-out": "10/10 minutes", "all-org-fan-out-spf": "500/10 minutes"}, ALL_VERDICTS),
        ({"all-org-fan-out": "2000/10 minutes"}, WITHOUT_SPF),
    ],
    ids=["with SPF", "without SPF"],
)
def test_after_the_warm_up_tighter_limits_on_new_names_would_be_met(
    rates: dict[str, str], verdicts: Verdicts, rng: random.Random
) -> None:
    seen = trial(100_000, seed_of(rng), hours=2.5, verdicts=verdicts, rates=rates)
    assert seen.limits().keys() == rates.keys()
    assert {hour for hour, _, _ in seen.deferred} == {2}


@pytest.mark.slow
def test_a_million_an_hour_under_five_times_the_limits_loses_nothing(rng: random.Random) -> None:
    check_volume(trial(1_000_000, seed_of(rng)), 1_000_000, 0, 0)


@pytest.mark.parametrize("hours", [2, pytest.param(4, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
@pytest.mark.parametrize("verdicts", [ALL_VERDICTS, WITHOUT_SPF], ids=["with SPF", "without SPF"])
def test_a_server_that_is_reached_by_ipv6_defers_no_more(verdicts: Verdicts, hours: int, rng: random.Random) -> None:
    seen = trial(100_000, seed_of(rng), hours=hours, ipv6=True, verdicts=verdicts)
    check_volume(seen, 100_000, 0, 0, *[THREE_IN_TEN_THOUSAND] * (hours - 2))
    assert seen.limits().keys() <= ON_NEW_NAMES
    assert seen.refused_again == {}


def test_by_ipv6_it_is_the_quota_that_lets_the_customers_of_the_two_largest_providers_pass(rng: random.Random) -> None:
    limits = [Limit(**{k: v for k, v in limit.fields.items() if k != "quota"}) for limit in Policy.builtin().limits]
    seed = seed_of(rng)
    seen = Trial(Throttle(Policy(limits), seed=rng.randbytes(16)), seed).run(ordinary_mail(seed, 100_000, 1, ipv6=True))
    assert set(seen.limits()) == {"net-org-fan-out", "client-org-fan-out"}
    assert {kind for _, kind, _ in seen.deferred} == {
        "microsoft 365 customers",
        "google workspace customers",
        "forwarding at the large providers",  # mailboxes of such customers
        "groups at google",  # a third of them such customers'
    }


#: Rates at which ordinary mail at 100,000 messages an hour does meet a limit: that `inbound` defers none of it is not
#: for want of such mail.
MET_AT = {
    "net-pace": "30/minute",
    "client-pace": "20/minute",
    "pair-pace": "20/minute",
    "host-pace": "60/minute",
    "org-fan-out": "20/10 minutes",
    "org-fresh": "20/10 minutes",
    "net-org-fan-out": "20/10 minutes",
    "client-org-fan-out": "10/10 minutes",
    "reply-to-fan-out": "4/10 minutes",
    "rcpt-pace": "2/minute",
}


@pytest.mark.parametrize("name", MET_AT)
def test_a_tighter_limit_would_be_met(name: str, rng: random.Random) -> None:
    seen = trial(100_000, seed_of(rng), hours=0.5, rates={name: MET_AT[name]})
    print(seen.limits())
    assert seen.limits().keys() == {name}


def test_a_deferred_message_comes_again_after_five_ten_and_twenty_minutes_from_its_senders_pool() -> None:
    def guard(rate: str) -> Throttle:
        return Throttle(Policy([Limit(name="pace", per="global", rate=rate, algorithm="gcra", when_full="admit")]))

    first = next(ordinary_mail("retry", 1_000, 1))._replace(at_us=START_US, pool=("192.0.2.1", "192.0.2.2"))
    held = first._replace(at_us=START_US + 1)
    later = first._replace(at_us=START_US + 60 * 60_000_000)
    seen = Trial(guard("1/35 minutes"), "retry").run([first, held, later])
    assert seen.longest_delay_us == 35 * 60_000_000
    assert sum(seen.deferred.values()) == 2  # the last finds the bucket full of the second's retry
    assert [due - later.at_us for due, *_ in seen.waiting] == [5 * 60_000_000]
    assert seen.still_waiting == 1
    assert seen.refused_again == {(first.kind, "pace"): 1}
    both = Counts()
    both.add(seen)
    both.add(seen)
    assert both.refused_again.total() == both.still_waiting == 2
    assert both.share_deferred(0) == seen.share_deferred(0) == 0.5
    assert both.limits() == {"pace": 4}
    assert Trial(guard("1/10 minutes"), "retry").run([first, held, later]).refused_again.total() == 1
    assert Trial(guard("1/5 minutes"), "retry").run([first, held, later]).refused_again.total() == 0


def test_one_seed_is_one_traffic_in_order_of_time_and_another_seed_another() -> None:
    def mail(seed: str) -> list[Message]:
        return list(ordinary_mail(seed, 20_000, 0.25))

    one = mail("a")
    assert one == mail("a")
    assert one != mail("b")
    assert [message.at_us for message in one] == sorted(message.at_us for message in one)


def test_every_kind_brings_its_share_of_the_mail() -> None:
    hours, volume = 20, 20_000
    counts = Counter(message.kind for message in some_days(hours, volume))
    whole = sum(kind.share for kind in KINDS)
    for kind in KINDS:
        expected = hours * volume * kind.share / whole
        assert 0.5 * expected < counts[kind.name] < 1.6 * expected, kind.name
    assert len(KINDS) == len({kind.name for kind in KINDS}) >= 51


def test_every_kind_says_in_one_line_what_it_stands_for() -> None:
    for kind in KINDS:
        assert 20 < len(kind.stands_for) < 120, kind.name
        assert kind.stands_for.endswith("."), kind.name


def test_without_verdicts_all_else_of_the_mail_is_the_same() -> None:
    whole = list(ordinary_mail("v", 20_000, 0.25))
    assert {message.spf for message in whole} == {"pass", "fail", "softfail", "none"}
    assert list(ordinary_mail("v", 20_000, 0.25, verdicts=WITHOUT_SPF)) == [
        message._replace(spf=None) for message in whole
    ]
    assert list(ordinary_mail("v", 20_000, 0.25, verdicts=Verdicts(dkim=False))) == [
        message._replace(dkim=()) for message in whole
    ]


def test_an_envelope_has_all_that_the_message_says() -> None:
    for message in ordinary_mail("envelopes", 5_000, 0.25):
        envelope = message.envelope()
        for field in message._fields:
            if field not in ("at_us", "kind", "pool"):
                value = getattr(message, field)
                several = field in ("rcpt_to", "header_from", "reply_to", "dkim")
                assert getattr(envelope, field) == (values(value) if several else value), field


def values(value: str | list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def test_letters_have_some_tens_of_kilobytes_and_a_long_tail_and_the_copies_of_a_mailing_one_size() -> None:
    sizes = sorted(message.size for message in ordinary_mail("sizes", 100_000, 0.5))
    assert 20_000 < sizes[len(sizes) // 2] < 50_000
    assert sizes[-len(sizes) // 500] > 5_000_000
    assert 25_000_000 < sizes[-1] <= 35_000_000
    copies = defaultdict(list)
    for message in ordinary_mail("sizes", 20_000, 1):
        if message.kind == "newsletters":
            copies[message.header_from].append(message.size)
    assert len(copies) > 10
    for of in copies.values():
        assert max(of) - min(of) < 500
    assert min(min(of) for of in copies.values()) < 50_000 < 70_000 < max(max(of) for of in copies.values())


def test_ordinary_mail_has_what_a_limit_might_take_for_an_attack() -> None:
    """Each shape at 100,000 messages an hour, the most that one value has of it in ten minutes."""
    by: dict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    many, mail = 0, ordinary_mail("shapes", 100_000, 2, ipv6=True)
    for message in mail:
        many = max(many, len(message.rcpt_to) if isinstance(message.rcpt_to, list) else 1)
        host = message.mail_from.rpartition("@")[2]
        ten, org, network = (message.at_us - START_US) // 600_000_000, organisation(host), network_of(message.client_ip)
        if message.reply_to and organisation(message.reply_to) != org:
            by["organisations with one Reply-To"][f"{ten} {message.reply_to}"].add(org)
        if message.reply_to is None and organisation(message.header_from) != org:
            by["organisations with one From"][f"{ten} {message.header_from}"].add(org)
        for signed in values(message.dkim):
            if organisation(signed) != org:
                by["organisations with one signature"][f"{ten} {organisation(signed)}"].add(org)
        if message.spf == "pass":
            by["hosts of one owner"][f"{ten} {org}"].add(host)
        else:
            by["networks with one claimed organisation"][f"{ten} {org}"].add(network)
            by["claimed organisations of one network"][f"{ten} {network}"].add(org)
        if message.kind == "forwarded newsletters":
            by["forwarders of one newsletter"][message.header_from].add(network)
        if message.kind == "customers in one 48":
            by["customers in one /48"][network].add(org)
    most = {shape: max(len(found) for found in values.values()) for shape, values in by.items()}
    print(many, most)
    assert 100 < many <= 500
    least = {
        "organisations with one Reply-To": 15,
        "organisations with one From": 10,
        "organisations with one signature": 500,
        "hosts of one owner": 60,
        "networks with one claimed organisation": 20,
        "claimed organisations of one network": 20,
        "forwarders of one newsletter": 50,
        "customers in one /48": 50,
    }
    assert most.keys() == least.keys()
    for shape, expected in least.items():
        assert most[shape] >= expected, shape


def organisation(address: str) -> str:
    """Enough of the suffix list for the names of these kinds."""
    host = address.rpartition("@")[2]
    return ".".join(host.split(".")[-3 if host.endswith((".co.uk", ".com.br")) else -2 :])


def network_of(address: str) -> str:
    """The /24, or of an IPv6 address as these kinds write it the /48."""
    return ":".join(address.split(":")[:3]) if ":" in address else address.rpartition(".")[0]


def test_the_tool_sums_up_seeds_and_names_what_was_deferred(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--hours", "0.2", "--seeds", "2", "--without-spf", "--deferred", "--rate", "net-claimed-pace=1/hour"]
    monkeypatch.setattr(sys, "argv", ["legitimate_mail.py", "1000", *options])
    main()
    out, err = capsys.readouterr()
    assert "verdicts: DKIM, policy inbound, scale 1" in out
    assert "seed 1, 2\n" in out
    assert err.count("deferred") == 2
    counts = [int(line.split(" of ")[-2].rpartition(" ")[2]) for line in err.splitlines()]
    rows = [line.split() for line in out.splitlines() if line.startswith("  ")]
    assert rows[-1][0] == "all"
    assert rows[-1][-2:] == ["net-claimed-pace", str(sum(counts))]
    assert sum(counts) == sum(int(row[-1]) for row in rows[1:-1]) > 50


def some_days(hours: int, volume: int) -> Iterator[Message]:
    return ordinary_mail("shares", volume, hours)


def test_the_guard_of_a_volume_has_its_scale() -> None:
    assert [guard_for(per_hour, "x").policy.scale for per_hour in (10_000, 100_000, 1_000_000)] == [1, 1, 5]
