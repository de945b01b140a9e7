"""Random lives of permits against a list of what is open: the count is never negative, never above the cap,
and zero at the end.
"""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from exact_open import ExactOpen, Held
from given_guards import REAL, SEED
from throttle import Envelope, Limit, ManualClock, Permit, Policy, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

SCHEDULES = 150

STEPS = 80

MAX_OPEN = 8

LIMITS = [
    Limit(name="net", per="client.net", in_flight=3),
    Limit(
        name="all",
        per="global",
        in_flight=28,
        reserve=12,
        share=[{"per": "client.net", "of_free": "1/4"}, {"per": "client.net/23/48", "of_free": "1/3"}],
    ),
    Limit(
        name="bytes",
        per="global",
        in_flight="1 MB",
        reserve="100 kB",
        first="90 kB",
        share=({"per": "client.net", "of_free": "1/2"}, {"per": "client.net/23/48", "of_free": "2/3"}),
    ),
]

SIZES = [None, 0, 1, 1000, 90_000, 400_000, 1_000_000, 1_000_001]


@dataclass(frozen=True)
class Whom:
    net: int
    size: int | None

    @property
    def envelope(self) -> Envelope:
        return Envelope(client_ip=f"192.0.{self.net}.1", mail_from="a@b.com", size=self.size)

    @property
    def tiers(self) -> tuple[int, int]:
        """Its network, and the two networks of one owner."""
        return self.net, self.net // 2


class Exact:
    """The three limits and the number of permits."""

    def __init__(self) -> None:
        self.nets = {net: ExactOpen(3) for net in range(5)}
        self.all = ExactOpen(28, (Fraction(1, 4), Fraction(1, 3)), reserve=12)
        self.bytes = ExactOpen(1_000_000, (Fraction(1, 2), Fraction(2, 3)), reserve=100_000, first=90_000)

    def admits(self, whom: Whom) -> bool:
        counts = len(self.all.held) < MAX_OPEN and self.nets[whom.net].has_room() and self.all.has_room(whom.tiers)
        return counts and (not whom.size or self.bytes.has_room(whom.tiers, whom.size))

    def hold(self, whom: Whom) -> tuple[Held, Held, Held]:
        size = whom.size or 0
        return self.nets[whom.net].hold(), self.all.hold(whom.tiers), self.bytes.hold(whom.tiers, size)

    def release(self, whom: Whom, held: tuple[Held, Held, Held]) -> None:
        for limit, of_limit in zip([self.nets[whom.net], self.all, self.bytes], held, strict=True):
            limit.release(of_limit)

    @property
    def used(self) -> dict[str, int]:
        return {
            "net": max(net.total() for net in self.nets.values()),
            "all": self.all.total(),
            "bytes": self.bytes.total(),
            "in flight per client.net": sum(net.total() > 0 for net in self.nets.values()),
            "in flight per client.net/23/48": len({held.key[1] for held in self.all.held}),
            "permits": len(self.all.held),
        }


class Life:
    """One permit, and the ways out of it. Each lets go of the last reference."""

    def __init__(self, permit: Permit, loop: asyncio.AbstractEventLoop) -> None:
        self._permit: Permit | None = permit
        self._loop = loop

    def leave(self, how: str) -> None:
        permit = self._permit
        assert permit is not None
        self._permit = None
        getattr(self, f"_{how}")(permit)

    def _release(self, permit: Permit) -> None:
        permit.release()
        permit.release()

    def _collect(self, permit: Permit) -> None:
        del permit

    def _cycle(self, permit: Permit) -> None:
        gc.disable()  # or a collection of its own, while the knot is still known, would make it too old for this one
        knot: list[Any] = [permit]
        knot.append(knot)
        del permit, knot
        gc.collect(0)
        gc.enable()

    def _with(self, permit: Permit) -> None:
        with permit:
            pass

    def _exception(self, permit: Permit) -> None:
        with pytest.raises(KeyError), permit:
            raise KeyError

    def _generator(self, permit: Permit) -> None:
        def inside() -> Any:
            with permit:
                yield

        generator = inside()
        next(generator)
        generator.close()

    def _task(self, permit: Permit) -> None:
        async def inside() -> None:
            async with permit:
                await asyncio.sleep(0)

        self._loop.run_until_complete(inside())

    def _cancel(self, permit: Permit) -> None:
        async def inside() -> None:
            async with permit:
                await asyncio.Event().wait()

        async def run() -> None:
            task = asyncio.ensure_future(inside())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

        self._loop.run_until_complete(run())


