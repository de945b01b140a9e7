"""`quota` from Python: a dictionary of values, each with numbers of its own."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from given_guards import guard, limit
from throttle import Envelope, Limit, Policy, PolicyError, Throttle

QUOTA = {"Salesforce.com": {"rate": "4/hour", "burst": 5}, "other.com": {"rate": "1/hour"}}


def admitted(pace: Throttle, sender: str) -> int:
    return sum(bool(pace.check(Envelope(client_ip="192.0.2.1", mail_from=sender))) for _ in range(9))


def test_a_named_value_has_its_own_numbers() -> None:
    pace = guard(limit("pace", "sender.org", "2/hour", quota=QUOTA))
    senders = ["a@mx.salesforce.com", "a@other.com", "a@any.com"]
    assert [admitted(pace, sender) for sender in senders] == [5, 1, 2]


def test_it_comes_back_from_fields_toml_and_a_pickle() -> None:
    rule = limit("pace", "sender.org", "2/hour", quota=QUOTA)
    assert rule.fields["quota"] == QUOTA
    assert Limit(**rule.fields) == rule == pickle.loads(pickle.dumps(rule))
    policy = Policy([rule])
    assert Policy.parse(policy.to_toml()) == policy


@pytest.mark.parametrize(
    ("quota", "field", "found"),
    [
        ("6000/minute", "quota", '"6000/minute"'),
        ({}, "quota", "a table"),
        ({5: "1/hour"}, "quota", '"1/hour"'),
        ({"b.com": {}}, 'quota."b.com".rate', "nothing"),
        ({"b.com": {"rate": "1/hour", "bust": 3}}, 'quota."b.com".bust', "an unknown field"),
        ({"b.com": {"rate": {"a": {"b": "c"}}}}, 'quota."b.com".rate', "a dict"),
    ],
)
def test_what_is_wrong_with_it_is_told_with_the_whole_way_there(quota: Any, field: str, found: str) -> None:
    with pytest.raises(PolicyError) as raised:
        limit("pace", "sender.org", "2/hour", quota=quota)
    assert (raised.value.limit, raised.value.field, raised.value.found) == ("pace", field, found)


def test_a_dictionary_within_itself_is_an_error_and_no_crash() -> None:
    endless: dict[str, Any] = {}
    endless["b.com"] = endless
    with pytest.raises(PolicyError):
        limit("pace", "sender.org", "2/hour", quota=endless)


def test_a_value_that_no_sender_can_have_is_told_when_the_guard_is_made() -> None:
    with pytest.raises(PolicyError, match=r'quota: found "mx\.b\.com"; allowed: "b\.com", the sender\.org that it has'):
        guard(limit("pace", "sender.org", "2/hour", quota={"mx.b.com": {"rate": "1/hour"}}))
