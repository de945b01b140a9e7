"""What a broken or hostile client does to the policy service: nothing."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from integrations.postfix.policy_client import ATTRIBUTES, DUNNO, PolicyClient, instance, request
from integrations.postfix.serve_process import ServeProcess
from throttle import Throttle
from throttle.serve import postfix
from throttle.serve.guards import Guards, PolicySource
from throttle.serve.log import MOST_A_PERIOD, Log
from throttle.serve.policy_request import PolicyRequest, RequestReader
from throttle.serve.postfix import PolicyConnection, PolicyService, action
from throttle.serve.sessions import IDLE_SECONDS, SessionTable

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    with ServeProcess(tmp_path_factory.mktemp("serve")) as process:
        yield process


def test_a_thousand_idle_connections_cost_little_and_delay_nobody(service: ServeProcess) -> None:
    with ExitStack() as stack, PolicyClient(service.address) as client:
        assert client.ask() == DUNNO
        before = service.resident_bytes()
        for _ in range(1000):
            stack.enter_context(PolicyClient(service.address)).socket.sendall(b"request=smtpd_access_policy\nsender=x")
        start = time.monotonic()
        assert client.ask(instance=instance()) == DUNNO
        assert time.monotonic() - start < 2
        assert service.resident_bytes() - before < 32 * MIB


def test_a_line_of_100_mb_is_cut_off_and_not_kept(service: ServeProcess) -> None:
    with PolicyClient(service.address) as client:
        before = service.resident_bytes()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.socket.sendall(b"x" * 100_000_000)
        service.wait_for("request too long")
        assert service.resident_bytes() - before < 8 * MIB
    with PolicyClient(service.address) as client:
        assert client.ask() == DUNNO


def test_random_bytes_leave_the_memory_flat_and_the_log_short(service: ServeProcess, rng: random.Random) -> None:
    def junk() -> None:
        try:
            with PolicyClient(service.address) as client:
                kind = rng.randrange(3)
                if kind == 0:
                    client.socket.sendall(rng.randbytes(rng.randrange(20_000)))
                elif kind == 1:
                    whole = request(**{name: f"{rng.getrandbits(80):x}" for name in list(ATTRIBUTES)[3:20]})
                    client.socket.sendall(whole * 20)
                    client.socket.sendall(whole[: rng.randrange(len(whole))])
                else:
                    client.socket.sendall(b"\n\n" + bytes(rng.choices(b"\n\r=a", k=2000)))
        except OSError:
            return

    for _ in range(300):
        junk()
    before = service.resident_bytes()
    for _ in range(1500):
        junk()
    assert service.resident_bytes() - before < 16 * MIB
    assert service.log().count("no policy request") <= 3 * (MOST_A_PERIOD + 1)
    with PolicyClient(service.address) as client:
        assert client.ask() == DUNNO


def test_a_client_that_reads_no_answers_is_not_read_either(tmp_path: Path) -> None:
    """By a Unix socket, whose buffers hold less than a second's answers."""
    with ServeProcess(tmp_path, postfix=f"unix:{tmp_path}/socket") as service:
        with PolicyClient(service.address) as client:
            before = service.resident_bytes()
            client.socket.settimeout(1)
            with pytest.raises(TimeoutError):
                send_until_it_blocks(client)
            assert service.resident_bytes() - before < 8 * MIB
        with PolicyClient(service.address) as client:
            assert client.ask() == DUNNO


def send_until_it_blocks(client: PolicyClient) -> None:
    for _ in range(300_000):
        client.socket.send(request())


class Transport:
    """What a connection does with its transport."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def connection(monkeypatch: pytest.MonkeyPatch, out: StringIO) -> tuple[PolicyService, PolicyConnection, Transport]:
    monkeypatch.setattr(asyncio, "Transport", Transport)
    service = PolicyService(Guards([PolicySource.parse("inbound")]), Log("text", out))
    made, transport = PolicyConnection(service), Transport()
    made.connection_made(transport)  # type: ignore[arg-type]
    return service, made, transport


def test_a_fault_of_ours_closes_without_an_answer_and_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    out = StringIO()
    service, made, transport = connection(monkeypatch, out)

    def broken(table: SessionTable, request: PolicyRequest) -> Any:
        raise RuntimeError("fault\x1b of ours")

    made.data_received(request())
    assert transport.written == b"action=DUNNO\n\n"
    monkeypatch.setattr(postfix, "step", broken)
    made.data_received(request())
    assert transport.written == b"action=DUNNO\n\n"
    assert transport.closed
    assert "fault: RuntimeError: fault\\x1b of ours at=test_faults.py:" in out.getvalue()
    for _ in range(1000):
        service.log.fault("fault", RuntimeError("again"))
    assert out.getvalue().count("\n") == MOST_A_PERIOD


def test_a_request_that_never_ends_is_cut_off_and_an_idle_connection_much_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = StringIO()
    service, made, transport = connection(monkeypatch, out)
    for second in range(11):
        made.data_received(b"a")
        service.sweep(float(second))
        assert not transport.closed
    service.sweep(11.0)
    assert transport.closed
    assert "request never ends" in out.getvalue()
    service, made, transport = connection(monkeypatch, out)
    made.data_received(request())
    service.sweep(1100.0)
    assert not transport.closed
    service.sweep(1300.0)
    assert transport.closed


def test_the_table_of_sessions_has_a_fixed_size_and_drops_the_oldest_idle_one() -> None:
    table = SessionTable(Throttle(), most=100)
    kept = asked(table, 0)
    for port in range(1, 300):
        asked(table, port)
        assert asked(table, 0) is kept
    assert len(table) == 100
    assert table.dropped == 200
    assert asked(table, 299) is asked(table, 299)
    table.sweep(IDLE_SECONDS - 1)
    asked(table, 0)
    table.sweep(IDLE_SECONDS + 1)
    assert len(table) == 1


def test_a_port_that_comes_round_is_another_connection() -> None:
    table = SessionTable(Throttle())
    first = asked(table, 1, "CONNECT")
    assert asked(table, 1, "CONNECT") is first
    assert first.helo(parsed(1, "EHLO")) is None
    assert asked(table, 1, "CONNECT") is not first


def asked(table: SessionTable, port: int, state: str = "RCPT") -> Any:
    return table.of(parsed(port, state))


def parsed(port: int, state: str) -> PolicyRequest:
    (found,) = RequestReader().feed(request(client_port=port, protocol_state=state))
    assert found is not None
    return found


def test_an_answer_is_one_line_of_ascii_whatever_the_reply_is() -> None:
    class Refusal:
        reply = "451 4.7.1 \x1b\u202eü\r\naction=DUNNO"

    found = action(Refusal())  # type: ignore[arg-type]
    assert found == b"action=451 4.7.1 \\x1b\\u202e\\xfc\\r\\naction=DUNNO\n\n"
