"""Faults of the milter, of its clients and of what lies between them, behind a real Postfix: nothing is bounced."""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from integrations.faulty_clients import MOST_SECONDS, Noise, SlowRelay, growth_under_noise
from integrations.loopback import LOOPBACK, free_port, wait_until
from integrations.milter.behind_postfix import (
    Client,
    assert_each_accepted_message_is_delivered_once_and_none_bounced,
    sent,
    servers,
)
from integrations.milter.limits import limit, once
from integrations.milter.process import served
from integrations.private_postfix import lines_of_page, private_postfix
from integrations.sent_outage import SentOutage, most_admitted
from integrations.smtp_client import SmtpClient

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.servers
pytest.importorskip("throttle.milter", reason="pymilter is not installed")


@pytest.mark.parametrize(("on_fault", "code"), [("accept", 250), ("tempfail", 451)])
def test_a_fault_of_ours_lets_mail_pass_or_defers_it(on_fault: str, code: int) -> None:
    with servers(once("pace", "sender.address"), broken={"broken": "mail", "on_fault": on_fault}) as (postfix, _):
        with Client(postfix.port, "192.0.2.1") as client:
            client.ehlo()
            assert [sent(client, "<a@one.example>")[1] for _ in range(3)] == [code] * 3


@pytest.mark.parametrize(("default_action", "code"), [("accept", 250), ("tempfail", 451)])
def test_without_a_milter_mail_passes_or_is_deferred_as_the_operator_says(default_action: str, code: int) -> None:
    lines = f"smtpd_milters = {{ inet:{LOOPBACK}:{free_port()}, connect_timeout=1s, default_action={default_action} }}"
    with private_postfix(lines) as postfix, Client(postfix.port, "192.0.2.1") as client:
        client.ehlo()
        step, answer, text = sent(client, "<a@one.example>")
        assert answer == code, (step, text)


def test_a_milter_that_hangs_delays_each_connection_by_one_second_and_refuses_nothing() -> None:
    with servers(once("pace", "sender.address")) as (postfix, milter):
        with Client(postfix.port, "192.0.2.1") as client, Client(postfix.port, "192.0.2.2") as second:
            for one in (client, second):
                one.ehlo()
                milter.suspend()
                begun = time.monotonic()
                assert sent(one, "<a@one.example>")[1] == 250
                assert 0.9 < time.monotonic() - begun < 5  # without the time-outs of main.cf it is 30 s
                begun = time.monotonic()
                assert sent(one, "<a@one.example>")[1] == 250
                assert time.monotonic() - begun < 0.9  # asked no more until the client's next connection
                milter.process.send_signal(signal.SIGCONT)
        senders = itertools.count()

        def is_asked_again() -> bool:
            with Client(postfix.port, "192.0.2.1") as client:
                client.ehlo()
                sender = f"<b{next(senders)}@one.example>"
                return [sent(client, sender)[1] for _ in range(2)] == [250, 451]

        wait_until(is_asked_again)
        milter.wait_for_release()


def test_a_milter_killed_in_mid_flood_and_restarted_bounces_nothing(learned: Path) -> None:
    arguments = (None, "--learned", str(learned))
    with servers(*arguments) as (postfix, milter), contextlib.ExitStack() as stack:
        with SentOutage(postfix.port, 20, 3_000) as outage:
            wait_until(lambda: len(outage.results) > 700)
            before = len(outage.accepted("flood"))
            milter.kill()
            wait_until(lambda: len(outage.results) > 1_400)
            started = time.monotonic()
            again = stack.enter_context(served(milter.address, *arguments))
            seen, begun = len(outage.results), outage.begun
        after = sum(int(number.partition(".")[0]) > begun for number in outage.accepted("flood"))
        passed = len(outage.accepted("flood")) - before - after
        print(f"\n{outage.report()}; of the flood {before} passed before the kill, {passed} meanwhile, {after} after")
        assert passed > 0
        assert after <= most_admitted(time.monotonic() - started)  # a new memory: 200 new names once more
        assert any(not sent.accepted for _, sent in outage.results[seen:])
        assert max(sent.seconds for _, sent in outage.results) < 3
        assert_each_accepted_message_is_delivered_once_and_none_bounced(outage, postfix)
        again.wait_for_release()


