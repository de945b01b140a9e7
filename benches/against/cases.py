"""The cases that ``make against`` times, in one process for one build.

    python cases.py INBOUND            a policy file; then one name of a case a line on standard input
    python cases.py INBOUND --list     prints the names

The answer to each name is one line with the nanoseconds a call of one batch.
The first request for a case makes what it needs and runs one batch that is not reported.

This file imports nothing of the source tree, because the installed build may be of any commit.
Invariant: each batch asserts that the decisions are those that its name promises.
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from throttle import Envelope, Policy, RateLimiter, Throttle

INBOUND = Path(sys.argv[1]).read_text(encoding="utf-8")
WITHOUT_RECIPIENTS = "[[limit]]".join(part for part in INBOUND.split("[[limit]]") if "rcpt.address" not in part)
MEMORY = "16 MiB"
START = 1_600_000_000.0
#: Seconds from one message to the next.
PACE = 0.0005
RECIPIENT = "in@box.com"

#: Client address, HELO name and reverse-path.
Sender = tuple[str, str, str]
#: Runs one batch and returns the nanoseconds a call.
Batch = Callable[[], float]


def guard(text: str = INBOUND) -> Throttle:
    return Throttle(Policy.parse(text), memory=MEMORY)


def sender(number: int) -> Sender:
    """One of many senders in 28,000 networks (/24), three hosts to an organisation."""
    network, organisation = number % 4_000, f"org{number // 3}.com"
    client = f"{20 + network // 250}.{network % 250}.{number % 7}.{1 + number // 4_000 % 200}"
    return client, f"mx{number % 3}.{organisation}", f"user{number % 11}@mx{number % 3}.{organisation}"


def fresh(number: int) -> Sender:
    """A sender with an organisation of its own."""
    network, organisation = number % 4_096, f"org{number:08d}.com"
    client = f"{100 + network // 256}.{network % 256}.{number % 7 + 100}.{100 + number % 100}"
    return client, f"mx.{organisation}", f"user@{organisation}"


def flood(number: int) -> Sender:
    """A new host of one organisation, from one client."""
    host = f"h{number:08d}.flood.com"
    return "198.51.100.7", host, f"bounce@{host}"


def envelope(sender: Sender) -> Envelope:
    client, helo, mail_from = sender
    return Envelope(client_ip=client, helo=helo, mail_from=mail_from, rcpt_to=RECIPIENT)


def checks(senders: Iterator[Sender], size: int, warm: int, *, refused: bool = False) -> Batch:
    """Whole checks of senders in turn, after ``warm`` of them; at least 95 % of a batch are admitted, or refused."""
    throttle, now = guard(), START

    def batch() -> float:
        nonlocal now
        check, admitted = throttle.check, 0
        turn = [next(senders) for _ in range(size)]
        start = time.process_time_ns()
        for client_ip, helo, mail_from in turn:
            now += PACE
            if check(Envelope(client_ip=client_ip, helo=helo, mail_from=mail_from, rcpt_to=RECIPIENT), now=now):
                admitted += 1
        took = time.process_time_ns() - start
        as_named = size - admitted if refused else admitted
        assert as_named >= size * 0.95, f"{admitted} of {size} admitted"
        return took / size

    for _ in range(warm):
        now += PACE
        throttle.check(envelope(next(senders)), now=now)
    return batch


def in_turn(number: int) -> Iterator[Sender]:
    senders = [sender(each) for each in range(number)]
    while True:
        yield from senders


def refused_by_a_rate() -> Batch:
    """One envelope again and again, which ``rcpt-pace`` refuses."""
    one = sender(1)

    def same() -> Iterator[Sender]:
        while True:
            yield one

    return checks(same(), 20_000, 20_000, refused=True)


#: A header as ordinary mail has it.
MESSAGE = (
    b"Received: from mx.ex.com (mx.ex.com [192.0.2.1])\r\n\tby mx.box.test with ESMTPS id 4fXyZ1;\r\n"
    b"\tFri, 27 Nov 2026 12:00:00 +0000 (UTC)\r\n"
    * 3
    + b"From: =?utf-8?q?J=C3=B6?= <joe@ex.com>\r\nReply-To: answers@ex.com\r\nList-Id: Us <us.ex.com>\r\n"
    b"Subject: hello\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n"
)
DOCUMENT = {"rows": [{"name": f"row{number}", "values": list(range(20))} for number in range(50)]}
MEBIBYTE = bytes(1 << 20)


def other_work() -> None:
    """What a server does between two checks: it replaces the contents of the processor's caches."""
    message = email.message_from_bytes(MESSAGE, policy=email.policy.default)
    assert [str(value) for value in message.values()]
    json.loads(json.dumps(DOCUMENT))
    hashlib.sha256(MEBIBYTE).digest()


def among_other_work() -> Batch:
    """Only the check is timed, by the wall clock, and the median of a batch is reported."""
    throttle, senders, now = guard(), in_turn(100_000), START
    for _ in range(100_000):
        now += PACE
        throttle.check(envelope(next(senders)), now=now)

    def batch() -> float:
        nonlocal now
        check, read, times, nothing = throttle.check, time.perf_counter_ns, [], []
        for _ in range(30):
            client_ip, helo, mail_from = next(senders)
            now += PACE
            other_work()
            empty = read()
            start = read()
            decision = check(Envelope(client_ip=client_ip, helo=helo, mail_from=mail_from, rcpt_to=RECIPIENT), now=now)
            times.append(read() - start)
            nothing.append(start - empty)
            assert decision
        return statistics.median(times) - statistics.median(nothing)

    return batch


