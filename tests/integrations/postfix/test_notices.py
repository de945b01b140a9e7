"""Notices of a guard as sentences of the log."""

from __future__ import annotations

import json
import os
import re
from io import StringIO

from throttle import Envelope, Limit, ManualClock, Policy, Throttle
from throttle.serve.log import Log
from throttle.serve.notices import AGAIN_SECONDS, NoticeReader

FAN_OUT = Limit(name="org-fan-out", per="sender.registered", distinct="sender.host", rate="1/day")


def test_refusals_are_told_when_they_begin_go_on_and_have_stopped() -> None:
    clock, out = ManualClock(1_700_000_000.0), StringIO()
    guard = Throttle(Policy([FAN_OUT]), clock=clock)
    reader, log = NoticeReader(guard, "inbound"), Log("text", out)

    def flood(messages: int) -> None:
        for number in range(messages):
            envelope = Envelope(client_ip="192.0.2.1", mail_from=f"a@h{clock()}-{number}.salesforce.com")
            guard.check(envelope)

    flood(1 + 300)
    reader.log_new(log, clock())
    clock.advance(AGAIN_SECONDS - 1)
    flood(100)
    reader.log_new(log, clock())
    clock.advance(1)
    reader.log_new(log, clock())
    clock.advance(1000)
    reader.log_new(log, clock())
    reader.log_new(log, clock())
    told = re.findall(r"notice: (.*)", re.sub(r"\b\d\d:\d\d:\d\d\b", "TIME", out.getvalue()))
    assert [line.partition(" kind=")[0].partition(" limit=org-fan-out key=salesforce.com ")[::2] for line in told] == [
        ("org-fan-out defers salesforce.com: 300 messages of new hosts since TIME", "refused=300"),
        ("org-fan-out defers salesforce.com: 400 messages of new hosts since TIME", "refused=400"),
        ("org-fan-out deferred salesforce.com: 400 messages of new hosts from TIME to TIME", "refused=400"),
    ]


def test_a_notice_as_json_tells_a_program_what_the_sentence_tells_people() -> None:
    clock, out = ManualClock(1_700_000_000.0), StringIO()
    guard = Throttle(Policy([Limit(name="pace", per="client.ip", rate="1/day", mode="shadow")]), clock=clock)
    reader, log = NoticeReader(guard, "mx=inbound"), Log("json", out)
    for _ in range(3):
        guard.check(Envelope(client_ip="192.0.2.1", mail_from="a@example.com"))
    reader.log_new(log, clock())
    clock.advance(600)
    reader.log_new(log, clock())
    began, stopped = map(json.loads, out.getvalue().splitlines())
    fields = {"event": "notice", "limit": "pace", "key": "192.0.2.1", "refused": 2, "mode": "shadow"}
    fields |= {"since": "2023-11-14T22:13:20.000+00:00", "policy": "mx=inbound"}
    for line, kind in ((began, "began"), (stopped, "stopped")):
        assert {name: line[name] for name in line if name not in ("time", "message")} == fields | {"kind": kind}


def test_shadow_and_other_actions_have_words_of_their_own() -> None:
    out = StringIO()
    limits = [
        Limit(name="rejects", per="sender.host", rate="1/day", action="reject"),
        Limit(name="watches", per="client.ip", rate="1/day", mode="shadow"),
        Limit(name="blocks", per="client.ip", count="connections", rate="1/day", action="block 1 hour"),
    ]
    for limit in limits:
        guard = Throttle(Policy([limit]))
        for _ in range(2):
            guard.check(Envelope(client_ip="192.0.2.1", helo="mx.example.org", mail_from="a@example.com"))
        NoticeReader(guard, "inbound").log_new(Log("text", out), 0)
    assert re.findall(r"notice: (.*?) since", out.getvalue()) == [
        "rejects rejects example.com: 1 message",
        "watches would defer 192.0.2.1: 1 message",
        "blocks blocks 192.0.2.1: 1 connection",
    ]


