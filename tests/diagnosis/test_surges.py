"""Twelve scripted surges: `diagnose` names what each shares, or that it shares nothing, and the command that acts on it
works.
"""

from __future__ import annotations

import heapq
import shlex
from operator import itemgetter
from typing import TYPE_CHECKING

import pytest

from surges import END_US, OPEN, SURGES, Surge, flood, invented, word
from throttle import Policy, Throttle
from throttle.diagnosis import described, report

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from throttle.types import Diagnosis, EnvelopeFields


#: What a message that ends at MAIL does not show.
HEADLESS: EnvelopeFields = {"rcpt_to": None, "header_from": None, "reply_to": None, "dkim": None}


def found(diagnosis: Diagnosis) -> set[tuple[str, str]]:
    return {(finding["identity"], finding["value"]) for finding in diagnosis["findings"]}


@pytest.mark.parametrize("surge", SURGES, ids=lambda surge: surge.name)
@pytest.mark.parametrize("policy", ["inbound", OPEN], ids=["inbound", "open"])
def test_what_a_surge_shares_is_named(surge: Surge, policy: str | Policy, flooded: Callable[..., Throttle]) -> None:
    guard = flooded(flood(surge, 4, 2), policy)
    diagnosis = guard.diagnose(now=END_US / 1e6)
    assert (diagnosis["state"], found(diagnosis)) == (surge.state, set(surge.found))
    told = report(diagnosis, guard.notices(now=END_US / 1e6), guard.policy)
    begins = {"mass-mail": "Nothing is wrong: ", "scattered": "The surge has nothing in common: "}
    if surge.state in begins:
        assert told.startswith(begins[surge.state])
        assert "throttle ctl" not in told
    else:
        sentences = told.partition("\n\n")[0].splitlines()
        assert len(sentences) == len(surge.found)
        for identity, value in surge.found:
            assert any(
                f" % of the surge of the last 4 minutes shares {identity} {value};" in told for told in sentences
            )


# Without a common value, half as much mail again is what mailings bring every hour. Of two floods, each has a quarter.
@pytest.mark.parametrize("surge", [*SURGES[:9], SURGES[10]], ids=lambda surge: surge.name)
@pytest.mark.parametrize("minutes", [5, 30])
def test_a_flood_of_half_of_the_ordinary_mail_is_found(
    surge: Surge, minutes: int, flooded: Callable[..., Throttle]
) -> None:
    diagnosis = flooded(flood(surge, minutes, 0.5), OPEN).diagnose(now=END_US / 1e6)
    assert (diagnosis["state"], found(diagnosis)) == (surge.state, set(surge.found))


@pytest.mark.parametrize("surge", [*SURGES[:10], SURGES[11]], ids=lambda surge: surge.name)
@pytest.mark.parametrize("minutes", [35, 40, 45])
def test_a_flood_of_three_quarters_of_an_hour_is_found(
    surge: Surge, minutes: int, flooded: Callable[..., Throttle]
) -> None:
    """The quieter half of the hour before has minutes of the flood, too."""
    diagnosis = flooded(flood(surge, minutes, 2), OPEN).diagnose(now=END_US / 1e6)
    assert (diagnosis["state"], found(diagnosis)) == (surge.state, set(surge.found))


def proven(surge: Surge) -> Surge:
    return surge._replace(message=lambda rng, n: {**surge.message(rng, n), "spf": "pass"})


@pytest.mark.parametrize("surge", SURGES[:9], ids=lambda surge: surge.name)
def test_a_flood_of_proven_messages_is_found_when_it_is_nearly_as_much_as_the_ordinary_mail(
    surge: Surge, flooded: Callable[..., Throttle]
) -> None:
    diagnosis = flooded(flood(proven(surge), 5, 0.9), OPEN).diagnose(now=END_US / 1e6)
    assert (diagnosis["state"], found(diagnosis)) == (surge.state, set(surge.found))


def test_proven_messages_that_share_nothing_are_a_surge_when_they_are_twice_the_ordinary_mail(
    flooded: Callable[..., Throttle],
) -> None:
    assert flooded(flood(proven(SURGES[-1]), 5, 2), OPEN).diagnose(now=END_US / 1e6)["state"] == "scattered"


