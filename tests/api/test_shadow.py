"""A limit in shadow mode: it decides and counts, lets pass what it would refuse, and the decision names it."""

from __future__ import annotations

import pickle

from given_guards import guard, limit
from throttle import Envelope

SENDER = Envelope(client_ip="192.0.2.1", mail_from="a@b.com")


def test_what_it_would_refuse_passes_and_is_named() -> None:
    pace = guard(limit("quiet", "sender.org", "2/hour", mode="shadow"), limit("loud", "client.ip", "3/hour"))
    decisions = [pace.check(SENDER) for _ in range(4)]
    assert [decision.allowed for decision in decisions] == [True, True, True, False]
    assert [decision.shadow for decision in decisions] == [(), (), ("quiet",), ("quiet",)]
    assert decisions[3].limit == "loud"


def test_a_decision_keeps_its_shadow_in_a_pickle() -> None:
    pace = guard(limit("quiet", "sender.org", "1/hour", mode="shadow"))
    pace.check(SENDER)
    decision = pace.check(SENDER)
    again = pickle.loads(pickle.dumps(decision))
    assert again.shadow == ("quiet",)
    assert again == decision != guard(limit("quiet", "sender.org", "1/hour")).check(SENDER)
