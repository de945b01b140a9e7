"""The work that `make wheel` watches an instrumented build do, so that the compiler learns which branches are usual.

It covers what a server does all day and what an attacker makes it do: admitted and refused checks, junk text, sessions,
headers, limiters. The profile decides only where code lies and what is inlined, never what is decided.
Invariant: seed, names and times are fixed, so that two builds learn from the same work.
"""

from __future__ import annotations

import random
import sys
from itertools import count
from pathlib import Path
from typing import Any

from throttle import Envelope, Policy, RateLimiter, Throttle

HERE = Path(__file__).parent
INBOUND, EVERY_KIND = (Policy.from_file(HERE / name) for name in ("inbound-1.toml", "every_kind.toml"))
SEED = b"sixteen octets!!"
START = 1_600_000_000.0
HEADER = (
    b"Received: from mx.ex.com (mx.ex.com [192.0.2.1])\r\n\tby mx.box.test with ESMTPS id 4fXyZ1;\r\n"
    b"From: =?utf-8?q?J=C3=B6?= <joe@%s>\r\nReply-To: answers@%s\r\nList-Id: Us <us.ex.com>\r\nSubject: hello\r\n\r\n"
)
#: Pieces of names as nobody should write them.
PIECES = [
    *("@", ".", "..", "+", "-", "<", ">", '"', "\\", "[", "]", ":", "%", "=", "\x00", "\r\n", "\t", " "),
    *("prvs=0123456789=", "SRS0=HHH=TT=", "b+al=ex.org", "xn--mnchen-3ya", "co.uk", "github.io", "invalid", "NULL"),
    *("ü", "İ", "ß", "ſ", "K", "аpple", "e\u0301", "\u200d", "\ufeff", "\U0001f4e7", "\udc80", "\udfff", "a" * 64),
    *("mail", "mx1", "org", "com", "net", "de", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"),
]


def guard(policy: Policy, memory: str = "16 MiB") -> Throttle:
    return Throttle(policy, memory=memory, seed=SEED)


def sender(number: int) -> dict[str, Any]:
    network, host = number % 4_000, f"mx{number % 3}.org{number // 3}.com"
    client = f"{20 + network // 250}.{network % 250}.{number % 7}.{1 + number // 4_000 % 200}"
    return {"client_ip": client, "helo": host, "mail_from": f"user{number % 11}@{host}"}


def admitted() -> None:
    """Most of the work: known and fresh senders, of whom nearly all are admitted."""
    check, times = guard(INBOUND).check, count(START, 0.0005)
    senders = [sender(number) for number in range(40_000)]
    for _ in range(4):
        for each in senders:
            check(Envelope(**each, rcpt_to="in@box.com"), now=next(times))
    for each in senders:
        check(Envelope(**each, client_name=each["helo"], rcpt_to=["in@box.com"], spf="pass", size=20_000))


def refused() -> None:
    """A flood of fresh hosts below one organisation, a mailbox over its rate, and an operator's blocks."""
    throttle, times = guard(INBOUND), count(START, 0.0005)
    for number in range(40_000):
        host = f"h{number}.flood.com"
        envelope = Envelope(client_ip="198.51.100.7", helo=host, mail_from=f"bounce@{host}", rcpt_to="in@box.com")
        throttle.check(envelope, now=next(times))
    one = Envelope(**sender(1), rcpt_to="in@box.com")
    for _ in range(20_000):
        throttle.check(one, now=next(times))
    throttle.block("client.net", "192.0.2.0/24", seconds=1e6)
    throttle.block("sender.org", "blocked.net", seconds=1e6)
    for number in range(10_000):
        each: dict[str, Any] = (
            sender(number) if number % 2 else {"client_ip": "192.0.2.1", "mail_from": "a@mx.blocked.net"}
        )
        throttle.check(Envelope(**each, rcpt_to="in@box.com"))
        throttle.peek(Envelope(**each, rcpt_to="in@box.com"))


def junk() -> None:
    """Text as nobody should write it, in every field, under every kind of limit."""
    drawn = random.Random(1)
    throttles, times = [guard(INBOUND), guard(EVERY_KIND)], count(START, 0.0005)

    def text() -> str | bytes:
        made = "".join(drawn.choices(PIECES, k=drawn.randrange(8)))
        return made if drawn.random() < 0.8 else made.encode(errors="surrogatepass")

    for number in range(10_000):
        envelope = Envelope(
            client_ip=text(),
            client_name=text(),
            helo=text(),
            mail_from=text(),
            rcpt_to=[text() for _ in range(drawn.randrange(4))],
            auth_user=text(),
        )
        throttles[number % 2].check(envelope, now=next(times))


def sessions() -> None:
    """SMTP connections step by step, with a header and several recipients; and permits."""
    throttle, times = guard(EVERY_KIND), count(START, 0.001)
    for number in range(5_000):
        each = sender(number)
        with throttle.session(client_ip=each["client_ip"]) as session:
            session.connect(now=next(times))
            session.helo(each["helo"], now=next(times))
            session.mail(each["mail_from"], size=20_000, spf="pass", now=next(times))
            for recipient in range(1 + number % 3):
                session.rcpt(f"user{recipient}@box.com", now=next(times))
            header = HEADER % (each["helo"].encode(), each["helo"].encode())
            session.data(headers=header, size=20_000, now=next(times))
    held = guard(INBOUND)
    for number in range(5_000):
        with held.admit(Envelope(**sender(number), rcpt_to="in@box.com"), now=next(times)):
            pass


def many_recipients() -> None:
    check, times = guard(INBOUND).check, count(START, 1)
    for number in range(20):
        recipients = [f"user{recipient}@box{recipient % 50}.com" for recipient in range(1_000)]
        check(Envelope(**sender(number), rcpt_to=recipients), now=next(times))


def limiters() -> None:
    keys, times = [f"user{number}@org{number}.com" for number in range(10_000)], count(START, 0.0005)
    for algorithm in ("gcra", "sliding-window"):
        limiter = RateLimiter("100/minute", algorithm=algorithm, seed=SEED)
        for number in range(40_000):
            limiter.hit(keys[number % len(keys)] if number % 4 else keys[0], now=next(times))


def main() -> None:
    for work in (admitted, refused, junk, sessions, many_recipients, limiters):
        sys.stderr.write(f"training: {work.__name__}\n")
        work()


if __name__ == "__main__":
    main()
