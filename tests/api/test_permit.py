"""`Throttle.admit`: a check that holds what in-flight limits count, until its permit is released: once, on any path,
and never by time.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
import warnings
from math import inf, isinf
from typing import TYPE_CHECKING, Any

import pytest

from given_guards import REAL, SEED, guard, is_legal, is_sound, limit
from throttle import Envelope, Limit, ManualClock, Permit, Policy, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

SENDER = Envelope(client_ip="192.0.2.1", mail_from="a@b.com", size=700)

OTHER = SENDER.replace(client_ip="198.51.100.1")


def cap(most: int | str = 1, per: str | list[str] = "global", **fields: Any) -> Limit:
    return Limit(name="cap", per=per, in_flight=most, **fields)


def used(pace: Throttle) -> dict[str, int]:
    """What is held: everything that is not zero, of limits and of tables."""
    return {table.table: table.used for table in pace.tables() if table.used}


ONE = {"cap": 1, "permits": 1}


def test_a_permit_holds_until_the_end_of_with() -> None:
    pace = guard(cap())
    with pace.admit(SENDER) as permit:
        assert permit
        assert permit.decision.allowed
        assert used(pace) == ONE
        assert not pace.admit(SENDER)
        assert not pace.check(SENDER)
    assert used(pace) == {}
    assert permit, "it was admitted, and stays so"
    assert pace.check(SENDER)


def test_a_refused_permit_tells_why_and_holds_nothing() -> None:
    pace = guard(cap(), limit("pace", "client.ip", "9/minute"))
    with pace.admit(SENDER), pace.admit(SENDER) as refused:
        assert not refused
        assert is_sound(refused.decision)
        assert (refused.decision.limit, refused.decision.identity, refused.decision.key) == ("cap", "global", "global")
        assert refused.decision.retry_after == 1.0
        assert refused.decision.reply == "451 4.3.2 global has too much under way; retry in 1 s"
        assert used(pace) == ONE | {"pace": 1}
        refused.release()
        assert used(pace) == ONE | {"pace": 1}
    assert used(pace) == {"pace": 1}, "what was charged stays charged"


def test_a_check_consults_and_holds_nothing() -> None:
    pace = guard(cap(1))
    assert all(pace.check(SENDER) for _ in range(10))
    assert used(pace) == {}
    with pace.admit(SENDER):
        assert pace.check(SENDER).limit == pace.peek(SENDER).limit == "cap"


def raise_inside(permit: Permit) -> None:
    with pytest.raises(ZeroDivisionError), permit:
        raise ZeroDivisionError


def leave_early(permit: Permit) -> None:
    for _ in range(3):
        with permit:
            break


def release_often(permit: Permit) -> None:
    with permit:
        permit.release()
        permit.release()
    permit.release()


def await_it(permit: Permit) -> None:
    async def inside() -> None:
        async with permit as same:
            assert same is permit
            await asyncio.sleep(0)

    asyncio.run(inside())


def raise_inside_a_task(permit: Permit) -> None:
    async def inside() -> None:
        async with permit:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(inside())


def cancel_it(permit: Permit) -> None:
    async def wait() -> None:
        async with permit:
            await asyncio.Event().wait()

    async def run() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def leave_a_generator(permit: Permit) -> None:
    def inside() -> Any:
        with permit:
            yield

    generator = inside()
    next(generator)
    generator.close()


@pytest.mark.parametrize(
    "leave",
    [
        raise_inside,
        leave_early,
        release_often,
        await_it,
        raise_inside_a_task,
        cancel_it,
        leave_a_generator,
        Permit.release,
    ],
)
def test_on_any_path_it_is_released_once(leave: Callable[[Permit], None]) -> None:
    pace = guard(cap(2))
    with pace.admit(SENDER):
        permit = pace.admit(SENDER)
        assert used(pace) == {"cap": 2, "permits": 2}
        leave(permit)
        assert used(pace) == ONE
    assert used(pace) == {}


def test_nobody_knows_it_any_more_and_it_is_released() -> None:
    pace = guard(cap(2))
    permit: Permit | None = pace.admit(SENDER)
    knot: list[Any] = [pace.admit(SENDER)]
    knot.append(knot)
    assert used(pace)["cap"] == 2
    permit = None
    assert permit is None
    assert used(pace)["cap"] == 1
    del knot
    gc.collect()
    assert used(pace) == {}


def test_time_releases_nothing() -> None:
    clock = ManualClock(REAL)
    pace = guard(cap(), clock=clock)
    with pace.admit(SENDER):
        clock.advance(10 * 365 * 86_400)
        assert pace.check(SENDER).limit == "cap"
        clock.advance(-20 * 365 * 86_400)
        assert pace.check(SENDER).limit == "cap"


def test_another_thread_may_release_it() -> None:
    pace = guard(cap())
    thread = threading.Thread(target=pace.admit(SENDER).release)
    thread.start()
    thread.join()
    assert used(pace) == {}


def test_a_permit_keeps_its_guard() -> None:
    permit = guard(cap()).admit(SENDER)
    gc.collect()
    permit.release()
    assert permit.decision.identities["client.ip"] == "192.0.2.1"


@pytest.mark.parametrize(
    ("stage", "held"),
    [
        (None, {"connections": 1, "messages": 1, "bytes": 700}),
        ("connect", {"connections": 1}),
        ("mail", {"messages": 1, "bytes": 700}),
        (["connect", "mail"], {"connections": 1, "messages": 1, "bytes": 700}),
        ("rcpt", {}),
        ("data", {}),
    ],
)
def test_a_stage_holds_what_it_counts_and_no_stage_all(stage: Any, held: dict[str, int]) -> None:
    pace = guard(
        Limit(name="connections", per="global", in_flight=9, count="connections"),
        Limit(name="messages", per="global", in_flight=9),
        Limit(name="bytes", per="global", in_flight="1 kB"),
    )
    with pace.admit(SENDER, stage=stage):
        assert used(pace) == held | {"permits": 1}
    assert used(pace) == {}


@pytest.mark.parametrize(("size", "held"), [(None, 0), (0, 0), (1, 1), (1000, 1000)])
def test_bytes_are_those_of_the_size_and_of_none_nothing(size: int | None, held: int) -> None:
    pace = guard(cap("1 kB"))
    with pace.admit(SENDER.replace(size=size)) as permit:
        assert permit
        assert used(pace).get("cap", 0) == held


def test_more_bytes_than_could_ever_fit_are_told_so() -> None:
    pace = guard(cap("1 kB"))
    decision = pace.admit(SENDER.replace(size=1001)).decision
    assert (decision.retry_after, decision.reply) == (inf, "552 5.3.4 message too big for global")
    with pace.admit(SENDER.replace(size=600)):
        decision = pace.admit(SENDER.replace(size=401)).decision
        assert decision.retry_after == 1.0
        assert decision.reply == "451 4.3.2 global has too much under way; retry in 1 s"
        assert pace.check(SENDER.replace(size=2**63)).retry_after == inf


def test_too_many_connections_are_told_to_close() -> None:
    pace = guard(cap(1, "client.net/24/48", count="connections"))
    arrived = Envelope(client_ip="192.0.2.9")
    with pace.admit(arrived, stage="connect"):
        decision = pace.admit(arrived, stage="connect").decision
        assert decision.reply == "421 4.7.0 192.0.2.0/24 has too many connections open; retry in 1 s"
        assert pace.admit(arrived.replace(client_ip="198.51.100.9"), stage="connect")


def test_of_what_is_free_a_key_has_its_part_and_always_one() -> None:
    pace = guard(cap(10, share={"per": "client.net/24/48", "of_free": "1/2"}))
    mine = [pace.admit(SENDER) for _ in range(10)]
    # free before the message: 10, 9, 8, 7; of the last a half is 3.
    assert [bool(permit) for permit in mine] == [True] * 3 + [False] * 7
    refused = mine[3].decision
    assert (refused.identity, refused.key) == ("global", "global"), "the key told is that of `per`"
    theirs = [pace.admit(OTHER) for _ in range(10)]
    assert sum(map(bool, theirs)) == 2
    assert pace.admit(SENDER.replace(client_ip="203.0.113.1")), "always one"


def test_always_one_of_bytes_too_up_to_what_is_stated_while_it_fits_under_the_cap() -> None:
    pace = guard(cap("10 kB", first="9 kB", share={"per": "client.net/24/48", "of_free": "1/10"}))
    assert isinf(pace.admit(SENDER.replace(size=9001)).decision.retry_after), "it can never pass"
    with pace.admit(SENDER.replace(size=9000)) as large:
        assert large
        assert not pace.admit(SENDER.replace(size=1))
        assert pace.admit(OTHER.replace(size=1000))
        assert not pace.admit(OTHER.replace(size=1001))


def test_unless_stated_always_one_is_a_thousandth_of_the_bytes() -> None:
    pace = guard(cap("1 MB", reserve="800 kB", share={"per": "client.net/24/48", "of_free": "1/10"}))
    refused = pace.admit(SENDER.replace(size=20_001)).decision
    assert isinf(refused.retry_after), "a tenth of 200 kB, if nothing is held"
    assert str(refused.reply).startswith("552 5.3.4 ")
    large = [
        pace.admit(Envelope(client_ip=f"192.0.{n}.1", mail_from="a@b.com", size=20_000 - 2000 * n)) for n in range(9)
    ]
    assert all(large[:1])
    held = sum(20_000 - 2000 * n for n, permit in enumerate(large) if permit)
    assert 0 < held < 200_000
    assert pace.admit(OTHER.replace(size=1000)), "from the reserve, however much others hold"


def test_a_reserve_is_for_those_that_hold_nothing_and_tiers_bound_it() -> None:
    tiers = [{"per": "client.net/32/64", "of_free": "1/1"}, {"per": "client.net/24/48", "of_free": "1/1"}]
    pace = guard(cap(4, reserve=2, share=tiers))
    at = [Envelope(client_ip=ip, mail_from="a@b.com") for ip in ("192.0.2.1", "192.0.2.2", "198.51.100.1")]
    first = pace.admit(at[0])
    assert first
    assert not pace.admit(at[0]), "of the one that is shared, each has all; it holds one"
    assert not pace.admit(at[1]), "its network holds one"
    second, third = pace.admit(at[2]), pace.admit(Envelope(client_ip="203.0.113.1", mail_from="a@b.com"))
    assert second
    assert third, "from the reserve"
    assert not pace.admit(at[1])
    first.release()
    assert pace.admit(at[1]), "its network holds nothing any more"
    assert str(cap(4, reserve=2, share=tiers).fields["share"]) == str(tiers)


def test_the_number_of_permits_is_bounded_and_told_before_a_cap_that_waits_as_long() -> None:
    pace = Throttle(Policy([cap(2)]), max_open=2, clock=ManualClock(REAL), seed=SEED, memory="1 MiB")
    with pace.admit(SENDER), pace.admit(SENDER):
        decision = pace.admit(SENDER).decision
        assert (decision.limit, decision.identity, decision.key) == ("max-open", "global", "global")
        assert (decision.retry_after, decision.reply) == (
            1.0,
            "451 4.3.2 global has too much under way; retry in 1 s",
        )
        assert pace.check(SENDER).limit == "cap", "a check needs no permit"
        assert is_legal(pace.admit(SENDER, stage="connect").decision.reply)
        assert str(pace.admit(SENDER, stage="connect").decision.reply).startswith("421 4.7.0 ")
    assert pace.admit(SENDER)


@pytest.mark.parametrize(
    ("max_open", "error"),
    [
        *((number, ValueError) for number in (0, -1, 2**24 + 1, 2**80)),
        *((number, TypeError) for number in (1.5, "10", True)),
    ],
)
def test_a_number_of_permits_that_is_none_is_told(max_open: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"max_open: found .*; allowed: a whole number from 1 to 16777216"):
        Throttle(max_open=max_open)


def test_a_scale_multiplies_caps_and_shares_stay_parts() -> None:
    share = {"per": "client.ip", "of_free": "1/2"}
    policy = Policy([cap(3, share=share)], scale=2.5)
    assert policy.limits[0].fields["in_flight"] == 7
    assert policy.limits[0].fields["share"] == share
    assert "in_flight = 7" in policy.to_toml()
    policy = Policy([cap("1 MB", reserve="100 kB", first="1 kB", share=share)], scale=2.5, largest_message="1 MB")
    fields = policy.limits[0].fields
    assert (fields["in_flight"], fields["reserve"], fields["first"]) == ("2500 kB", "250 kB", "1 kB")
    assert Policy.parse(policy.to_toml()).largest_message == policy.largest_message == 1_000_000
    assert pickle.loads(pickle.dumps(policy)) == policy


def test_a_proven_sender_and_a_claimed_one_are_counted_apart() -> None:
    pace = guard(cap(1, "sender.org"))
    proven = SENDER.replace(spf="pass")
    with pace.admit(SENDER), pace.admit(proven) as permit:
        assert permit
        assert not pace.admit(proven)
    pace = guard(cap(1, "sender.org", verified="proven"))
    with pace.admit(proven):
        assert pace.admit(SENDER)
        assert not pace.admit(proven)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_holds_nothing_and_releases_nothing_of_its_parents() -> None:
    pace = guard(cap(2, "client.net/24/48"), Limit(name="all", per="global", in_flight=9))
    permit, given_up = pace.admit(SENDER), pace.admit(SENDER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        held = used(pace)
        own = [pace.admit(SENDER) for _ in range(3)]
        permit.release()
        del given_up
        told = (held, [bool(one) for one in own], used(pace)["all"], used(pace)["permits"])
        os._exit(0 if told == ({}, [True, True, False], 2, 2) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert used(pace)["all"] == 2
    assert not pace.admit(SENDER)
    given_up.release()
    permit.release()
    assert used(pace) == {}


def test_it_says_what_it_is() -> None:
    pace = guard(cap())
    permit = pace.admit(SENDER)
    assert repr(permit) == "Permit(held)"
    assert repr(pace.admit(SENDER)).startswith("Permit(Decision(refused by ")
    permit.release()
    assert repr(permit) == "Permit(released)"
