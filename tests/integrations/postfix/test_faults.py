"""What a broken or hostile client does to the policy service: nothing."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from integrations.postfix.policy_client import ATTRIBUTES, DUNNO, PolicyClient, instance, request
from integrations.postfix.serve_process import ServeProcess
from throttle.serve.guards import Guards, PolicySource
from throttle.serve.log import MOST_A_PERIOD, Log
from throttle.serve.postfix import PolicyConnection, PolicyService

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
        service.wait_for("bad request: too long")
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
    assert service.log().count("bad request") <= 3 * (MOST_A_PERIOD + 1)
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

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        """Nothing is read."""

    def is_closing(self) -> bool:
        return self.closed


def connection(monkeypatch: pytest.MonkeyPatch, out: StringIO) -> tuple[PolicyService, PolicyConnection, Transport]:
    monkeypatch.setattr(asyncio, "Transport", Transport)
    service = PolicyService(Guards([PolicySource.parse("inbound")]), Log("text", out))
    made, transport = PolicyConnection(service), Transport()
    made.connection_made(transport)  # type: ignore[arg-type]
    return service, made, transport


def receive(made: PolicyConnection, data: bytes) -> None:
    """What asyncio does when data has come."""
    made.get_buffer(-1)[: len(data)] = data
    made.buffer_updated(len(data))


def test_a_fault_of_ours_closes_without_an_answer_and_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def answer(self, stream: bytes, at: float) -> tuple[bytes, int]:
            raise RuntimeError("fault\x1b of ours")

    out = StringIO()
    service, made, transport = connection(monkeypatch, out)
    receive(made, request())
    assert transport.written == b"action=DUNNO\n\n"
    out.truncate(0)
    monkeypatch.setattr(service, "delegation", Broken())
    receive(made, request())
    assert transport.written == b"action=DUNNO\n\n"
    assert transport.closed
    assert "fault: RuntimeError: fault\\x1b of ours at=test_faults.py:" in out.getvalue()
    for _ in range(1000):
        service.log.fault("fault", RuntimeError("again"))
    assert out.getvalue().count("\n") == MOST_A_PERIOD


def test_a_stream_is_answered_alike_wherever_it_is_cut_and_with_crs(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = (
        b"\n" + request() + request(sender="").replace(b"\n", b"\r\n") + request(protocol_state="VRFY") + request()[:99]
    )
    for size in (1, 2, 3, 50, 600, len(stream)):
        _, made, transport = connection(monkeypatch, StringIO())
        for start in range(0, len(stream), size):
            receive(made, stream[start : start + size])
        assert transport.written == b"action=DUNNO\n\n" * 3
        assert not transport.closed


@pytest.mark.parametrize("stream", [b"request=junk\n\n", b"sender=a\n\n", b"\n\n=\n\n"])
def test_another_protocol_is_closed_without_an_answer(monkeypatch: pytest.MonkeyPatch, stream: bytes) -> None:
    out = StringIO()
    _, made, transport = connection(monkeypatch, out)
    receive(made, stream)
    assert (transport.written, transport.closed) == (b"", True)
    assert "bad request: no smtpd_access_policy" in out.getvalue()


def test_a_request_that_never_ends_is_cut_off_and_an_idle_connection_much_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = StringIO()
    service, made, transport = connection(monkeypatch, out)
    for second in range(11):
        receive(made, b"a")
        service.sweep(float(second))
        assert not transport.closed
    service.sweep(11.0)
    assert transport.closed
    assert "bad request: it never ends" in out.getvalue()
    service, made, transport = connection(monkeypatch, out)
    receive(made, request())
    service.sweep(1100.0)
    assert not transport.closed
    service.sweep(1300.0)
    assert transport.closed


def test_a_client_that_reads_no_answers_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    service, made, transport = connection(monkeypatch, StringIO())
    receive(made, request())
    made.pause_writing()
    service.sweep(9.0)
    assert not transport.closed
    service.sweep(11.0)
    assert transport.closed
