"""What the policy service answers, over real sockets."""

from __future__ import annotations

import ctypes
import platform
import signal
import socket
from typing import TYPE_CHECKING

import psutil
import pytest

from integrations.loopback import wait_until
from integrations.postfix.policy_client import DUNNO, PolicyClient, instance, request
from integrations.postfix.serve_process import ServeProcess, policy_file

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

SYS_SCHED_GETATTR = 315

POLICY = """
[[limit]]
name = "connections"
per = "client.net/32/64"
count = "connections"
rate = "50/day"

[[limit]]
name = "pace"
per = "sender.org"
rate = "2/day"

[[limit]]
name = "rcpt-pace"
per = "rcpt.host"
count = "recipients"
rate = "40/day"

[[limit]]
name = "user-pace"
per = "auth.user"
rate = "1/day"

[[limit]]
name = "bytes"
per = "client.ip"
rate = "1 MB/day"
count = "bytes"
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    directory = tmp_path_factory.mktemp("serve")
    with ServeProcess(directory, "--policy", policy_file(directory, POLICY)) as process:
        yield process


@pytest.fixture
def client(service: ServeProcess) -> Iterator[PolicyClient]:
    with PolicyClient(service.address) as connection:
        yield connection


def test_each_state_is_answered(client: PolicyClient) -> None:
    for state in (
        "CONNECT",
        "EHLO",
        "HELO",
        "MAIL",
        "RCPT",
        "DATA",
        "BDAT",
        "END-OF-MESSAGE",
        "VRFY",
        "ETRN",
        "XCLIENT",
        "",
    ):
        assert client.ask(protocol_state=state, client_address="192.0.2.1", sender="joe@states.example") == DUNNO


def test_a_refusal_is_the_reply_line_of_the_limit(client: PolicyClient) -> None:
    ask = {"client_address": "192.0.2.2", "sender": "joe@refused.example"}
    assert [client.ask(instance=instance(), recipient="a@one.example", **ask) for _ in range(2)] == [DUNNO] * 2
    refusal = client.ask(instance=instance(), recipient="a@one.example", **ask)
    assert refusal.startswith("451 4.7.1 refused.example is sending too fast; retry in ")


def test_connections_are_refused_with_421(client: PolicyClient) -> None:
    ask = {"client_address": "192.0.2.3", "protocol_state": "CONNECT", "instance": ""}
    for port in range(50):
        assert client.ask(client_port=port, **ask) == DUNNO
    assert client.ask(client_port=51, **ask).startswith("421 4.7.0 ")


def test_the_authenticated_user_is_known(client: PolicyClient) -> None:
    ask = {"client_address": "192.0.2.4", "sasl_username": "ann", "recipient": "a@three.example"}
    assert client.ask(instance=instance(), sender="ann@u1.example", **ask) == DUNNO
    assert client.ask(instance=instance(), sender="ann@u2.example", **ask).startswith("451 4.7.1 ann is sending")


def test_sizes_count_at_the_end_of_the_message(client: PolicyClient) -> None:
    ask = {"client_address": "192.0.2.5", "sender": "joe@big.example", "recipient": "a@four.example"}
    first = instance()
    assert client.ask(instance=first, **ask) == DUNNO
    assert client.ask(protocol_state="END-OF-MESSAGE", instance=first, size=900_000, **ask) == DUNNO
    second = instance()
    assert client.ask(instance=second, **ask) == DUNNO
    assert client.ask(protocol_state="END-OF-MESSAGE", instance=second, size=900_000, **ask).startswith("451 4.7.1")


def test_the_null_sender_and_hostile_values_get_one_legal_line(client: PolicyClient, rng: random.Random) -> None:
    assert client.ask(sender="", client_address="192.0.2.6", instance=instance()) == DUNNO
    for _ in range(300):
        junk = {
            name: bytes(rng.choices([b for b in range(1, 256) if b != 10], k=rng.randint(0, 60))).decode(
                "utf-8", "surrogateescape"
            )
            for name in rng.sample(
                [
                    "sender",
                    "recipient",
                    "helo_name",
                    "client_address",
                    "client_name",
                    "size",
                    "instance",
                    "sasl_username",
                    "client_port",
                ],
                3,
            )
        }
        action = client.ask(**junk)
        assert action == DUNNO or action[0] in "45", action
        assert action.isprintable()


def test_a_refused_name_with_control_characters_is_one_legal_line(client: PolicyClient) -> None:
    ask = {"client_address": "192.0.2.8", "sasl_username": "ev\x1b[2Jil\x7f\u202eü"}
    actions = [client.ask(instance=instance(), recipient="a@five.example", sender="", **ask) for _ in range(3)]
    assert actions[-1].startswith("451 4.7.1 ")
    assert actions[-1].isprintable()
    assert actions[-1].isascii()


def test_requests_may_come_in_one_write_or_byte_by_byte(client: PolicyClient) -> None:
    client.socket.sendall(request(sender="a@w.example") * 20)
    for _ in range(20):
        assert client.socket.recv(len("action=DUNNO\n\n"), socket.MSG_WAITALL) == b"action=DUNNO\n\n"
    for octet in request(sender="a@w.example").replace(b"\n", b"\r\n"):
        client.socket.sendall(bytes([octet]))
    assert client.answer() == DUNNO


def test_a_client_that_half_closes_gets_its_answer_and_the_end(client: PolicyClient) -> None:
    """Exim's `${readsocket}` reads to the end."""
    client.socket.sendall(request(sender="a@h.example"))
    client.socket.shutdown(socket.SHUT_WR)
    assert client.rest() == b"action=DUNNO\n\n"


