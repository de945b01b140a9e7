"""The policy service behind a real Postfix, with the lines of docs/postfix.md."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import pytest

from integrations.postfix.real_postfix import RECEIVER, RealPostfix, free_port, main_cf_of_page
from integrations.postfix.serve_process import ServeProcess, policy_file
from integrations.postfix.smtp_client import Sent, SmtpClient
from throttle.demo.traffic import Mix, conversations, quiet_hours

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from throttle.demo.traffic import Message

pytestmark = pytest.mark.servers

SEED = 1
FLOOD = 20_000
CONNECTIONS = 100


def with_service(port: int, *names: str) -> str:
    """The lines of the page for a service on this port."""
    return "\n".join(main_cf_of_page(name, f"inet:127.0.0.1:{port}") for name in names)


def asked_in(*lists: str, port: int) -> str:
    """Lines that list the service in other restrictions, as the page lists it in those of recipients."""
    (asked,) = re.findall(r"check_policy_service {.*}", with_service(port, "main.cf"))
    return "".join(f"smtpd_{name}_restrictions = {asked}\n" for name in lists)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `throttle replay --learn` makes of the hours before the flood."""
    directory = tmp_path_factory.mktemp("learned")
    log, state = directory / "quiet.jsonl", directory / "known.jsonl.gz"
    now = time.time()
    with log.open("w") as lines:
        for seconds_before, message in quiet_hours(SEED):
            fields = {"client_ip": message.client_ip, "helo": message.helo, "mail_from": message.mail_from}
            line = {"time": now - seconds_before, "rcpt_to": [message.rcpt_to], **fields}
            lines.write(json.dumps(line) + "\n")
    subprocess.run(
        [sys.executable, "-m", "throttle", "replay", str(log), "--learn", str(state)],
        check=True, stdout=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    return state


#: Each connection comes from here, before XCLIENT says where from.
LOOPBACK = '[[allow]]\nidentity = "client.ip"\nvalue = "127.0.0.1"\n'

STEPS = (
    LOOPBACK
    + """
[[limit]]
name = "connections"
per = "client.ip"
count = "connections"
rate = "3/day"

[[limit]]
name = "hello"
per = "helo.host"
count = "connections"
rate = "2/day"

[[limit]]
name = "messages"
per = "sender.org"
rate = "2/day"

[[limit]]
name = "to-mailbox"
per = "rcpt.address"
rate = "3/day"

[[limit]]
name = "bytes"
per = "sender.host"
count = "bytes"
rate = "10 kB/day"
"""
)
DELAYED = ("main.cf", "bytes.cf")


@pytest.fixture(params=["yes", "no"], ids=["delayed", "not delayed"])
def stepped(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[RealPostfix, ServeProcess, bool]]:
    """A Postfix that asks in all restriction lists."""
    with ServeProcess(tmp_path, "--policy", policy_file(tmp_path, STEPS)) as service:
        lists = asked_in("client", "helo", "sender", "data", port=service.port)
        lines = f"smtpd_delay_reject = {request.param}\n{lists}\n" + with_service(service.port, *DELAYED)
        with RealPostfix(lines) as postfix:
            yield postfix, service, request.param == "yes"


def test_each_step_of_the_dialogue_gets_its_code(stepped: tuple[RealPostfix, ServeProcess, bool]) -> None:
    postfix, service, delayed = stepped
    box = f"box@{RECEIVER}"
    early = "RCPT" if delayed else "MAIL"

    def code(sent: Sent) -> tuple[str, str]:
        words = sent.reply.text.split()
        return sent.step, " ".join(words[:2])

    for port in range(3):  # connections of one client: the fourth is refused
        with SmtpClient(postfix.port) as client:
            assert client.xclient("192.0.2.1", 2000 + port).code == 220
            assert client.say(f"EHLO a{port}.example.org").code == 250
            assert code(client.send(f"c{port}", f"joe@c{port}.example", [f"c{port}@{RECEIVER}"]))[0] == "END"
    with SmtpClient(postfix.port) as client:
        greeting = client.xclient("192.0.2.1", 2003)
        if delayed:
            client.say("EHLO a3.example.org")
            assert code(client.send("-", "joe@c3.example", [box])) == ("RCPT", "421 4.7.0")
        else:
            assert greeting.text.startswith("421 4.7.0 ")

    for port in range(3):  # one HELO name: the third connection is refused
        with SmtpClient(postfix.port) as client:
            client.xclient(f"192.0.2.{10 + port}", 2000)
            reply = client.say("EHLO same.example.org")
            if port < 2:
                assert code(client.send(f"h{port}", f"joe@h{port}.example", [f"h{port}@{RECEIVER}"]))[0] == "END"
            elif delayed:
                assert code(client.send("-", "joe@h2.example", [box])) == ("RCPT", "421 4.7.0")
            else:
                assert reply.text.startswith("421 4.7.0 ")

    with SmtpClient(postfix.port) as client:  # messages of one sender, on one connection: the third is refused
        client.xclient("192.0.2.20", 2000)
        client.say("EHLO m.example.org")
        for number in range(2):
            assert client.send(f"m{number}", "joe@many.example", [f"m{number}@{RECEIVER}"]).accepted
        assert code(client.send("-", "joe@many.example", [box])) == (early, "451 4.7.1")

    with SmtpClient(postfix.port) as client:  # messages to one mailbox: the fourth is refused, its other recipient not
        client.xclient("192.0.2.21", 2000)
        client.say("EHLO r.example.org")
        for number in range(3):
            assert client.send(f"r{number}", f"joe@r{number}.example", [box]).accepted
        sent = client.send("r3", "joe@r3.example", [box, f"other@{RECEIVER}"])
        assert sent.accepted
        assert [(step, reply.text[:9]) for step, reply in sent.steps[1:3]] == [
            ("RCPT", "450 4.2.1"),
            ("RCPT", "250 2.1.5"),
        ]

    with SmtpClient(postfix.port) as client:  # bytes: the second message of 6 KB is refused by its declared size
        client.xclient("192.0.2.22", 2000)
        client.say("EHLO b.example.org")
        body = ("x" * 70 + "\r\n") * 85
        assert client.send("b0", "joe@bytes.example", [f"b0@{RECEIVER}"], body).accepted
        assert code(client.send("-", "joe@bytes.example", [f"b1@{RECEIVER}"], body)) == (early, "451 4.7.1")

    numbers = [*(f"c{n}" for n in range(3)), "h0", "h1", "m0", "m1", *(f"r{n}" for n in range(4)), "b0"]
    assert postfix.wait_until_delivered(len(numbers), 30) == Counter(numbers)
    assert "451 4.3.5" not in postfix.log()
    assert "fault" not in service.log()


def test_fifty_recipients_in_six_lists_are_charged_once(tmp_path: Path) -> None:
    policy = policy_file(
        tmp_path,
        LOOPBACK + '[[limit]]\nname = "recipients"\nper = "sender.org"\ncount = "recipients"\nrate = "50/day"\n'
        '[[limit]]\nname = "messages"\nper = "sender.host"\nrate = "1/day"\n'
        '[[limit]]\nname = "connections"\nper = "client.ip"\ncount = "connections"\nrate = "1/day"\n',
    )
    with ServeProcess(tmp_path, "--policy", policy) as service:
        lists = asked_in("client", "helo", "sender", "data", port=service.port)
        for delay in ("yes", "no"):
            with RealPostfix(
                f"smtpd_delay_reject = {delay}\n{lists}\n" + with_service(service.port, *DELAYED)
            ) as postfix:
                with SmtpClient(postfix.port) as client:
                    client.xclient("192.0.2.1" if delay == "yes" else "192.0.2.2", 2000)
                    client.say("EHLO a.example.org")
                    sent = client.send("one", f"joe@{delay}.example", [f"box{n}@{RECEIVER}" for n in range(50)])
                    assert sent.accepted, sent
                    again = client.send("-", f"joe@x.{delay}.example", [f"box@{RECEIVER}"])
                    assert again.reply.text.startswith("452 4.5.3"), again.reply  # of the recipients, fifty are used up
                assert postfix.wait_until_delivered(1, 30) == Counter({"one": 1})


def test_submission_asks_before_it_permits_users(tmp_path: Path) -> None:
    policy = policy_file(tmp_path, '[[limit]]\nname = "user"\nper = "auth.user"\nrate = "1/day"\n')
    with ServeProcess(tmp_path, "--policy", "inbound", "--policy", f"submission={policy}") as service:
        lines = with_service(service.port, "submission.cf")
        lines += "smtpd_sasl_auth_enable = yes\nsmtpd_recipient_restrictions = $submission_recipient_restrictions\n"
        with RealPostfix(lines) as postfix, SmtpClient(postfix.port) as client:
            client.xclient("192.0.2.1", 2000, login="ann")
            client.say("EHLO a.example.org")
            assert client.send("one", "ann@example.org", [f"box@{RECEIVER}"]).accepted
            assert client.send("-", "ann@example.org", [f"box@{RECEIVER}"]).reply.text.startswith("451 4.7.1")


class Outage:
    """The mail of the outage, sent over parallel connections."""

    def __init__(self, port: int, connections: int, flood: int) -> None:
        self.results: list[tuple[Message, Sent]] = []
        self.lost: list[str] = []
        self.longest_wait = 0.0
        self._port = port
        self._work: SimpleQueue[tuple[int, list[Message]]] = SimpleQueue()
        for entry in enumerate(conversations(SEED, Mix.scaled(flood))):
            self._work.put(entry)
        self._threads = [threading.Thread(target=self._client) for _ in range(connections)]

    def __enter__(self) -> Outage:
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()
        self.seconds = time.monotonic() - self._started

    def _client(self) -> None:
        while True:
            try:
                number, messages = self._work.get_nowait()
            except Empty:
                return
            try:
                with SmtpClient(self._port) as client:
                    client.xclient(messages[0].client_ip, 1024 + number)
                    client.say(f"EHLO {messages[0].helo}")
                    for index, message in enumerate(messages):
                        self.results.append(
                            (message, client.send(f"{number}.{index}", message.mail_from, [message.rcpt_to]))
                        )
                    client.say("QUIT")
            except OSError as error:
                self.lost.append(repr(error))

    def summary(self) -> Counter[str]:
        """How many messages of each group were accepted, and how many refused at which step with which code."""
        return Counter(
            f"{message.group} "
            + ("accepted" if sent.accepted else f"{sent.step} {' '.join(sent.reply.text.split()[:2])}")
            for message, sent in self.results
        )


def test_the_outage_is_over_and_nobody_else_has_noticed(tmp_path: Path, learned: Path) -> None:
    with ServeProcess(tmp_path, "--learned", str(learned)) as service:
        with RealPostfix(with_service(service.port, "main.cf")) as postfix:
            with Outage(postfix.port, CONNECTIONS, FLOOD) as outage:
                pass
            accepted = [sent.number for _, sent in outage.results if sent.accepted]
            delivered = postfix.wait_until_delivered(len(accepted), 60)
            log = postfix.log()
        notices = [line for line in service.log().splitlines() if " notice: " in line]
    summary = outage.summary()
    print(f"{len(outage.results):,} messages in {outage.seconds:.0f} s over {CONNECTIONS} connections")
    print("\n".join(f"{count:>7,} {what}" for what, count in sorted(summary.items())), *notices, sep="\n")
    assert outage.lost == []
    assert len(outage.results) == Mix.scaled(FLOOD).total
    assert summary["flood accepted"] <= 0.02 * FLOOD
    assert summary["flood RCPT 451 4.7.28"] == FLOOD - summary["flood accepted"]
    assert {what for what in summary if not what.endswith("accepted")} == {"flood RCPT 451 4.7.28"}
    assert delivered == Counter(accepted)
    assert "451 4.3.5" not in log
    assert any(
        re.search(r"org-fan-out defers \S*salesforce\.com: [\d,]+ new hosts? since", notice) for notice in notices
    ), notices


@pytest.mark.parametrize("fault", ["killed", "restarted", "stopped"])
def test_a_fault_of_the_service_bounces_nothing_and_passes(fault: str, tmp_path: Path, learned: Path) -> None:
    port = free_port()
    arguments = ("--learned", str(learned))
    service = ServeProcess(tmp_path, *arguments, postfix=f"inet:127.0.0.1:{port}")
    try:
        with RealPostfix(with_service(port, "main.cf")) as postfix:
            with Outage(postfix.port, 10, 2000) as outage:
                until(lambda: len(outage.results) > 300)
                before = outage.summary()["flood accepted"]
                if fault == "stopped":
                    service.process.send_signal(signal.SIGSTOP)
                elif fault == "killed":
                    service.kill()
                else:
                    service.process.terminate()
                    service.process.wait(20)
                until(lambda: len(outage.results) > 400)
                if fault == "stopped":
                    service.kill()
                during = outage.summary()["flood accepted"]
                service = ServeProcess(tmp_path, *arguments, postfix=f"inet:127.0.0.1:{port}")
                seen = len(outage.results)
            accepted = [sent.number for _, sent in outage.results if sent.accepted]
            delivered = postfix.wait_until_delivered(len(accepted), 60)
            log = postfix.log()
    finally:
        service.__exit__()
    after = outage.summary()["flood accepted"]
    waits = [reply.seconds for _, sent in outage.results for step, reply in sent.steps if step == "RCPT"]
    print(
        f"{fault}: {before} flood messages passed before, {during - before} meanwhile, {after - during} after; "
        f"longest wait of a recipient {max(waits):.2f} s; {log.count('problem talking to server')} warnings of Postfix"
    )
    assert outage.lost == []
    refused = {what for what in outage.summary() if not what.endswith("accepted")}
    assert refused == {"flood RCPT 451 4.7.28"}
    assert delivered == Counter(accepted)
    assert "451 4.3.5" not in log
    late = outage.results[seen + 300 :]  # a new service has a burst of its own, and then refuses again
    assert sum(message.group == "flood" and not sent.accepted for message, sent in late) > 0.9 * sum(
        message.group == "flood" for message, _ in late
    )
    assert max(waits) < {"killed": 1.6, "restarted": 1.6, "stopped": 3.6}[fault]


def until(done: object, seconds: float = 60.0) -> None:
    """Waits until it is so."""
    assert callable(done)
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)  # Postfix does it, in processes of its own