def test_many_keys_are_few_lines() -> None:
    out = StringIO()
    guard = Throttle(Policy([Limit(name="pace", per="sender.address", rate="1/day")]))
    reader, log = NoticeReader(guard, "inbound"), Log("text", out)
    for number in range(5_000):
        for _ in range(2):
            guard.check(Envelope(client_ip="192.0.2.1", mail_from=f"a{number}@example.com"))
    reader.log_new(log, 0)
    assert len(out.getvalue().splitlines()) <= 12


def test_many_decoys_do_not_hide_who_is_refused_most() -> None:
    clock, out = ManualClock(1_700_000_000.0), StringIO()
    guard = Throttle(Policy([Limit(name="pace", per="sender.org", rate="1/30 days")]), clock=clock)
    reader, log = NoticeReader(guard, "inbound"), Log("text", out)
    for minute in range(30):
        for number in range(40):
            for _ in range(3):
                guard.check(Envelope(client_ip="192.0.2.1", mail_from=f"a@decoy{number}.com"))
        for _ in range(100 if minute >= 5 else 0):
            guard.check(Envelope(client_ip="192.0.2.1", mail_from="a@salesforce.com"))
        reader.log_new(log, clock())
        log.flush(1e9 + 61 * minute)  # the next minute of the log
        clock.advance(60)
    lines = out.getvalue().splitlines()
    assert sum("salesforce.com" in line for line in lines) >= 2
    for number in range(40):
        assert any(f"decoy{number}.com" in line for line in lines), "what was not told stays due"


def test_keys_beyond_those_that_are_followed_are_counted_in_the_log() -> None:
    out = StringIO()
    guard = Throttle(Policy([Limit(name="pace", per="sender.org", rate="1/30 days")]))
    for number in range(300):
        for _ in range(2):
            guard.check(Envelope(client_ip="192.0.2.1", mail_from=f"a@org{number}.com"))
    NoticeReader(guard, "inbound").log_new(Log("text", out), 0)
    assert "notices full: 44 refusals of keys beyond the 256 that are followed at once" in out.getvalue()


def test_keys_that_are_refused_first_do_not_hide_a_later_offender_from_the_log() -> None:
    """The attacker has all rows, and its keys go on being refused."""
    clock, out = ManualClock(1_700_000_000.0), StringIO()
    guard = Throttle(Policy([Limit(name="pace", per="sender.org", rate="1/30 days")]), clock=clock)
    reader, log = NoticeReader(guard, "inbound"), Log("text", out)

    def refused(org: str, times: int) -> None:
        for _ in range(times):
            guard.check(Envelope(client_ip="192.0.2.1", mail_from=f"a@{org}.com"))

    for number in range(256):
        refused(f"decoy{number}", 21)
    reader.log_new(log, clock())
    for minute in range(5):
        clock.advance(60)
        log.flush(1e9 + 61 * minute)  # the next minute of the log
        for number in range(256):
            refused(f"decoy{number}", 1)
        refused("salesforce", 1_000)
        reader.log_new(log, clock())
    assert "notices displaced: keys no longer followed, because others are refused more often: 1\n" in out.getvalue()
    assert re.search(r"pace defers salesforce\.com: [\d,]+ messages since", out.getvalue())


def test_a_key_with_blanks_forges_no_field() -> None:
    out = StringIO()
    Log("text", out).event("notice", "text", key="x limit=forged", refused=1)
    assert out.getvalue().endswith(' key="x limit=forged" refused=1\n')


def test_a_reader_of_the_log_that_stands_still_stops_nothing() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as out, os.fdopen(reading, "rb", buffering=0) as reader:
        log = Log("text", out)
        for number in range(5_000):  # a pipe takes 64 KiB
            log.event("flood", f"number {number}", limited=False)
        read = reader.read(1 << 16)
        log.event("again", "somebody reads", limited=False)
        lost, last = reader.read(1 << 16).decode().splitlines()[-2:]
    written = read.count(b"\n")
    assert lost.endswith(f"lines lost: {5_000 - written:,}, because nobody read the log")
    assert last.endswith("again: somebody reads")
