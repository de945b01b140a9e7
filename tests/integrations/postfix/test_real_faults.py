"""Faults of the policy service behind a real Postfix: nothing is bounced, and mail goes on."""

from __future__ import annotations

import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from integrations.faulty_clients import MOST_SECONDS, Noise, SlowRelay, growth_under_noise
from integrations.loopback import free_port, wait_until
from integrations.postfix.policy_client import PolicyClient, instance, request
from integrations.postfix.serve_process import ServeProcess, policy_file
from integrations.private_postfix import RECEIVER, lines_of_page, private_postfix
from integrations.sent_outage import SentOutage
from integrations.smtp_client import Sent, SmtpClient
from integrations.witness import Witness

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.servers


def lines_for(port: int) -> str:
    """The lines of the page for a service on this port."""
    return lines_of_page("postfix.md", "main.cf", "unix:private/throttle", f"inet:127.0.0.1:{port}")


#: The longest waits of a recipient, in seconds. Postfix has a pause of one before its second try, and a try of a
#: stopped service takes one.
WAITS_SECONDS = {"killed": 1.1, "restarted": 1.1, "stopped": 3.1}
LATER_WAIT_SECONDS = 2.1


@pytest.mark.parametrize("fault", WAITS_SECONDS)
def test_a_fault_of_the_service_bounces_nothing_and_passes(fault: str, tmp_path: Path, learned: Path) -> None:
    port = free_port()
    arguments = ("--learned", str(learned))
    service = ServeProcess(tmp_path, *arguments, postfix=f"inet:127.0.0.1:{port}")
    try:
        with private_postfix(lines_for(port)) as postfix:
            with Witness(postfix.port) as witness, SentOutage(postfix.port, 50, 2000) as outage:
                wait_until(lambda: len(outage.results) > 300)
                before = len(outage.accepted("flood"))
                if fault == "stopped":
                    service.process.send_signal(signal.SIGSTOP)
                elif fault == "killed":
                    service.kill()
                else:
                    service.process.terminate()
                    service.process.wait(20)
                wait_until(lambda: len(outage.results) > 400)
                if fault == "stopped":
                    service.kill()
                during = len(outage.accepted("flood"))
                service = ServeProcess(tmp_path, *arguments, postfix=f"inet:127.0.0.1:{port}")
                seen = len(outage.results)
            delivered, log = postfix.delivered(), postfix.log
    finally:
        service.__exit__()
    after = len(outage.accepted("flood"))
    waits = [reply.seconds for _, sent in outage.results for step, reply in sent.steps if step == "RCPT"]
    print(
        f"\n{fault}: {before} flood messages passed before, {during - before} meanwhile, {after - during} after; "
        f"longest wait of {len(witness.asked):,} recipients {max(witness.asked):.2f} s, of {len(witness.unasked):,} "
        f"that are not asked about {max(witness.unasked):.2f} s, as the busy sender saw it {max(waits):.2f} s; "
        f"{log.count('problem talking to server')} warnings of Postfix"
    )
    outage.assert_only_the_flood_was_refused("RCPT", "451 4.7.28")
    assert delivered == Counter(outage.accepted())
    assert "451 4.3.5" not in log
    late = outage.results[seen + 300 :]  # a new service has a burst of its own, and then refuses again
    assert sum(message.group == "flood" and not sent.accepted for message, sent in late) > 0.9 * sum(
        message.group == "flood" for message, _ in late
    )
    # When fifty smtpd wake at once, they queue at Postfix's logger, and that is as long as the others wait for it.
    assert max(witness.asked) <= WAITS_SECONDS[fault] + max(witness.unasked)


@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_recipients_wait_as_long_as_postfix_takes_for_two_tries_and_no_longer(fault: str, tmp_path: Path) -> None:
    """The best of six clients is bounded, in the best of three runs: noise of the machine makes some wait longer, a
    fault of ours all of them.
    """
    assert any(do_all_wait_as_long_as_postfix_takes(fault, tmp_path) for _ in range(3))


def do_all_wait_as_long_as_postfix_takes(fault: str, directory: Path) -> bool:
    senders = range(6)
    with ServeProcess(directory) as service, private_postfix(lines_for(service.port)) as postfix, ExitStack() as stack:
        clients = [stack.enter_context(SmtpClient(postfix.port)) for _ in senders]
        for number, client in enumerate(clients):
            client.xclient(f"192.0.{number}.1", 2000)
            client.say(f"EHLO a{number}.example.org")

        def waits(number: int) -> list[float]:
            sent = clients[number].send("-", f"joe@a{number}.example", [f"box{n}@{RECEIVER}" for n in range(4)])
            assert sent.accepted, sent
            return [reply.seconds for step, reply in sent.steps if step == "RCPT"]

        with ThreadPoolExecutor(len(senders)) as pool:
            for number in senders[:3]:  # the smtpd of the others ask it for the first time
                waits(number)
            if fault == "stopped":
                service.process.send_signal(signal.SIGSTOP)
            else:
                service.kill()
            found = list(pool.map(waits, senders))
        best: list[float] = [min(of_recipient) for of_recipient in zip(*found, strict=True)]
        print(f"\n{fault}: {[[round(seconds, 2) for seconds in one] for one in found]}")
        return best[0] <= WAITS_SECONDS[fault] and max(best[1:]) <= min(LATER_WAIT_SECONDS, WAITS_SECONDS[fault])


