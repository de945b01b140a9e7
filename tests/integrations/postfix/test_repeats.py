"""Each limit is charged once a message and once a recipient, however often Postfix asks."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from integrations.postfix.policy_client import DUNNO, PolicyClient, instance, transaction
from integrations.postfix.serve_process import ServeProcess, policy_file

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = 3
RECIPIENTS = 50

#: Each limit fits so many messages, recipients or connections, and one more is refused.
POLICY = f"""
[[limit]]
name = "connections"
per = "client.ip"
count = "connections"
rate = "{MESSAGES}/day"

[[limit]]
name = "hello"
per = "helo.host"
count = "connections"
rate = "{MESSAGES}/day"

[[limit]]
name = "messages"
per = "sender.org"
rate = "{MESSAGES}/day"

[[limit]]
name = "to-mailbox"
per = "rcpt.address"
rate = "{MESSAGES}/day"

[[limit]]
name = "recipients"
per = "sender.host"
count = "recipients"
rate = "{MESSAGES * RECIPIENTS}/day"

[[limit]]
name = "bytes"
per = "sender.address"
count = "bytes"
rate = "{MESSAGES * 1000} B/day"
"""


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    directory = tmp_path_factory.mktemp("serve")
    with ServeProcess(directory, "--policy", policy_file(directory, POLICY)) as process:
        yield process


@pytest.fixture
def client(service: ServeProcess) -> Iterator[PolicyClient]:
    with PolicyClient(service.address) as connection:
        yield connection


def test_six_restriction_lists_with_delayed_rejects_charge_once(client: PolicyClient) -> None:
    """With `smtpd_delay_reject = yes` client, helo, sender and recipient restrictions all ask at RCPT."""
    for port in range(MESSAGES):
        actions = transaction(client, lists=4, recipients=RECIPIENTS, name=instance(), client_port=2000 + port)
        assert set(actions) == {DUNNO}
    assert refused_by(client, client_port=3000)


def test_six_restriction_lists_without_delayed_rejects_charge_once(client: PolicyClient) -> None:
    for port in range(MESSAGES):
        ask: dict[str, str | int] = {"client_port": 2000 + port, "instance": ""}
        early = [client.ask(protocol_state=state, **ask) for state in ("CONNECT", "EHLO", "MAIL", "MAIL")]
        assert set(early) == {DUNNO}
        actions = transaction(client, lists=1, recipients=RECIPIENTS, name=instance(), client_port=2000 + port)
        assert set(actions) == {DUNNO}
    assert refused_by(client, client_port=3000)


def test_several_messages_of_one_connection_are_charged_each(client: PolicyClient) -> None:
    for state in ("CONNECT", "EHLO"):
        assert client.ask(protocol_state=state, instance="") == DUNNO
    for _ in range(MESSAGES):
        assert client.ask(protocol_state="MAIL", instance="") == DUNNO
        assert set(transaction(client, lists=1, recipients=2, name=instance())) == {DUNNO}
    assert client.ask(protocol_state="MAIL", instance="").startswith("451 4.7.1 example.org is sending too fast")


def test_two_instances_interleaved_on_two_policy_connections_are_charged_once_each(service: ServeProcess) -> None:
    """Two SMTP connections of one client, and then one whose questions come by both policy connections."""
    with PolicyClient(service.address) as one, PolicyClient(service.address) as other:
        names = [instance(), instance(), instance()]
        for number in range(RECIPIENTS):
            for client, name, port in ((one, names[0], 2000), (other, names[1], 2001)):
                for _ in range(2):
                    ask: dict[str, str | int] = {
                        "instance": name,
                        "client_port": port,
                        "recipient": f"box{number}@example.net",
                    }
                    assert client.ask(**ask) == DUNNO
        for number in range(RECIPIENTS):
            for client in (one, other):
                ask = {"instance": names[2], "client_port": 2002, "recipient": f"box{number}@example.net"}
                assert client.ask(**ask) == DUNNO
        assert refused_by(one, client_port=3000)


def test_a_question_is_sent_again_after_the_connection_was_cut(service: ServeProcess) -> None:
    """Postfix asks again when the service does not answer in time."""
    with ExitStack() as stack:
        for port in range(MESSAGES):
            name = instance()
            for number in range(RECIPIENTS):
                ask: dict[str, str | int] = {
                    "instance": name,
                    "client_port": 2000 + port,
                    "recipient": f"box{number}@example.net",
                }
                if number % 10 == 0:
                    stack.enter_context(PolicyClient(service.address)).socket.sendall(
                        b"request=smtpd_access_policy\nsen"
                    )
                    with PolicyClient(service.address) as cut:
                        assert cut.ask(**ask) == DUNNO
                with PolicyClient(service.address) as again:
                    assert again.ask(**ask) == DUNNO
        with PolicyClient(service.address) as client:
            assert refused_by(client, client_port=3000)


def test_a_refusal_repeats_and_charges_nothing(client: PolicyClient) -> None:
    for port in range(MESSAGES):
        assert client.ask(instance=instance(), client_port=2000 + port) == DUNNO
    name = instance()
    refusals = [
        client.ask(instance=name, client_port=3000, client_address="192.0.2.8", helo_name="x.example") for _ in range(5)
    ]
    assert {refusal.split(";")[0] for refusal in refusals} == {"451 4.7.1 example.org is sending too fast"}


def refused_by(client: PolicyClient, **attributes: str | int) -> bool:
    """Whether exactly what was allowed is used up: one message more is refused by each limit, asked alone."""
    elsewhere = {"client_address": "192.0.2.99", "helo_name": "elsewhere.example", "sender": "x@elsewhere.example"}
    alone = [
        ({k: v for k, v in elsewhere.items() if k != "client_address"}, "421 4.7.0 192.0.2.7"),
        ({k: v for k, v in elsewhere.items() if k != "helo_name"}, "421 4.7.0 mx.example.org"),
        ({k: v for k, v in elsewhere.items() if k != "sender"}, "451 4.7.1 example.org"),
        (elsewhere | {"recipient": "box0@example.net"}, "450 4.2.1 box0@example.net"),
    ]
    found = []
    for number, (changes, expected) in enumerate(alone):
        ask: dict[str, str | int] = (
            {"recipient": "other@elsewhere.example"} | attributes | changes | {"client_port": 4000 + number}
        )
        action = client.ask(instance=instance(), **ask)
        found.append((expected, action))
    for expected, action in found:
        assert action.startswith(expected), found
    return True