def test_a_request_and_the_end_of_its_client_may_come_at_once(service: ServeProcess, client: PolicyClient) -> None:
    assert client.ask() == DUNNO
    service.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: psutil.Process(service.process.pid).status() == psutil.STATUS_STOPPED)
        client.socket.sendall(request(sender="a@h.example"))
        client.socket.shutdown(socket.SHUT_WR)
    finally:
        service.process.send_signal(signal.SIGCONT)
    assert client.rest() == b"action=DUNNO\n\n"


def test_another_protocol_is_closed_without_an_answer(service: ServeProcess, client: PolicyClient) -> None:
    client.socket.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.rest() == b""
    service.wait_for("bad request: the request is no smtpd_access_policy")


def test_a_session_without_a_port_is_one_transaction(client: PolicyClient) -> None:
    ask = {"client_port": "unknown", "client_address": "192.0.2.9", "recipient": "a@six.example"}
    one, other = instance(), instance()
    for name in (one, other, one, other):
        assert client.ask(instance=name, sender=f"joe@{name}.example", **ask) == DUNNO


def test_policy_context_chooses_the_policy(tmp_path: Path) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text('[[limit]]\nname = "strict"\nper = "sender.org"\nrate = "1/day"\n')
    with ServeProcess(tmp_path, "--policy", policy_file(tmp_path, POLICY), "--policy", f"strict={strict}") as service:
        with PolicyClient(service.address) as client:
            actions = [client.ask(policy_context="strict", instance=instance()) for _ in range(2)]
            assert actions[0] == DUNNO
            assert actions[1].startswith("451 ")
            assert client.ask(instance=instance()) == DUNNO
            assert client.ask(policy_context="no such", instance=instance()) == DUNNO
            service.wait_for("unknown policy_context: requests: 1; the policy without a name answers them")
    with ServeProcess(tmp_path, "--policy", f"strict={strict}") as service, PolicyClient(service.address) as client:
        client.socket.sendall(request(policy_context="other\x1b"))
        assert client.rest() == b""
        assert "no policy is named other\\x1b" in service.wait_for("bad request.*")[0]


def test_hangup_loads_the_policy_again_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    text = '[[limit]]\nname = "pace"\nper = "sender.org"\nrate = "1/day"\n'
    path = policy_file(tmp_path, text)
    with ServeProcess(tmp_path, "--policy", path) as service, PolicyClient(service.address) as client:
        assert client.ask(instance=instance()) == DUNNO
        policy_file(tmp_path, "nonsense = 1")
        service.process.send_signal(signal.SIGHUP)
        assert "nonsense" in service.wait_for(r"reload failed: .*\n")[0]
        assert client.ask(instance=instance()).startswith("451")
        policy_file(tmp_path, text + '[[allow]]\nidentity = "client.ip"\nvalue = "192.0.2.7"\n')
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("reloaded: ")
        assert client.ask(instance=instance()) == DUNNO