def test_a_stopped_service_that_goes_on_still_knows_the_flood(tmp_path: Path, learned: Path) -> None:
    with ServeProcess(tmp_path, "--learned", str(learned)) as service:
        with private_postfix(lines_for(service.port)) as postfix:
            with SentOutage(postfix.port, 50, 2000) as outage:
                wait_until(lambda: len(outage.results) > 500)
                before = len(outage.accepted("flood"))
                service.process.send_signal(signal.SIGSTOP)
                wait_until(lambda: len(outage.results) > 650)
                service.process.send_signal(signal.SIGCONT)
                begun = outage.begun
            delivered = postfix.delivered()
        after = sum(int(number.partition(".")[0]) > begun for number in outage.accepted("flood"))
        during = len(outage.accepted("flood")) - before - after
        print(f"\nstopped and continued: {before} flood messages passed before, {during} meanwhile, {after} after")
        print(outage.report())
        outage.assert_only_the_flood_was_refused("RCPT", "451 4.7.28")
        assert delivered == Counter(outage.accepted())
        assert during > 0
        assert after <= 20  # what a new service would let pass is 200


#: Each fits four messages of one sender.
FOUR = """
[[limit]]
name = "messages"
per = "sender.address"
rate = "4/day"

[[limit]]
name = "to-mailbox"
per = "rcpt.address"
rate = "4/day"

[[limit]]
name = "connections"
per = "client.ip"
count = "connections"
rate = "2/day"

[[allow]]
identity = "client.ip"
value = "127.0.0.1"
"""


def test_what_postfix_asked_a_stopped_service_twice_is_charged_once(tmp_path: Path) -> None:
    """Both tries lie in the buffers of sockets that Postfix has closed, and the service reads them when it goes on."""
    senders = range(20)
    with ServeProcess(tmp_path, "--policy", policy_file(tmp_path, FOUR)) as service:
        with private_postfix(lines_for(service.port)) as postfix, ExitStack() as stack:
            clients = [stack.enter_context(SmtpClient(postfix.port)) for _ in senders]
            for number, client in enumerate(clients):
                client.xclient(f"192.0.2.{number}", 2000)
                client.say(f"EHLO a{number}.example.org")

            def send(number: int, sender: str = "joe") -> Sent:
                return clients[number].send(f"{number}", f"{sender}@a{number}.example", [f"box{number}@{RECEIVER}"])

            with ThreadPoolExecutor(len(senders)) as pool:
                assert all(sent.accepted for sent in pool.map(send, senders))
                service.process.send_signal(signal.SIGSTOP)
                unasked = [sent for _ in range(2) for sent in pool.map(send, senders)]
                service.process.send_signal(signal.SIGCONT)
                assert all(sent.accepted for sent in unasked)
                assert all(sent.accepted for sent in pool.map(send, senders)), "the fourth"
                fifth = [sent.reply.text[:9] for sent in pool.map(send, senders)]
                others = [sent.reply.text[:9] for sent in pool.map(lambda number: send(number, "ann"), senders)]
            print(f"\n{len(unasked)} messages passed unasked, and each was charged once afterwards")
            assert set(fifth) == {"451 4.7.1"}
            assert set(others) == {"450 4.2.1"}
            for number in senders:  # the second connection of each client fits
                with SmtpClient(postfix.port) as client:
                    client.xclient(f"192.0.2.{number}", 3000)
                    client.say("EHLO b.example.org")
                    assert client.send("-", f"x@b{number}.example", [f"c{number}@{RECEIVER}"]).accepted


BLOCKED = """
extends = "inbound"

[[block]]
identity = "sender.org"
value = "blocked.example"
until = 2099-01-01T00:00:00Z
"""


