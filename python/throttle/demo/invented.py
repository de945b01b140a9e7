"""Act two: the attacker invents organisations instead of hosts, and a guard alone, in a fresh process, is asked about
each.

It knows no SMTP. The parent reads the process's memory before and after.
Invariant: nothing in the loop keeps a name, so what grows is the guard.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from throttle import Envelope
from throttle.demo.careful import Careful
from throttle.demo.child import Child, ChildFailedError, ignore_interrupts, say, serve
from throttle.demo.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GUARDS = ("careful", "throttle")
ACT_SECONDS = 120.0
SAMPLE_SECONDS = 0.2

_SPREAD = 0x9E3779B97F4A7C15  # odd, so that consecutive numbers give names without a common beginning


def organisation(number: int, seed: int) -> str:
    """The invented organisation of that number; no two numbers below 2⁶⁴ share one."""
    return f"{(number * _SPREAD + seed) % 2**64:016x}.com"


def client_ip(number: int) -> str:
    """One of 65,536 networks: a botnet large enough that no limit per network ends the act early."""
    return f"10.{number >> 8 & 0xFF}.{number & 0xFF}.7"


@dataclass(frozen=True, slots=True)
class Growth:
    """What a guard did with the invented organisations."""

    rss_growth_bytes: int
    asked: int
    admitted: int


def growth(plan: Plan, progress: Callable[[int], None]) -> dict[str, Growth]:
    """Ask both guards at the same time, each in its process."""
    with ExitStack() as children:
        guards = {
            name: children.enter_context(Child("throttle.demo.invented", name, plan.to_argument())) for name in GUARDS
        }
        before = {}
        for name, guard in guards.items():
            guard.answer()
            before[name] = guard.resident_bytes()
        for guard in guards.values():
            guard.ask("start")
        deadline = time.monotonic() + ACT_SECONDS
        while True:
            told = {name: guard.ask("status") for name, guard in guards.items()}
            progress(sum(answer["asked"] for answer in told.values()))
            if all(answer["done"] for answer in told.values()):
                return {
                    name: Growth(guard.resident_bytes() - before[name], told[name]["asked"], told[name]["admitted"])
                    for name, guard in guards.items()
                }
            if time.monotonic() > deadline:
                raise ChildFailedError(f"act two did not finish within {ACT_SECONDS:.0f} s")
            time.sleep(SAMPLE_SECONDS)


def _asker(name: str, plan: Plan) -> Callable[[str, str], bool]:
    if name == "careful":
        careful = Careful()
        return lambda _, mail_from: careful.admits(mail_from)
    guard = plan.guard()
    return lambda ip, mail_from: guard.check(Envelope(client_ip=ip, mail_from=mail_from)).allowed


def main() -> None:
    """`python -m throttle.demo.invented GUARD PLAN`."""
    ignore_interrupts()
    plan = Plan.from_argument(sys.argv[2])
    admits = _asker(sys.argv[1], plan)
    admits(client_ip(0), "first@example.com")  # whatever is loaded on first use is no growth
    go = threading.Event()
    told = {"asked": 0, "admitted": 0, "done": False}

    def start() -> Mapping[str, Any]:
        go.set()
        return told

    serve({"start": start, "status": lambda: dict(told)})
    say({"ready": True})
    go.wait()
    for number in range(plan.invented):
        told["admitted"] += admits(client_ip(number), f"news@{organisation(number, plan.seed)}")
        told["asked"] += 1
    told["done"] = True
    threading.Event().wait()  # the parent ends this process


if __name__ == "__main__":
    main()