def hits(keys: list[str], rate: str, *, refused: bool = False) -> Batch:
    limiter, size = RateLimiter(rate), 50_000
    for key in keys * max(1, 2_000 // len(keys)):
        limiter.hit(key, now=START)
    turns = count()

    def batch() -> float:
        hit, admitted = limiter.hit, 0
        first = next(turns) * size
        turn = [keys[(first + number) % len(keys)] for number in range(size)]
        start = time.process_time_ns()
        for key in turn:
            if hit(key):
                admitted += 1
        took = time.process_time_ns() - start
        assert admitted == size or (refused and admitted < size * 0.05), f"{admitted} of {size} admitted"
        return took / size

    return batch


def recipients(policy: str) -> Batch:
    """Envelopes of 10,000 recipients, made and checked: nanoseconds a recipient."""
    throttle, size, now = guard(policy), 10_000, START
    rcpt_to = [f"user{number}@box{number % 50}.com" for number in range(size)]
    senders = in_turn(100)

    def batch() -> float:
        nonlocal now
        took = 0
        for _ in range(5):
            client_ip, helo, mail_from = next(senders)
            now += 10
            start = time.process_time_ns()
            decision = throttle.check(
                Envelope(client_ip=client_ip, helo=helo, mail_from=mail_from, rcpt_to=rcpt_to), now=now
            )
            took += time.process_time_ns() - start
            assert decision
        return took / 5 / size

    return batch


def peeks(throttle: Throttle) -> Batch:
    """Looks at envelopes that are made already and that no entry concerns."""
    envelopes = [envelope(sender(number)) for number in range(1_000)]
    for each in envelopes:
        assert throttle.check(each, now=START)

    def batch() -> float:
        peek, admitted = throttle.peek, 0
        start = time.process_time_ns()
        for each in envelopes * 20:
            if peek(each, now=START + 1):
                admitted += 1
        took = time.process_time_ns() - start
        assert admitted == 20_000
        return took / admitted

    return batch


def without_entries() -> Batch:
    return peeks(guard())


def with_one_entry() -> Batch:
    throttle = Throttle(Policy.parse(INBOUND), memory=MEMORY, clock=lambda: START)
    throttle.block("client.net", "198.51.100.0/24")
    return peeks(throttle)


def with_many_entries() -> Batch:
    throttle = Throttle(Policy.parse(INBOUND), memory=MEMORY, clock=lambda: START)
    for number in range(500):
        throttle.block("client.net", f"198.{20 + number // 250}.{number % 250}.0/24")
    for number in range(300):
        throttle.block("sender.org", f"blocked{number}.net")
    for number in range(200):
        throttle.block("client.ip", f"203.0.113.{number}")
    return peeks(throttle)


def with_a_block_by_a_limit() -> Batch:
    """``net-pace`` has blocked one network that none of the envelopes is of."""
    name = 'name  = "net-pace"\n'
    assert name in INBOUND
    throttle = guard(INBOUND.replace(name, name + 'action = "block 10 minutes"\n'))
    for number in range(4_000):
        throttle.check(
            Envelope(client_ip="198.51.100.7", mail_from="a@b.com", rcpt_to=f"user{number}@box.com"), now=START
        )
    assert throttle.peek(Envelope(client_ip="198.51.100.8", mail_from="a@c.com"), now=START + 1).limit == "net-pace"
    return peeks(throttle)


ROTATING = [f"user{number}@org{number}.com" for number in range(100_000)]

CASES: dict[str, Callable[[], Batch]] = {
    "check, 100,000 senders in turn": lambda: checks(in_turn(100_000), 20_000, 100_000),
    "check, 1,000,000 senders in turn": lambda: checks(in_turn(1_000_000), 50_000, 1_000_000),
    "check, fresh senders": lambda: checks(map(fresh, count()), 20_000, 100_000),
    "check, refused by a fan-out": lambda: checks(map(flood, count()), 20_000, 20_000, refused=True),
    "check, refused by a rate": refused_by_a_rate,
    "check among other work": among_other_work,
    "10,000 recipients without a limit, each": lambda: recipients(WITHOUT_RECIPIENTS),
    "10,000 recipients with a limit, each": lambda: recipients(INBOUND),
    "hit, 100,000 keys in turn": lambda: hits(ROTATING, "1000000/minute"),
    "hit, refused": lambda: hits(["user@org.com"], "100/minute", refused=True),
    "peek, no entry": without_entries,
    "peek, one entry": with_one_entry,
    "peek, 1,000 entries": with_many_entries,
    "peek, one block by a limit": with_a_block_by_a_limit,
}


def main() -> None:
    if sys.argv[2:] == ["--list"]:
        print("\n".join(CASES))
        return
    ready: dict[str, Batch] = {}
    for line in sys.stdin:
        name = line.rstrip("\n")
        if name not in ready:
            ready[name] = CASES[name]()
            ready[name]()
        print(ready[name](), flush=True)


if __name__ == "__main__":
    main()