@pytest.mark.parametrize("fault", ["killed", "restarted"])
def test_a_service_is_asked_again_within_two_seconds_of_its_restart(fault: str, tmp_path: Path) -> None:
    port = free_port()
    arguments = ("--policy", policy_file(tmp_path, BLOCKED))
    service = ServeProcess(tmp_path, *arguments, postfix=f"inet:127.0.0.1:{port}")
    try:
        with private_postfix(lines_for(port)) as postfix, ExitStack() as stack:

            def begun(number: int) -> SmtpClient:
                client = stack.enter_context(SmtpClient(postfix.port))
                client.xclient(f"192.0.2.{number}", 2000)
                client.say("EHLO a.example.org")
                return client

            def is_refused(client: SmtpClient) -> bool:
                code = client.send("-", "joe@blocked.example", [f"box@{RECEIVER}"]).reply.code
                assert code in (250, 450, 451)
                return code != 250

            def seconds_until_refused(client: SmtpClient) -> float:
                wait_until(lambda: is_refused(client), 10)
                return time.monotonic() - answering

            clients = [begun(number) for number in range(20)]
            with ThreadPoolExecutor(30) as pool:
                assert all(pool.map(is_refused, clients))
                service.kill() if fault == "killed" else service.__exit__()
                assert not any(pool.map(is_refused, clients[10:]))  # the others have not noticed that it is gone
                clients += [begun(number) for number in range(20, 30)]  # whose smtpd have asked nothing yet
                started = time.monotonic()
                service = ServeProcess(tmp_path, *arguments, postfix=f"inet:127.0.0.1:{port}")
                with PolicyClient(service.address) as asking:
                    asking.ask(instance=instance())
                answering = time.monotonic()
                times = list(pool.map(seconds_until_refused, clients))
            print(
                f"\n{fault}: it answers {answering - started:.2f} s after its start; of 30 connections the first asks "
                f"{min(times):.2f} s later, the last one {max(times):.2f} s later"
            )
            assert max(times) < 2
    finally:
        service.__exit__()


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.soak)])
def test_random_bytes_bounce_nothing_and_leave_the_memory_flat(tmp_path: Path, seed: str, seconds: int) -> None:
    roomy = '[[limit]]\nname = "messages"\nper = "client.ip"\nrate = "1000000/hour"\n'
    with ServeProcess(tmp_path, "--policy", policy_file(tmp_path, roomy)) as service:
        with private_postfix(lines_for(service.port)) as postfix, SmtpClient(postfix.port) as client:
            client.xclient("192.0.2.1", 2000)
            client.say("EHLO a.example.org")

            def send(number: int) -> float:
                sent = client.send(f"{number}", "joe@a.example", [f"box@{RECEIVER}"])
                assert sent.accepted, sent
                return sent.seconds

            noise = Noise(service.port, seed, (request(), request()[:100], b"request=smtpd_access_policy\n"))
            grown, slowest = growth_under_noise(noise, seconds, service.resident_bytes, send)
            assert "4.3.5" not in postfix.log
        with PolicyClient(service.address) as asking:
            start = time.monotonic()
            asking.ask(instance=instance())
            print(f"answered after {(time.monotonic() - start) * 1000:.1f} ms")
            assert time.monotonic() - start < 1
        assert grown < 2 << 20
        assert slowest < 3


def test_a_slow_service_delays_mail_and_is_asked_each_time(tmp_path: Path, learned: Path, seed: str) -> None:
    with ServeProcess(tmp_path, "--learned", str(learned)) as service, SlowRelay(service.port, seed) as relay:
        with private_postfix(lines_for(relay.port)) as postfix:
            with SentOutage(postfix.port, 50, 400) as outage:
                pass
            waits = [reply.seconds for _, sent in outage.results for step, reply in sent.steps if step == "RCPT"]
            print(f"\n{outage.report()}; longest wait of a recipient {max(waits):.2f} s")
            outage.assert_only_the_flood_was_refused("RCPT", "451 4.7.28")
            outage.assert_little_of_the_flood_passed()
            assert postfix.delivered() == Counter(outage.accepted())
            assert "problem talking to server" not in postfix.log
            assert 0.5 < max(waits) < MOST_SECONDS + 1


PLACES = 36
FEW_FILES = (
    "import resource; from throttle.cli import main; from throttle.serve.postfix import OTHER_FILES; "
    f"resource.setrlimit(resource.RLIMIT_NOFILE, (OTHER_FILES + {PLACES},) * 2); main()"
)


def test_silent_connections_in_all_places_delay_mail_by_seconds(tmp_path: Path) -> None:
    """One smtpd has its place and one comes later. Each finds the service again, and a message waits for two tries."""
    blocked, program = policy_file(tmp_path, BLOCKED), ("-c", FEW_FILES)
    with ServeProcess(tmp_path, "--policy", blocked, program=program) as service, ExitStack() as stack:
        postfix = stack.enter_context(private_postfix(lines_for(service.port)))

        def seconds_until_refused(client: SmtpClient) -> float:
            begun, waits = time.monotonic(), []
            code = 250
            while code == 250:
                assert time.monotonic() - begun < 20, "it passes unasked"
                sent = client.send("-", "joe@blocked.example", [f"box@{RECEIVER}"])
                waits += [reply.seconds for _, reply in sent.steps]
                code = sent.reply.code
            assert code in (450, 451)
            assert max(waits) <= WAITS_SECONDS["stopped"]
            return time.monotonic() - begun

        def client(number: int) -> SmtpClient:
            client = stack.enter_context(SmtpClient(postfix.port))
            client.xclient(f"192.0.2.{number}", 2000)
            client.say("EHLO a.example.org")
            return client

        early = client(1)
        seconds_until_refused(early)
        for _ in range(PLACES):
            stack.enter_context(PolicyClient(service.address))
        late = client(2)
        of_late, of_early = seconds_until_refused(late), seconds_until_refused(early)
        print(f"\nasked again after {of_late:.2f} s by a new smtpd, {of_early:.2f} s by one that had its place")
        assert max(of_late, of_early) <= 2 * WAITS_SECONDS["stopped"]