def test_a_restarted_milter_is_asked_within_two_seconds() -> None:
    """Each message comes by a connection of its own: what began without a milter ends without one."""
    with servers(once("pace", "sender.address")) as (postfix, milter), contextlib.ExitStack() as stack:

        def is_refused() -> bool:
            with Client(postfix.port, "192.0.2.1") as client:
                client.ehlo()
                return [sent(client, "<a@one.example>")[1] for _ in range(2)][1] == 451

        assert is_refused()
        milter.kill()
        assert not is_refused()
        started = time.monotonic()
        stack.enter_context(served(milter.address, once("pace", "sender.address")))
        listening = time.monotonic()
        wait_until(is_refused)
        asked = time.monotonic()
        print(f"\nit listens {listening - started:.2f} s after its start, and is asked {asked - listening:.2f} s later")
        assert asked - listening < 2


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.soak)])
def test_random_bytes_bounce_nothing_and_leave_the_memory_flat(seed: str, seconds: int) -> None:
    begins = (
        b"\0\0\0\x0dO\0\0\0\6\0\0\1\xff\0\x1f\xff\xff",  # a negotiation
        b"\0\0\0\x05Hmx.\0",
        b"\0\0\0\x06M<a>\0",
        b"\0\0\x4e\x20L",
    )
    roomy = limit("pace", 'per = "client.ip"\nrate = "1000000/hour"')
    with servers(roomy) as (postfix, milter):
        with SmtpClient(postfix.port) as client:
            client.xclient("192.0.2.1", 2000)
            client.say("EHLO a.example.org")

            def send(number: int) -> float:
                message = client.send(f"{number}", "joe@a.example", ["box@quickbox.email"])
                assert message.accepted, message
                return message.seconds

            noise = Noise(int(milter.address.rpartition(":")[2]), seed, begins)
            process = psutil.Process(milter.process.pid)
            grown, slowest = growth_under_noise(noise, seconds, lambda: process.memory_info().rss, send)
            assert not re.findall(r"milter inet:.*", postfix.log)  # it has always answered
            with Client(postfix.port, "192.0.2.1") as after:
                begun = time.monotonic()
                after.ehlo()
                assert sent(after, "<a@one.example>")[1] == 250
                print(f"a message right after it took {(time.monotonic() - begun) * 1000:.0f} ms")
                assert time.monotonic() - begun < 1
            assert grown < 2 << 20
            assert slowest < 3
        milter.wait_for_release()


def test_a_slow_milter_delays_mail_and_is_asked_at_each_step(learned: Path, seed: str) -> None:
    with contextlib.ExitStack() as stack:
        address, known = f"inet:{LOOPBACK}:{free_port()}", ("--learned", str(learned))
        milter = stack.enter_context(served(address, None, *known))
        relay = stack.enter_context(SlowRelay(int(milter.address.rpartition(":")[2]), seed))
        address = f"inet:{LOOPBACK}:{relay.port}"
        lines = lines_of_page("milter.md", "main.cf", "inet:127.0.0.1:10045", address)
        postfix = stack.enter_context(private_postfix(lines))
        with SentOutage(postfix.port, 100, 250) as outage:
            pass
        waits = [reply.seconds for _, message in outage.results for _, reply in message.steps]
        print(f"\n{outage.report()}; longest wait of a step {max(waits):.2f} s")
        outage.assert_little_of_the_flood_passed()
        assert_each_accepted_message_is_delivered_once_and_none_bounced(outage, postfix)
        assert not re.findall(r"milter inet:.*", postfix.log)  # no time-out
        assert 0.5 < max(waits) < 2 * MOST_SECONDS + 1  # the header and the end of the message are one step of SMTP
