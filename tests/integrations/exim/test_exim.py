"""The policy service behind a real Exim, with the lines of docs/exim.md."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from integrations.postfix.serve_process import ServeProcess, policy_file
from integrations.private_exim import PrivateExim, private_exim
from pages import ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.servers

SOCKET = "/run/throttle/policy.sock"
HELP = "https://mx.example/%20$h/" + "p" * 100
POLICY = f"""
help_url = "{HELP}"

[[limit]]
name = "connections"
per = "client.ip"
count = "connections"
rate = "3/day"

[[limit]]
name = "hello"
per = "helo.host"
count = "connections"
rate = "4/day"

[[limit]]
name = "messages"
per = "sender.address"
rate = "2/day"

[[limit]]
name = "mailbox"
per = "rcpt.address"
rate = "3/day"

[[limit]]
name = "bytes"
per = "sender.host"
count = "bytes"
rate = "1000 B/day"

[[block]]
identity = "sender.address"
value = "bad@b.com"
"""
WAIT = f"retry in 43200 s; see {HELP}"


@pytest.fixture(scope="module")
def unpacked() -> Iterator[PrivateExim]:
    with private_exim() as exim:
        yield exim


def configure(exim: PrivateExim, path: Path, *, strict: bool = False) -> None:
    """Writes the lines of the page, with the socket at a path."""
    part = {block.marks["part"]: block.text for block in blocks(ROOT / "docs" / "exim.md") if "part" in block.marks}
    acl = part["acl"]
    assert SOCKET in part["main"]
    if strict:
        assert "{action=DUNNO}}" in acl
        assert "\n  accept\n" in acl
        acl = acl.replace("{action=DUNNO}}", "{action=451 4.3.0 try again later}}")
        acl = acl.replace("\n  accept\n", f"\n{part['strict']}  accept\n", 1)
    exim.configure(part["main"].replace(SOCKET, str(path)), acl)


@pytest.fixture(params=["lenient", "strict"])
def service(request: pytest.FixtureRequest, unpacked: PrivateExim) -> Iterator[ServeProcess]:
    """The service at a socket that Exim asks, by the lines of either kind."""
    path = unpacked.root / "policy.sock"
    configure(unpacked, path, strict=request.param == "strict")
    arguments = ("--policy", policy_file(unpacked.root, POLICY))
    with ServeProcess(unpacked.root, *arguments, postfix=f"unix:{path}") as service:
        path.chmod(0o666)
        yield service


def mail(sender: str, *recipients: str, size: int | None = None) -> list[str]:
    """The commands up to the last recipient."""
    declared = "" if size is None else f" SIZE={size}"
    return [f"MAIL FROM:<{sender}>{declared}", *(f"RCPT TO:<{recipient}>" for recipient in recipients)]


def message(characters: int = 10) -> list[str]:
    return ["DATA", "Subject: x", "", "x" * characters, "."]


def codes(replies: list[str]) -> list[str]:
    """The codes of a dialogue, without the greeting and the answers to HELO and QUIT."""
    return [reply[:3] for reply in replies[2:-1]]


def test_each_step_asks_and_a_transaction_is_counted_once(service: ServeProcess, unpacked: PrivateExim) -> None:
    hello = "EHLO mx.b.com"
    five = [f"a{number}@box.com" for number in range(5)]
    replies = unpacked.talk(
        hello, *mail("ok@b.com", *five), *message(), *mail("ok@b.com", "a0@box.com"), *message(), *mail("ok@b.com")
    )
    assert codes(replies) == ["250"] * 6 + ["354", "250"] + ["250"] * 2 + ["354", "250"] + ["451"]
    assert replies[-2] == f"451 4.7.1 ok@b.com is sending too fast; {WAIT}"
    replies = unpacked.talk(hello, *mail("bad@b.com"), *mail("other@b.com", "a0@box.com", "a1@box.com"))
    assert codes(replies) == ["550", "250", "250", "250"]
    replies = unpacked.talk(hello, *mail("third@b.com", "a0@box.com", "a1@box.com"))
    assert codes(replies) == ["250", "450", "250"]
    assert replies[3].startswith("450 4.2.1 a0@box.com ")
    assert replies[3].endswith(f"; see {HELP}")


def test_sizes_count_as_declared_and_as_they_are(service: ServeProcess, unpacked: PrivateExim) -> None:
    hello = "EHLO mx.b.com"
    declared = unpacked.talk(hello, *mail("a@c.com", size=1200))
    assert declared[2] == f"552 5.3.4 message too big for c.com; see {HELP}"
    actual = unpacked.talk(hello, *mail("a@d.com", "a@box.com"), *message(1200))
    assert codes(actual) == ["250", "250", "354", "552"]
    two = unpacked.talk(hello, *(line for to in "ab" for line in (*mail("a@e.com", f"{to}@e.com"), *message(600))))
    assert codes(two) == ["250", "250", "354", "250", "250", "250", "354", "451"]


def test_a_client_that_is_refused_at_connect_gets_no_greeting(service: ServeProcess, unpacked: PrivateExim) -> None:
    assert [unpacked.talk()[0][:3] for _ in range(3)] == ["220"] * 3
    (refused,) = unpacked.talk()
    assert refused.startswith("421 4.7.0 192.0.2.1 ")
    assert unpacked.talk(client_ip="192.0.2.2")[0].startswith("220 ")


def test_a_client_that_is_refused_by_its_name_is_told_at_mail(service: ServeProcess, unpacked: PrivateExim) -> None:
    replies = [unpacked.talk("EHLO mx.b.com", *mail(""), client_ip=f"192.0.2.{number}") for number in range(5)]
    assert [reply[2][:3] for reply in replies] == ["250"] * 4 + ["421"]


def test_nothing_that_a_sender_writes_begins_a_line_or_is_expanded(
    service: ServeProcess, unpacked: PrivateExim
) -> None:
    sender = '"a\\\tb\\\x01c\\\rclient_address=192.0.2.9}$pid${run{id}}"@b.com'
    recipient = '"x\\\x1b[1m$pid"@box.com'
    hello = "EHLO mx.b.com"
    by_sender = unpacked.talk(hello, *[*mail(sender), "RSET"] * 3)
    assert codes(by_sender) == ["250", "250", "250", "250", "451", "250"]
    key = "a?b?c?client_address=192.0.2.9}$pid${run{id}}@b.com"
    assert by_sender[-3] == f"451 4.7.1 {key} is sending too fast; {WAIT}"
    by_recipient = unpacked.talk(
        hello, *[line for name in "abcd" for line in (*mail(f"{name}@b.com", recipient), "RSET")]
    )
    assert codes(by_recipient) == ["250"] * 10 + ["450", "250"]
    assert by_recipient[-3].startswith("450 4.2.1 x?[1m$pid@box.com ")
    unpacked.talk()
    (refused,) = unpacked.talk()
    assert refused.startswith("421 4.7.0 192.0.2.1 ")  # all connections were counted for the client that had made them
    assert "bad request" not in service.log()


def test_without_an_answer_mail_passes_or_waits(
    service: ServeProcess, unpacked: PrivateExim, request: pytest.FixtureRequest
) -> None:
    strict = request.node.callspec.params["service"] == "strict"
    service.kill()
    path = unpacked.root / "policy.sock"
    path.unlink()
    assert_nothing_is_counted(unpacked, strict)
    with socket.socket(socket.AF_UNIX) as closes:
        closes.bind(str(path))
        path.chmod(0o666)
        closes.listen(100)

        def close_each() -> None:
            with contextlib.suppress(OSError):  # at the end
                while True:
                    closes.accept()[0].close()

        thread = threading.Thread(target=close_each)
        thread.start()
        try:
            assert_nothing_is_counted(unpacked, strict)
        finally:
            closes.shutdown(socket.SHUT_RDWR)
            thread.join()


def assert_nothing_is_counted(exim: PrivateExim, strict: bool) -> None:
    for _ in range(4):
        replies = exim.talk("EHLO mx.b.com", *mail("ok@b.com", "a@box.com"), *message())
        if strict:
            assert replies == ["451 4.3.0 try again later"]
        else:
            assert codes(replies) == ["250", "250", "354", "250"]