def test_shadow_refuses_nothing_and_stays_over_a_reload(tmp_path: Path) -> None:
    text = '[[limit]]\nname = "pace"\nper = "sender.org"\nrate = "1/day"\n'
    path = policy_file(tmp_path, 'mode = "shadow"\n' + text)
    with ServeProcess(tmp_path, "--policy", path, "--shadow") as service, PolicyClient(service.address) as client:
        policy_file(tmp_path, 'mode = "enforce"\n' + text)
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("reloaded: ")
        assert {client.ask(instance=instance()) for _ in range(5)} == {DUNNO}


def test_the_end_is_graceful_and_removes_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with ServeProcess(tmp_path, postfix=f"unix:{path}") as service, PolicyClient(service.address) as client:
        assert client.ask() == DUNNO
        client.socket.sendall(request())
        assert client.answer() == DUNNO
        service.process.terminate()
        assert client.rest() == b""
        assert service.process.wait(20) == 0
    assert not path.exists()
    with ServeProcess(tmp_path, postfix=f"unix:{path}") as service:  # killed, it leaves its socket
        service.kill()
    assert path.exists()
    with ServeProcess(tmp_path, postfix=f"unix:{path}") as service, PolicyClient(service.address) as client:
        assert client.ask() == DUNNO


def test_notices_are_logged_as_sentences(tmp_path: Path) -> None:
    path = policy_file(
        tmp_path,
        '[[limit]]\nname = "fan-out"\nper = "sender.registered"\ndistinct = "sender.host"\nrate = "5/day"\n',
    )
    with ServeProcess(tmp_path, "--policy", path) as service, PolicyClient(service.address) as client:
        for number in range(30):
            client.ask(instance=instance(), sender=f"a@h{number}.example.org")
        service.wait_for(r"notice: fan-out defers example\.org: \d+ messages? of new hosts since \d\d:\d\d:\d\d ")


def test_stress_is_logged_and_changes_no_decision(tmp_path: Path) -> None:
    """Each request comes by a connection of its own, since the service looks at one a tick of each."""
    policy = policy_file(tmp_path, '[[limit]]\nname = "messages"\nper = "sender.org"\nrate = "3/day"\n')
    with ServeProcess(tmp_path, "--policy", policy) as service:

        def actions(org: str, *stress: str) -> list[str]:
            found = []
            for said in stress:
                with PolicyClient(service.address) as client:
                    action = client.ask(instance=instance(), sender=f"joe@{org}", stress=said)
                found.append(action.partition(" is sending")[0].replace(org, "ORG"))
            return found

        calm = actions("calm.example", *[""] * 5)
        assert calm == [DUNNO] * 3 + ["451 4.7.1 ORG"] * 2
        assert " stress: " not in service.log()
        assert actions("stressed.example", *["yes"] * 5) == calm
        service.wait_for("stress: Postfix has all its smtpd busy")
        assert actions("mixed.example", "yes", "", "yes", "", "") == calm
        service.wait_for("stress: Postfix has idle smtpd again")
        assert service.log().count(" stress: ") == 4


def slice_ns(thread: int) -> int:
    """The slice that a thread has asked the kernel for; a kernel before 6.12 says 0."""
    attributes = (ctypes.c_uint64 * 6)()  # `struct sched_attr`; its fourth word is the slice
    assert ctypes.CDLL(None).syscall(SYS_SCHED_GETATTR, thread, attributes, ctypes.sizeof(attributes), 0) == 0
    return int(attributes[3])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number of the system call is that of x86-64")
def test_the_thread_that_answers_goes_before_others_that_are_ready(service: ServeProcess) -> None:
    process = psutil.Process(service.process.pid)
    if slice_ns(process.pid) == 0:
        pytest.skip("Linux before 6.12 has no slices that a thread can ask for")
    slices = [slice_ns(thread.id) for thread in process.threads()]
    assert slices.count(100_000) == 1, slices
    assert slice_ns(process.pid) > 1_000_000, "the main thread, which writes the log"
