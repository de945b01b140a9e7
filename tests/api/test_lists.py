"""`[[allow]]`, `[[block]]` and `quota_file` of a policy file: read with it, and again on reload."""

from __future__ import annotations

import math
import pickle
import threading
from typing import TYPE_CHECKING

import pytest

from given_guards import REAL, SEED, guard, limit
from throttle import Blocked, Envelope, ManualClock, Policy, PolicyError, Throttle
from throttle.types import PolicyEntry

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = '[[limit]]\nname = "org"\nper = "sender.org"\nrate = "5/hour"\n'

LISTS = """
[[block]]
identity = "client.net"
value = "203.0.113.0/24"
comment = "ticket 4711"

[[allow]]
identity = "sender.org"
value = "Example.com"
until = 2030-01-01T00:00:00+02:00
unverified = true
"""


def sender(ip: str = "198.51.100.7", mail_from: str = "a@ex.com") -> Envelope:
    return Envelope(client_ip=ip, mail_from=mail_from)


def admitted(pace: Throttle, mail_from: str) -> int:
    return sum(bool(pace.check(sender(mail_from=mail_from))) for _ in range(20))


def test_entries_are_in_force_after_a_start_and_say_where_they_come_from(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(LISTS + LIMIT)
    clock = ManualClock(REAL)
    pace = Throttle(file, clock=clock, seed=SEED)
    assert pace.check(sender("203.0.113.9")).limit == "blocked"
    assert admitted(pace, "a@example.com") == 20
    [block], [allow] = pace.blocked(), pace.allowed()
    assert block == Blocked(
        "client.net", "203.0.113.0/24", math.inf, by="policy", action="block", unverified=False, comment="ticket 4711"
    )
    assert pickle.loads(pickle.dumps(block)) == block
    assert repr(block).endswith('until=inf, by="policy", comment="ticket 4711")')
    assert (allow.by, allow.until, allow.comment) == ("policy", 1_893_448_800, None)
    [covering] = pace.explain(sender("203.0.113.9")).covering
    assert str(covering) == "client.net 203.0.113.0/24 is blocked by policy for good."


def test_a_policy_shows_its_entries_and_pickles_with_them() -> None:
    policy = Policy.parse(LISTS + LIMIT)
    block, allow = policy.entries
    assert block == PolicyEntry("block", "client.net", "203.0.113.0/24", math.inf, False, "ticket 4711")
    assert allow == PolicyEntry("allow", "sender.org", "Example.com", 1_893_448_800.0, True, None)
    again = pickle.loads(pickle.dumps(policy))
    assert (again, again.entries) == (policy, policy.entries)
    assert policy != Policy.parse(LIMIT)


def test_a_reload_reads_the_lists_again_and_leaves_what_was_made_at_run_time(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(LISTS + LIMIT)
    pace = Throttle(file, clock=ManualClock(REAL), seed=SEED)
    pace.block("client.ip", "192.0.2.1")
    file.write_text(LISTS.replace("203.0.113.0/24", "198.51.100.0/24") + LIMIT)
    pace.reload(file)
    assert [(entry.value, entry.by) for entry in pace.blocked()] == [
        ("192.0.2.1", "operator"),
        ("198.51.100.0/24", "policy"),
    ]
    assert pace.check(sender("203.0.113.9"))
    assert pace.check(sender("198.51.100.7")).limit == "blocked"
    file.write_text(LISTS.replace("203.0.113.0/24", "203.0.113.9/24") + LIMIT)
    with pytest.raises(PolicyError, match=r'policy.toml:2: block.value: found "203.0.113.9/24"'):
        pace.reload(file)
    assert pace.check(sender("198.51.100.7")).limit == "blocked", "the policy before is in force"


def test_a_clock_that_went_back_leaves_an_entry_as_long_as_its_time_says() -> None:
    clock = ManualClock(REAL)
    text = f'[[block]]\nidentity = "client.ip"\nvalue = "203.0.113.9"\nuntil = 2030-01-01T00:00:00Z\n{LIMIT}'
    pace = Throttle(Policy.parse(text), clock=clock, seed=SEED)
    pace.check(sender())
    clock.advance(-3600)
    pace.check(sender())
    pace.reload(Policy.parse(text))
    assert pace.blocked()[0].until == 1_893_456_000


def test_quotas_of_a_file_are_those_of_its_limits_and_a_reload_reads_them_again(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(f'quota_file = "lists/quotas.csv"\n{LIMIT}')
    (tmp_path / "lists").mkdir()
    quotas = tmp_path / "lists" / "quotas.csv"
    quotas.write_text("limit,value,rate,burst\norg,A.com,9/hour,\norg,b.com,9/hour,\norg,c.com,7/hour,11\n")
    pace = Throttle(tmp_path / "policy.toml", clock=ManualClock(REAL), seed=SEED)
    assert [admitted(pace, f"x@{name}.com") for name in "abcd"] == [9, 9, 11, 5]
    assert pace.policy.quota_file == (str(quotas), 3)
    assert pace.quota_bytes == 8 * 16 + 3 * 2
    assert [row["quota"] for row in pace.policy.plan()] == [None, "A.com and 1 more", "c.com"]
    assert pace.explain(sender(mail_from="x@b.com")).limits[0].quota_of == "b.com"
    quotas.write_text("limit,value,rate\norg,d.com,8/hour\norg,a.com,9/hour\n")
    pace.reload(tmp_path / "policy.toml")
    assert [admitted(pace, f"x@{name}.com") for name in "abcd"] == [0, 5, 5, 8]
    quotas.write_text("limit,value,rate\norg,d.com,8 an hour\n")
    with pytest.raises(PolicyError, match=r'quotas.csv:2:11: rate: found "8 an hour"') as caught:
        pace.reload(tmp_path / "policy.toml")
    assert (caught.value.file, caught.value.line, caught.value.column) == (str(quotas), 2, 11)
    quotas.write_bytes(b"limit,value,rate\norg,\xff.com,8/hour\n")
    with pytest.raises(PolicyError, match="not UTF-8 at byte 21"):
        pace.reload(tmp_path / "policy.toml")


def test_no_check_sees_half_of_a_list_while_it_is_reloaded() -> None:
    def policy(net: int) -> Policy:
        entries = [f'[[block]]\nidentity = "client.ip"\nvalue = "10.{net}.0.{host}"\n' for host in range(200)]
        return Policy.parse("".join(entries) + LIMIT.replace("5/hour", "1000000/hour"))

    policies = [policy(0), policy(1)]
    pace = guard(limit("any", "client.ip", "1000000/minute"))
    pace.block("client.ip", "192.0.2.1")
    pace.reload(policies[0])
    done, seen = threading.Event(), [0, 0]
    errors: list[object] = []

    def check() -> None:
        while not done.is_set():
            # both lists have a block of every host, and exactly one of them is in force at any time
            [one, other] = [pace.check(sender(f"10.{net}.0.199")).limit for net in (0, 1)]
            seen[one == "blocked"] += 1
            if pace.check(sender("192.0.2.1")).limit != "blocked":
                errors.append((one, other))
            found = {entry.value.split(".")[1] for entry in pace.blocked() if entry.by == "policy" and entry.value}
            if len(found) != 1:
                errors.append(found)

    threads = [threading.Thread(target=check) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1, 60):
        pace.reload(policies[number % 2])
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(seen) > 0
    assert len(pace.blocked()) == 201
