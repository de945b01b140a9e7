"""The three sides of the demo under one interface: a server, its metrics, and how it is told of the quiet hours.

It knows how to put a guard behind aiosmtpd, not how any guard decides.
Invariant: the traffic's group of a message reaches no guard.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from prometheus_client import CollectorRegistry

from throttle import Envelope
from throttle.demo.careful import Careful
from throttle.demo.inbox import TimedGuardedSMTP, TimedSMTP
from throttle.demo.naive import Naive
from throttle.demo.peers import Counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from throttle.demo.inbox import Inbox
    from throttle.demo.plan import Plan
    from throttle.demo.traffic import Message

SideName = Literal["naive", "careful", "throttle"]
SIDES: tuple[SideName, ...] = ("naive", "careful", "throttle")


@dataclass(frozen=True, slots=True)
class Side:
    """What a server process needs of a side."""

    connection: Callable[..., TimedSMTP]  # takes the parameters of aiosmtpd's class but for the handler
    registry: CollectorRegistry
    feed: Callable[[Iterable[tuple[int, Message]]], None]
    reserved_bytes: int | None  # memory taken before the first message, where the side knows


def build(name: SideName, plan: Plan, inbox: Inbox) -> Side:
    """The side of that name with `inbox` taking delivery."""
    if name == "throttle":
        return _throttle(plan, inbox)
    guard = Naive() if name == "naive" else Careful()
    handler = Counted(guard, "domain" if name == "naive" else "organisation", inbox)

    def feed(quiet: Iterable[tuple[int, Message]]) -> None:
        # `limits` takes no time of day: all of the past would fall into one window. By now those windows are over.
        for _, message in quiet:
            handler.seen(message.mail_from)
        guard.forget_expired()

    return Side(partial(TimedSMTP, handler), handler.registry, feed, reserved_bytes=None)


def _throttle(plan: Plan, inbox: Inbox) -> Side:
    guard = plan.guard()
    registry = CollectorRegistry()
    registry.register(guard.collector())

    def feed(quiet: Iterable[tuple[int, Message]]) -> None:
        start = time.time()
        for seconds_before, message in quiet:
            past = Envelope(
                client_ip=message.client_ip, helo=message.helo, mail_from=message.mail_from, rcpt_to=[message.rcpt_to]
            )
            guard.check(past, now=start - seconds_before)

    return Side(partial(TimedGuardedSMTP, inbox, guard=guard), registry, feed, guard.memory_bytes)
