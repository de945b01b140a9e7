"""The policy service behind a real Postfix, with the lines of docs/postfix.md."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from integrations.loopback import free_port
from integrations.postfix.serve_process import ServeProcess, policy_file
from integrations.private_postfix import MYNETWORKS, RECEIVER, PrivatePostfix, lines_of_page, private_postfix
from integrations.sent_outage import SentOutage
from integrations.smtp_client import Sent, SmtpClient
from pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.servers


def with_service(port: int, *files: str) -> str:
    """The lines of the page for a service on this port."""
    return "\n".join(
        lines_of_page("postfix.md", file, "unix:private/throttle", f"inet:127.0.0.1:{port}") for file in files
    )


def block_of_page(file: str) -> str:
    """A block of the page."""
    return lines_of_page("postfix.md", file, "", "")


def asked_in(*lists: str, port: int) -> str:
    """Lines that list the service in other restrictions, as the page lists it in those of recipients."""
    (asked,) = re.findall(r"check_policy_service {.*}", with_service(port, "main.cf"))
    return "".join(f"smtpd_{name}_restrictions = {asked}\n" for name in lists)


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
def stepped(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[PrivatePostfix, ServeProcess, bool]]:
    """A Postfix that asks in all restriction lists."""
    with ServeProcess(tmp_path, "--policy", policy_file(tmp_path, STEPS)) as service:
        lists = asked_in("client", "helo", "sender", "data", port=service.port)
        lines = f"smtpd_delay_reject = {request.param}\n{lists}\n" + with_service(service.port, *DELAYED)
        with private_postfix(lines) as postfix:
            yield postfix, service, request.param == "yes"


def test_each_step_of_the_dialogue_gets_its_code(stepped: tuple[PrivatePostfix, ServeProcess, bool]) -> None:
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
    assert postfix.delivered() == Counter(numbers)
    assert "451 4.3.5" not in postfix.log
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
            with private_postfix(
                f"smtpd_delay_reject = {delay}\n{lists}\n" + with_service(service.port, *DELAYED)
            ) as postfix:
                with SmtpClient(postfix.port) as client:
                    client.xclient("192.0.2.1" if delay == "yes" else "192.0.2.2", 2000)
                    client.say("EHLO a.example.org")
                    sent = client.send("one", f"joe@{delay}.example", [f"box{n}@{RECEIVER}" for n in range(50)])
                    assert sent.accepted, sent
                    again = client.send("-", f"joe@x.{delay}.example", [f"box@{RECEIVER}"])
                    assert again.reply.text.startswith("452 4.5.3"), again.reply  # of the recipients, fifty are used up
                assert postfix.delivered() == Counter({"one": 1})


def test_both_ports_of_a_chrooted_smtpd_ask_by_the_socket_of_the_page(tmp_path: Path) -> None:
    """The lines of `main.cf` and `master.cf` are those of the page, with `unix:private/throttle`."""
    policy = policy_file(tmp_path, '[[limit]]\nname = "user"\nper = "auth.user"\nrate = "1/day"\n')
    strict = tmp_path / "strict.toml"
    strict.write_text(block_of_page("strict.toml"))
    submission = free_port()
    lines = block_of_page("main.cf") + block_of_page("submission.cf")
    master = lines_of_page("postfix.md", "master.cf", "submission inet n - y ", f"{submission} inet n - y ")
    with private_postfix(lines, master=master, chroot=True) as postfix:
        postfix_socket = f"unix:{postfix.directory}/queue/private/throttle"
        policies = ("--policy", str(strict), "--policy", f"submission={policy}")
        with ServeProcess(tmp_path, *policies, postfix=postfix_socket) as service:

            def replies(port: int, client_ip: str, **login: str) -> list[str]:
                with SmtpClient(port) as client:
                    client.xclient(client_ip, 2000, **login)
                    client.say("EHLO a.example.org")
                    return [client.send("-", "ann@example.org", [f"box@{RECEIVER}"]).reply.text for _ in range(3)]

            first, *refused = replies(submission, "192.0.2.1", login="ann")
            assert first.startswith("250 ")
            assert all(reply.startswith("451 4.7.1 ") and "ann is sending too fast" in reply for reply in refused)
            assert [reply[:9] for reply in replies(submission, "192.0.2.1")] == ["554 5.7.1"] * 3, "no user"
            *passed, last = replies(postfix.port, "192.0.2.1")
            assert [reply[:3] for reply in passed] == ["250", "250"]
            assert "192.0.2.1 is sending too fast" in last
            assert "unknown policy_context" not in service.log()
        assert "problem talking to server" not in postfix.log


@pytest.mark.parametrize("flood", [12_000, pytest.param(20_000, marks=pytest.mark.soak)])
def test_the_outage_is_over_and_nobody_else_has_noticed(tmp_path: Path, learned: Path, flood: int) -> None:
    with ServeProcess(tmp_path, "--learned", str(learned)) as service:
        with private_postfix(with_service(service.port, "main.cf")) as postfix:
            with SentOutage(postfix.port, 100, flood) as outage:
                pass
            print(f"\n{outage.report()}")
            outage.assert_only_the_flood_was_refused("RCPT", "451 4.7.28")
            outage.assert_at_most_two_in_a_hundred_of_the_flood_passed()
            assert postfix.delivered() == Counter(outage.accepted())
            assert "451 4.3.5" not in postfix.log
        notices = [line for line in service.log().splitlines() if " notice: " in line]
        print(*notices, sep="\n")
        assert any(
            re.search(r"org-fan-out defers \S*salesforce\.com: [\d,]+ messages? of new hosts since", notice)
            for notice in notices
        ), notices


def test_the_try_of_the_page_goes_as_it_says(tmp_path: Path) -> None:
    """Mail from `mynetworks` is never asked about."""
    with ServeProcess(tmp_path, "--policy", policy_file(tmp_path, block_of_page("strict.toml"))) as service:
        with private_postfix(with_service(service.port, "main.cf")) as postfix:

            def replies(client_ip: str) -> list[str]:
                found = []
                for number in range(3):
                    with SmtpClient(postfix.port) as client:
                        client.xclient(client_ip, 2000 + number)
                        client.say("EHLO mx.example.org")
                        found.append(client.send(f"{number}", "joe@example.org", [f"box@{RECEIVER}"]).reply.text)
                return found

            assert [reply[:3] for reply in replies(MYNETWORKS)] == ["250"] * 3
            assert "first request" not in service.log()
            (line,) = re.findall(r"^    (swaks .*)", (ROOT / "docs" / "postfix.md").read_text(), re.MULTILINE)
            line = line.replace("127.0.0.1", f"127.0.0.1:{postfix.port}").replace("example.net", RECEIVER)

            def swaks() -> list[str]:
                """What the server says to the RCPT of the line of the page."""
                done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=60)
                return re.findall(r"^<(?:-|\*\*) +(\d.*)", done.stdout.partition("RCPT TO")[2], re.MULTILINE)[:1]

            ((passed,), (second,), (refused,)) = swaks(), swaks(), swaks()
            assert (passed[:3], second[:3]) == ("250", "250")
            assert "first request" in service.log()
            told = block_of_page("refusal.txt").strip().replace("example.net", RECEIVER)
            assert re.sub(r"\d+ s$", "30 s", refused) == told