WAYS = ["release", "collect", "cycle", "with", "exception", "generator", "task", "cancel"]


def used(pace: Throttle) -> dict[str, int]:
    return {table.table: table.used for table in pace.tables()}


def test_whatever_happens_what_is_open_is_what_was_admitted_and_not_released(rng: random.Random) -> None:
    ways: dict[str, int] = dict.fromkeys(WAYS, 0)
    told: set[str | None] = set()
    with asyncio.Runner() as runner:
        for _ in range(SCHEDULES):
            live(rng, runner.get_loop(), ways, told)
    assert min(ways.values()) > 100
    assert told == {None, "net", "all", "bytes", "max-open", "neighbour"}


def live(rng: random.Random, loop: asyncio.AbstractEventLoop, ways: dict[str, int], told: set[str | None]) -> None:
    pace = Throttle(Policy(LIMITS), memory="64 KiB", max_open=MAX_OPEN, clock=ManualClock(REAL), seed=SEED)
    exact, open_ = Exact(), list[tuple[Whom, tuple[Held, Held, Held], Life]]()
    for _ in range(STEPS):
        if open_ and rng.random() < 0.4:
            whom, held, life = open_.pop(rng.randrange(len(open_)))
            way = rng.choice(WAYS)
            ways[way] += 1
            life.leave(way)
            exact.release(whom, held)
        else:
            whom = Whom(rng.randrange(5), rng.choice(SIZES))
            admits = exact.admits(whom)
            permit = pace.admit(whom.envelope)
            assert bool(permit) == admits, (whom, permit)
            told.add(permit.decision.limit)
            if permit:
                held = exact.hold(whom)
                told.update("neighbour" for of_limit in held if of_limit.is_neighbour and of_limit.amount)
                open_.append((whom, held, Life(permit, loop)))
            del permit
        assert used(pace) == exact.used
        assert exact.all.total() <= min(28, MAX_OPEN)
    open_.clear()
    assert set(used(pace).values()) == {0}


def in_child(do: Callable[[], bool]) -> bool:
    """What `do` says in a forked child, which then is gone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os._exit(0 if do() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forks_at_any_time_begin_with_none_and_leave_the_parent_what_it_holds(rng: random.Random) -> None:
    pace = Throttle(Policy(LIMITS), memory="64 KiB", max_open=MAX_OPEN, clock=ManualClock(REAL), seed=SEED)
    open_ = list[Permit]()

    def begins_with_none(depth: int) -> bool:
        parents = list(open_)
        open_.clear()
        none = set(used(pace).values()) == {0} if rng.random() < 0.5 else True
        own = [pace.admit(Whom(net % 5, 1).envelope) for net in range(8)]
        held = used(pace)
        # Whatever becomes of its parent's permits changes nothing here.
        while parents:
            parents.pop().release() if rng.random() < 0.5 else parents.pop()
        same = used(pace) == held and held["permits"] == sum(map(bool, own)) > 4
        open_.extend(own)
        nested = depth == 0 or in_child(lambda: begins_with_none(depth - 1))
        same = same and used(pace) == held
        open_.clear()
        own.clear()
        return none and same and nested and set(used(pace).values()) == {0}

    for _ in range(25):
        for _ in range(rng.randrange(8)):
            if open_ and rng.random() < 0.4:
                open_.pop(rng.randrange(len(open_))).release()
            else:
                open_.extend(permit for permit in [pace.admit(Whom(rng.randrange(5), 1).envelope)] if permit)
        before = used(pace)
        assert in_child(lambda: begins_with_none(rng.randrange(3)))
        assert used(pace) == before
        assert before["permits"] == len(open_)
    open_.clear()
    assert set(used(pace).values()) == {0}
