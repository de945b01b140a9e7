"""What one check counts as: a connection, a message, its recipients, its octets; and a new element."""

from __future__ import annotations

import math

import pytest

from given_guards import REAL, guard, limit
from throttle import Envelope, Limit, ManualClock, Throttle

ONE = Envelope(client_ip="192.0.2.1", mail_from="a@b.com", rcpt_to=["p@q.net"])


def room(pace: Throttle, envelope: Envelope = ONE, stage: str | None = None) -> int:
    """How many of that envelope pass."""
    return sum(bool(pace.check(envelope, stage=stage)) for _ in range(100))  # type: ignore[arg-type]


def test_a_connection_counts_one_at_connect() -> None:
    pace = guard(limit("connections", "client.ip", "3/minute", count="connections"))
    assert room(pace, Envelope(client_ip="192.0.2.1")) == 3
    assert room(pace, Envelope(client_ip="192.0.2.2"), "connect") == 3
    assert room(pace, Envelope(client_ip="192.0.2.3"), "mail") == 100


def test_a_message_counts_one_whatever_its_recipients() -> None:
    pace = guard(limit("messages", "client.ip", "3/minute"))
    assert room(pace, ONE.replace(rcpt_to=[f"p{number}@q.net" for number in range(10)])) == 3


@pytest.mark.parametrize(
    ("rcpt_to", "expected"),
    [
        (["p@q.net"], 12),
        (["p@q.net", "r@q.net", "s@t.net"], 4),
        (["p@q.net", "P@Q.net.", "<p+tag@q.net>", "r@q.net"], 6),
        ([f"p{number}@q.net" for number in range(12)], 1),
        ([f"p{number % 12}@q.net" for number in range(40)], 1),
        ([f"p{number}@q.net" for number in range(13)], 0),
    ],
)
def test_each_recipient_counts_one_and_duplicates_once(rcpt_to: list[str], expected: int) -> None:
    assert (
        room(guard(limit("recipients", "client.ip", "12/minute", count="recipients")), ONE.replace(rcpt_to=rcpt_to))
        == expected
    )


def test_more_recipients_than_ever_fit_wait_for_ever() -> None:
    pace = guard(limit("recipients", "client.ip", "2/minute", count="recipients"))
    decision = pace.check(ONE.replace(rcpt_to=["p@q.net", "r@q.net", "s@q.net"]))
    assert (decision.retry_after, decision.reply) == (math.inf, "452 4.5.3 too many recipients at once for 192.0.2.1")


def test_recipients_of_a_host_are_counted_on_that_host() -> None:
    pace = guard(limit("hosts", "rcpt.host", "4/minute", count="recipients"))
    assert pace.check(ONE.replace(rcpt_to=["p@q.net", "r@q.net", "s@q.net", "p@t.net"]))
    assert pace.check(ONE.replace(rcpt_to=["p@q.net", "r@q.net"])).key == "q.net"
    assert room(pace) == 1
    assert room(pace, ONE.replace(rcpt_to=["p@t.net", "r@t.net", "s@t.net"])) == 1


def test_several_recipients_pass_all_or_none() -> None:
    pace = guard(limit("mailbox", "rcpt.address", "2/minute", count="recipients"))
    assert room(pace) == 2
    refused = pace.check(ONE.replace(rcpt_to=["r@q.net", "p@q.net", "s@q.net"]))
    assert refused.key == "p@q.net"
    assert [room(pace, ONE.replace(rcpt_to=[path])) for path in ("r@q.net", "s@q.net")] == [2, 2]


def test_octets_are_charged_at_data_and_the_declared_size_is_consulted_at_mail() -> None:
    pace = guard(limit("bytes", "client.ip", "10 kB/minute"))
    large = ONE.replace(size=6_000)
    assert room(pace, large, "mail") == 100
    assert room(pace, large, "rcpt") == 100
    assert room(pace, large, "data") == 1
    assert room(pace, large, "mail") == 0
    assert room(pace, ONE.replace(size=4_000), "mail") == 100
    assert room(pace, ONE, "mail") == 100  # nothing declared


def test_more_octets_than_ever_fit_are_refused_for_good() -> None:
    decision = guard(limit("bytes", "client.ip", "10 kB/minute")).check(ONE.replace(size=10_001), stage="mail")
    assert (decision.retry_after, decision.reply) == (math.inf, "552 5.3.4 message too big for 192.0.2.1")


def test_bursts_beyond_eight_million_octets_are_counted_in_units_and_never_exceeded() -> None:
    pace = guard(limit("bytes", "client.ip", "1 GiB/hour"))
    admitted = sum(size for size in [10_000_001] * 200 if pace.check(ONE.replace(size=size), stage="data"))
    assert 0.98 * 2**30 < admitted <= 2**30


def test_a_fan_out_counts_what_is_new_and_forgets() -> None:
    clock = ManualClock(REAL)
    pace = guard(
        Limit(name="fan", per="client.ip", distinct="sender.org", rate="3/minute", remember="10 minutes"), clock=clock
    )
    orgs = [ONE.replace(mail_from=f"a@org{number}.com") for number in range(5)]
    assert [bool(pace.check(envelope)) for envelope in orgs] == [True, True, True, False, False]
    assert room(pace, orgs[0]) == 100
    assert pace.check(orgs[3]).key == "192.0.2.1"
    clock.advance(60.0)
    assert pace.check(orgs[3])
    clock.advance(700.0)
    assert [bool(pace.check(envelope)) for envelope in orgs] == [True, True, True, False, False]


def test_the_ladder_charges_a_settled_part_and_spares_the_rest() -> None:
    clock = ManualClock(REAL)
    ladder = Limit(
        name="fan", per="sender.registered", distinct="sender.host", rate="3/minute", remember="1 day", settle="1 hour"
    )
    pace = guard(ladder, clock=clock)

    def fresh(name: str, count: int) -> int:
        return sum(
            bool(pace.check(ONE.replace(mail_from=f"a@h{number}-{clock.now:.0f}.{name}"))) for number in range(count)
        )

    assert fresh("tenant.b.com", 1) == 1
    clock.advance(3700.0)
    assert fresh("tenant.b.com", 10) == 3  # on the organisation's account: it is back, and has not settled
    assert pace.check(ONE.replace(mail_from="a@more.tenant.b.com")).key == "b.com"
    clock.advance(700.0)
    assert fresh("tenant.b.com", 10) == 3  # its own
    assert pace.check(ONE.replace(mail_from="a@more.tenant.b.com")).key == "tenant.b.com"
    assert fresh("flood.b.com", 10) == 3  # what the organisation has
    assert pace.check(ONE.replace(mail_from="a@more.flood.b.com")).key == "b.com"
    assert pace.check(ONE.replace(mail_from="a@b.com"))  # never new under itself