def firm(number: int) -> Surge:
    """What a firm's server kept while it was cut off: its own proven mail of many people."""
    name, client = f"firm{number}.com", f"{20 + number}.7.0.25"

    def message(rng: random.Random, n: int) -> EnvelopeFields:
        author = f"{word(rng)}@{name}"
        return invented(rng, client_ip=client, mail_from=author, header_from=author, dkim=name, spf="pass")

    return Surge(name, message, "quiet", ())


def test_servers_that_were_held_up_are_a_surge_only_together(flooded: Callable[..., Throttle]) -> None:
    """One is left out without a word, and four are not."""
    queues = [flood(firm(number), 5, 0.5) for number in range(4)]
    for count, state in ((1, "quiet"), (4, "scattered")):
        kept = heapq.merge(*queues[:count], key=itemgetter(0))
        diagnosis = flooded(kept, OPEN).diagnose(now=END_US / 1e6)
        assert (diagnosis["state"], found(diagnosis)) == (state, set())


@pytest.mark.parametrize("number", range(12))
def test_a_flood_is_found_behind_proven_mail_of_the_same_size(number: int, flooded: Callable[..., Throttle]) -> None:
    """The two explain nearly the same, so it is chance which of them the sample shows more of."""
    kept = [*flood(firm(number), 5, 0.5), *flood(SURGES[2]._replace(name=f"network {number}"), 5, 0.5)]
    diagnosis = flooded(sorted(kept, key=itemgetter(0)), OPEN).diagnose(now=END_US / 1e6)
    assert (diagnosis["state"], found(diagnosis)) == ("surge", {("client.net/24/48", "203.0.113.0/24")})


@pytest.mark.parametrize("surge", SURGES[:10], ids=lambda surge: surge.name)
def test_the_suggested_command_or_limit_refuses_the_surge_and_no_ordinary_mail(
    surge: Surge, flooded: Callable[..., Throttle]
) -> None:
    attack = flood(surge, 4, 2)
    guard = flooded(attack, OPEN)
    told = described(guard.diagnose(now=END_US / 1e6), guard.notices(now=END_US / 1e6), guard.policy)
    for action in (one["action"] for one in told["findings"]):
        assert action["would_refuse"] <= action["of"] // 100
        if action["command"]:
            program, ctl, block, for_, lasts, identity, value = shlex.split(action["command"])
            assert (program, ctl, block, for_, lasts) == ("throttle", "ctl", "block", "--for", "1 hour")
            guard.block(identity, value, seconds=3600)
        else:
            assert action["toml"]
            guard.reload(Policy.parse(action["toml"]))
    end = END_US / 1e6
    refused = sum(not guard.check(envelope, now=end) for _, envelope in attack)
    assert refused >= 0.95 * len(attack)


def test_a_flood_of_which_little_shows_its_header_is_named_by_what_that_shows(
    flooded: Callable[..., Throttle],
) -> None:
    """Nine of ten messages end at MAIL, as if they were refused there."""
    attack = flood(SURGES[0], 4, 3)
    shown = ((at, envelope if n % 10 == 0 else envelope.replace(**HEADLESS)) for n, (at, envelope) in enumerate(attack))
    guard = flooded(shown)
    diagnosis = guard.diagnose(now=END_US / 1e6)
    (finding,) = diagnosis["findings"]
    assert (diagnosis["state"], finding["identity"], finding["value"]) == ("surge", *SURGES[0].found[0])
    assert finding["of_part"]
    told = report(diagnosis, guard.notices(now=END_US / 1e6), guard.policy)
    assert " % of the surge of the last 4 minutes that reached data shares reply_to.address case@desk.com;" in told


def test_what_the_admitted_part_of_a_refused_organisation_shares_is_named(flooded: Callable[..., Throttle]) -> None:
    """A provider has ordinary mail, its forger's Reply-To has none: the Reply-To is named, and the provider is not
    found again.
    """
    message = lambda rng, n: invented(rng, mail_from=f"{word(rng)}@gmail.com", reply_to="c@desk.com")  # noqa: E731
    surge = Surge("", message, "surge", ())
    shown = ((at, one if n % 2 == 0 else one.replace(**HEADLESS)) for n, (at, one) in enumerate(flood(surge, 4, 3)))
    diagnosis = flooded(shown, OPEN).diagnose(now=END_US / 1e6)
    assert (diagnosis["state"], found(diagnosis)) == ("surge", {("reply_to.address", "c@desk.com")})
