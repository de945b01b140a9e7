"""Logs of mail with the outage in them, as Postfix writes them or as transactions. Pure functions of a seed.

Ordinary mail is that of `mail/`. The flood begins in the last hour and lasts twenty minutes:
each message from a fresh host, at least six labels
below one tenant of one organisation, from 64 networks, under one constant Reply-To.

It knows no guard. Invariant: messages are in order of time; a Postfix log's lines are not, by up to `DISORDER_S`.
"""

from __future__ import annotations

import csv
import heapq
import io
import json
import random
import time
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from mail.kinds import HOUR_US
from mail.mix import START_US, ordinary_mail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

FLOODED = "salesforce.com"
FLOOD_PARENT = f"00d8x0a.cs17.bnc.sandbox.{FLOODED}"
REPLY_TO = f"case-00d3f000@{FLOODED}"
FLOOD_US = 20 * 60 * 1_000_000
FLOOD_NETWORKS = 64
PROCESSES = 40
REJECTED = 0.05
DISORDER_S = 2.0
COLUMNS = ("time", "client_ip", "client_name", "helo", "mail_from", "rcpt_to", "spf", "size", "reply_to")


class Said(NamedTuple):
    """One transaction of the log."""

    at_us: int
    number: int
    is_flood: bool
    fields: dict[str, Any]  # those of `COLUMNS` but the time


def said(seed: str, per_hour: int, hours: float, flood: int) -> Iterator[Said]:
    """So many hours of ordinary mail, and the flood in the last of them."""
    mail = enumerate(ordinary_mail(seed, per_hour, hours))
    rng = random.Random(f"{seed} sizes")
    ordinary = (
        Said(message.at_us, number, False, {
            "client_ip": message.client_ip,
            "client_name": message.client_name or "unknown",
            "helo": message.helo,
            "mail_from": message.mail_from or "<>",
            "rcpt_to": [message.rcpt_to] if isinstance(message.rcpt_to, str) else list(message.rcpt_to),
            "spf": message.spf,
            "size": int(rng.lognormvariate(9, 1.5)),
            "reply_to": None if message.mail_from in ("", "<>") else message.mail_from,
        })
        for number, message in mail
    )  # fmt: skip
    return heapq.merge(ordinary, _flood(seed, START_US + int((hours - 0.7) * HOUR_US), flood))


def json_lines(messages: Iterable[Said]) -> Iterator[str]:
    """One object a line."""
    for message in messages:
        yield json.dumps({"time": message.at_us / 1e6} | message.fields) + "\n"


def comma_separated(messages: Iterable[Said]) -> Iterator[str]:
    """A line that names the fields, then one a message."""
    yield ",".join(COLUMNS) + "\n"
    for message in messages:
        at = datetime.fromtimestamp(message.at_us / 1e6, UTC).isoformat()
        fields: dict[str, Any] = {"time": at} | message.fields
        fields["rcpt_to"] = " ".join(fields["rcpt_to"])
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerow(
            ["" if fields[name] is None else fields[name] for name in COLUMNS]
        )
        yield out.getvalue()


def postfix(messages: Iterable[Said], seed: str, *, iso: bool = False, short_ids: bool = False) -> Iterator[str]:
    """The lines of several smtpd processes, interleaved, each line up to `DISORDER_S` from its place.

    Their date is UTC.
    """
    rng = random.Random(f"{seed} postfix")
    stamp = _iso if iso else _short
    pending: list[tuple[float, int, str]] = []
    number = 0
    for message in messages:
        at = message.at_us / 1e6
        while pending and pending[0][0] < at - DISORDER_S:
            yield heapq.heappop(pending)[2]
        for later, text in _lines(message, rng, short_ids=short_ids):
            number += 1
            line = f"{stamp(at + later)} mx1 {text}\n"
            heapq.heappush(pending, (at + later + rng.uniform(0, DISORDER_S), number, line))
    while pending:
        yield heapq.heappop(pending)[2]


def of_lines(make: Callable[[Iterable[Said]], Iterator[str]], messages: Iterable[Said], lines: int) -> Iterator[str]:
    """The first so many."""
    return islice(make(messages), lines)


def _flood(seed: str, start_us: int, count: int) -> Iterator[Said]:
    rng = random.Random(f"{seed} flood")
    for number in range(count):
        host = ".".join([*(_label(rng) for _ in range(rng.randint(3, 5))), FLOOD_PARENT])
        fields = {
            "client_ip": f"198.18.{number % FLOOD_NETWORKS}.{rng.randint(1, 254)}",
            "client_name": "unknown",
            "helo": f"smtp.{FLOODED}",
            "mail_from": f"bounce-{rng.randint(1, 10**6)}@{host}",
            "rcpt_to": [f"box{rng.randint(1, 20_000)}@quickbox.email"],
            "spf": None,
            "size": rng.randint(2_000, 9_000),
            "reply_to": REPLY_TO,
        }
        yield Said(start_us + number * FLOOD_US // max(count, 1), -1 - number, True, fields)


def _lines(message: Said, rng: random.Random, *, short_ids: bool) -> Iterator[tuple[float, str]]:
    fields = message.fields
    client = f"{fields['client_name']}[{fields['client_ip']}]"
    sender = "" if fields["mail_from"] == "<>" else fields["mail_from"]
    smtpd = f"postfix/smtpd[{1000 + rng.randrange(PROCESSES)}]"
    yield 0.0, f"{smtpd}: connect from {client}"
    if not message.is_flood and rng.random() < REJECTED:
        for rcpt in fields["rcpt_to"]:
            yield (
                0.2,
                (
                    f"{smtpd}: NOQUEUE: reject: RCPT from {client}: 550 5.1.1 <{rcpt}>: Recipient address rejected: "
                    f"User unknown; from=<{sender}> to=<{rcpt}> proto=ESMTP helo=<{fields['helo']}>"
                ),
            )
        yield 0.4, f"{smtpd}: disconnect from {client} ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4"
        return
    key = (
        f"{rng.getrandbits(40):010X}"
        if short_ids
        else "4" + "".join(rng.choices("BCDFGHJKLMNPQRSTVWXYZbcdfghjk", k=14))
    )
    yield 0.2, f"{smtpd}: {key}: client={client}"
    yield 0.4, f"postfix/cleanup[{2000 + rng.randrange(20)}]: {key}: message-id=<{message.number}@{fields['helo']}>"
    yield (
        0.6,
        (
            f"postfix/qmgr[77]: {key}: from=<{sender}>, size={fields['size']}, nrcpt={len(fields['rcpt_to'])} (queue "
            f"active)"
        ),
    )
    yield 0.7, f"{smtpd}: disconnect from {client} ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"
    for rcpt in fields["rcpt_to"]:
        yield (
            1.0,
            (
                f"postfix/lmtp[{3000 + rng.randrange(20)}]: {key}: to=<{rcpt}>, relay=box[private/lmtp], delay=1, "
                "delays=0.6/0/0/0.4, dsn=2.0.0, status=sent (250 2.0.0 OK)"
            ),
        )
    yield 1.1, f"postfix/qmgr[77]: {key}: removed"


def _label(rng: random.Random) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=14))


def _short(at: float) -> str:
    return time.strftime("%b %e %H:%M:%S", time.gmtime(at))


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
