"""Every quota of the policy `inbound` acts: who has one gets what it says, and everybody else what the limit says.

It plays each limit alone. Whether the quotas are needed, and suffice, tests/inbound/test_legitimate_mail.py shows by
ordinary mail.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest

from throttle import Envelope, Limit, Policy, Throttle

if TYPE_CHECKING:
    from collections.abc import Mapping

QUOTAS = [
    pytest.param(limit, value, quota, id=f"{limit.name} of {value}")
    for limit in Policy.builtin().limits
    for value, quota in limit.fields.get("quota", {}).items()
]
NETWORKS = {"client.net/24/48": "198.51.100.0/24", "client.net/32/64": "2001:db8::/64"}


START, MINUTE = 1_800_000_000, 60


def in_two_minutes(numbers: Mapping[str, Any]) -> int:
    """What the numbers allow at once, and a minute later again."""
    amount, unit = numbers["rate"].split("/")
    burst = int(numbers.get("burst") or amount)
    return burst + min(burst, int(amount) // (1 if unit == "minute" else 10))


def sender(limit: Limit, value: str, nth: int) -> Envelope:
    """The nth message that counts for ``value`` of the limit: each from another organisation, if that is free."""
    fields = limit.fields
    per = [fields["per"]] if isinstance(fields["per"], str) else fields["per"]
    client = ipaddress.ip_network(value)[1 + nth % 200] if per[0] in NETWORKS else "198.51.100.1"
    is_named = len(per) > 1 or per[0] == "sender.org"
    return Envelope(
        client_ip=str(client),
        mail_from=f"a@{value if per[0] == 'sender.org' else 'one.com' if is_named else f'o{nth}.com'}",
        rcpt_to="joe@box.com",
        spf="pass" if fields.get("verified") == "proven" else None,
        dkim=value if per[0] == "dkim.org" else (),
    )


def admitted(limit: Limit, value: str) -> int:
    """How many messages pass at once, and a minute later again; each is reported where reports are counted."""
    guard = Throttle(Policy([limit]), memory="8 MiB", seed=bytes(16))
    passed = 0
    for now in (START, START + MINUTE):
        while guard.check(message := sender(limit, value, passed), now=now):
            if limit.fields.get("count") == "reports":
                guard.report(message, *limit.fields["reports"], now=now)
            passed += 1
    return passed


@pytest.mark.parametrize(("limit", "value", "quota"), QUOTAS)
def test_who_has_a_quota_gets_it_and_others_what_the_limit_says(
    limit: Limit, value: str, quota: dict[str, Any]
) -> None:
    per = limit.fields["per"] if isinstance(limit.fields["per"], str) else limit.fields["per"][0]
    other = NETWORKS.get(per, "other.com")
    assert in_two_minutes(quota) > in_two_minutes(limit.fields)
    assert admitted(limit, value) == in_two_minutes(quota)
    assert admitted(limit, other) == in_two_minutes(limit.fields)
