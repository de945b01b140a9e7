"""What a broken or hostile client does to the policy service: nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from io import StringIO
from typing import TYPE_CHECKING

import psutil
import pytest

from integrations.loopback import wait_until
from integrations.postfix.policy_client import ATTRIBUTES, DUNNO, PolicyClient, instance, request
from integrations.postfix.policy_thread import PolicyThread
from integrations.postfix.serve_process import ServeProcess
from throttle import Throttle, ThrottleError, policies
from throttle._core import PolicyServer
from throttle.serve.address import ListenAddress
from throttle.serve.log import MOST_A_PERIOD, Log

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
        service.wait_for("bad request: the request is longer than 16,384 bytes")
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
    grown = service.resident_bytes() - before
    print(f"grown by {grown / MIB:+.1f} MiB")
    assert grown < 2 * MIB
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
    """Sends more at once than the service reads at once."""
    for _ in range(3000):
        client.socket.sendall(request() * 100)


def test_a_client_that_reads_no_answers_gets_those_that_are_made_when_the_service_ends(tmp_path: Path) -> None:
    with (
        PolicyThread({"": guard()}, address=f"unix:{tmp_path}/socket") as service,
        PolicyClient(service.address) as client,
    ):
        client.socket.settimeout(1)
        with pytest.raises(TimeoutError):
            send_until_it_blocks(client)
        client.socket.settimeout(20)
        service.server.stop()
        wait_until(lambda: not ListenAddress.parse(service.address).is_answered())
        assert client.rest() == b"action=DUNNO\n\n" * service.server.requests


def test_a_client_that_reads_its_answers_late_gets_all_and_is_read_again(tmp_path: Path) -> None:
    stream, sent = memoryview(b"request=smtpd_access_policy\n\n" * 100_000), 0
    with ServeProcess(tmp_path, postfix=f"unix:{tmp_path}/socket") as service, PolicyClient(service.address) as client:
        client.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while sent < len(stream):
                sent += client.socket.send(stream[sent:])
        assert 0 < sent < len(stream)
        client.socket.settimeout(20)
        with ThreadPoolExecutor(1) as thread:
            sending = thread.submit(client.socket.sendall, stream[sent:])
            for _ in range(100_000):
                assert client.socket.recv(len(b"action=DUNNO\n\n"), socket.MSG_WAITALL) == b"action=DUNNO\n\n"
            sending.result()
        assert client.ask() == DUNNO


def test_many_requests_of_a_client_that_half_closes_are_all_answered(tmp_path: Path) -> None:
    """More than one read, and more answers than a Unix socket takes at once."""
    with ServeProcess(tmp_path, postfix=f"unix:{tmp_path}/socket") as service, PolicyClient(service.address) as client:
        with ThreadPoolExecutor(1) as thread:

            def send() -> None:
                client.socket.sendall(b"request=smtpd_access_policy\n\n" * 100_000)
                client.socket.shutdown(socket.SHUT_WR)

            sending = thread.submit(send)
            assert client.rest() == b"action=DUNNO\n\n" * 100_000
            sending.result()


def test_a_flood_on_one_connection_keeps_no_other_waiting(service: ServeProcess) -> None:
    """The flood lasts until the others have had their answers."""
    is_over = threading.Event()

    def flood(client: PolicyClient) -> None:
        stream = b"request=smtpd_access_policy\n\n" * 10_000
        while not is_over.is_set():
            client.socket.sendall(stream)

    with ThreadPoolExecutor(2) as threads, PolicyClient(service.address) as flooding:
        sending, reading = threads.submit(flood, flooding), threads.submit(flooding.rest)
        try:
            with PolicyClient(service.address) as client:
                slowest = 0.0
                for _ in range(100):
                    start = time.monotonic()
                    assert client.ask(instance=instance()) == DUNNO
                    slowest = max(slowest, time.monotonic() - start)
        finally:
            is_over.set()
            flooding.socket.shutdown(socket.SHUT_RDWR)
        assert len(reading.result()) > 1000
        assert isinstance(sending.exception(), (OSError, type(None)))
    assert slowest < 0.5


def test_too_many_open_files_are_logged_and_cost_nothing(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as service, ExitStack() as stack:
        process = psutil.Process(service.process.pid)
        with PolicyClient(service.address) as client:
            assert client.ask() == DUNNO
            process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 3, 1000))
            waiting = [stack.enter_context(PolicyClient(service.address)) for _ in range(10)]
            service.wait_for("fault: Too many open files .*; no connection is accepted for 1 s")
            before = sum(process.cpu_times()[:2])
            time.sleep(1)  # the service is idle, as it has nothing to do
            assert sum(process.cpu_times()[:2]) - before < 0.1
            assert client.ask(instance=instance()) == DUNNO
            process.rlimit(psutil.RLIMIT_NOFILE, (1000, 1000))
            assert [one.ask(instance=instance()) for one in waiting] == [DUNNO] * 10


def test_more_clients_than_allowed_wait_until_one_leaves() -> None:
    with PolicyThread({"": guard()}, most_connections=2) as service, PolicyClient(service.address) as last:
        with PolicyClient(service.address) as first, PolicyClient(service.address) as waiting:
            assert (last.ask(), first.ask(instance=instance())) == (DUNNO, DUNNO)
            told = ("too many clients", "2 are connected, the most there may be; the next one waits", 1)
            assert told in service.events(2)
            turns = service.server.turns
            time.sleep(0.5)  # the server has nothing to do, and turns ten times a second
            assert service.server.turns - turns < 20
            assert service.server.connections == 2
            waiting.socket.sendall(request(instance=instance()))
            first.socket.close()
            assert waiting.answer() == DUNNO
        assert last.ask(instance=instance()) == DUNNO


def test_a_place_that_is_free_is_taken_at_once() -> None:
    """Not at the next look, up to a second later: Postfix waits a second for an answer."""
    with PolicyThread({"": guard()}, most_connections=1) as service, ExitStack() as stack:
        leaving = stack.enter_context(PolicyClient(service.address))
        assert leaving.ask() == DUNNO
        begun = time.monotonic()
        for _ in range(8):
            waiting = stack.enter_context(PolicyClient(service.address))
            waiting.socket.sendall(request(instance=instance()))
            leaving.socket.close()
            assert waiting.answer() == DUNNO
            leaving = waiting
        assert time.monotonic() - begun < 2


def test_nobody_waits_when_all_places_are_just_taken() -> None:
    with PolicyThread({"": guard()}, most_connections=2) as service, PolicyClient(service.address) as first:
        with PolicyClient(service.address) as second:
            assert (first.ask(), second.ask(instance=instance())) == (DUNNO, DUNNO)
            assert [event for event, *_ in service.server.take_events()] == ["first request"]


def test_each_client_that_waits_gets_the_place_of_a_silent_one() -> None:
    with PolicyThread({"": guard()}, most_connections=8) as service, ExitStack() as stack:
        silent = [stack.enter_context(PolicyClient(service.address)) for _ in range(7)]
        asked = stack.enter_context(PolicyClient(service.address))
        assert asked.ask() == DUNNO
        silent[0].socket.send(b"request=")
        waiting = [stack.enter_context(PolicyClient(service.address)) for _ in range(3)]
        for client in waiting:
            client.socket.sendall(request(instance=instance()))
            client.socket.settimeout(5)
        assert [client.answer() for client in waiting] == [DUNNO] * 3
        assert service.server.connections == 8
        for client in (*silent, asked):
            client.socket.setblocking(False)
        assert sum(is_closed(client) for client in (*silent, asked)) == 3


def is_closed(client: PolicyClient) -> bool:
    try:
        return client.socket.recv(1) == b""
    except BlockingIOError:
        return False


def test_a_request_is_answered_though_its_client_was_silent_and_others_wait() -> None:
    """More requests than a poll shows at once come in one turn, just before silent clients are looked for."""
    released, entered = threading.Event(), threading.Event()

    def clock() -> float:
        entered.set()
        assert released.wait(20)
        return 1e9

    with (
        PolicyThread({"": Throttle(policies.load("inbound"), clock=clock)}, most_connections=401) as service,
        ExitStack() as stack,
    ):
        began = time.monotonic()
        silent = [stack.enter_context(PolicyClient(service.address)) for _ in range(400)]
        slow, *waiting = (stack.enter_context(PolicyClient(service.address)) for _ in range(33))
        assert service.events(1)[0][0] == "too many clients"
        # The service counts a silence by the system's clock, so the silence and the check after it take real time.
        time.sleep(max(0, began + 1.6 - time.monotonic()))
        slow.socket.sendall(request())
        assert entered.wait(20)
        for client in (*reversed(silent), *waiting):
            client.socket.sendall(request(instance=instance()))
        time.sleep(max(0, began + 2.5 - time.monotonic()))
        released.set()
        assert [client.answer() for client in (slow, *silent)] == [DUNNO] * 401
        for client in (slow, *silent[:31]):
            client.socket.close()
        assert [client.answer() for client in waiting] == [DUNNO] * 32


def dribble(client: PolicyClient) -> None:
    for _ in range(100):
        client.socket.send(b"x")
        time.sleep(0.2)  # it sends slowly


@pytest.mark.slow
def test_a_client_that_dribbles_or_reads_no_answers_is_cut_off(tmp_path: Path) -> None:
    with ServeProcess(tmp_path, postfix=f"unix:{tmp_path}/socket") as service:
        with PolicyClient(service.address) as deaf, PolicyClient(service.address) as dribbling:
            with PolicyClient(service.address) as client:
                assert client.ask() == DUNNO
                deaf.socket.settimeout(1)
                with pytest.raises(TimeoutError):
                    send_until_it_blocks(deaf)
                start = time.monotonic()
                with pytest.raises(BrokenPipeError):
                    dribble(dribbling)
                assert 9 < time.monotonic() - start < 15
                service.wait_for("bad request: the request did not end within 10 s")
                with pytest.raises(BrokenPipeError):
                    deaf.socket.send(b"x")
                assert client.ask(instance=instance()) == DUNNO


@pytest.mark.slow
def test_requests_of_which_half_came_before_the_service_was_stopped_are_answered(tmp_path: Path) -> None:
    """It is stopped for longer than a request may take, and there are more connections than it reads in one turn."""
    whole = request()
    with ServeProcess(tmp_path) as service, ExitStack() as stack:
        clients = [stack.enter_context(PolicyClient(service.address)) for _ in range(300)]
        for client in clients:
            client.socket.sendall(whole[:99])
        with PolicyClient(service.address) as other:  # it comes last, so its answer shows that the halves were read
            assert other.ask() == DUNNO
        service.process.send_signal(signal.SIGSTOP)
        for client in clients:
            client.socket.sendall(whole[99:])
        # A stopped process cannot be given another time, and 10 s are what a request may take.
        time.sleep(12)
        service.process.send_signal(signal.SIGCONT)
        assert [client.answer() for client in clients] == [DUNNO] * len(clients)


class Clock:
    """A clock of a guard, which fails when it is told to."""

    def __init__(self) -> None:
        self.is_broken = False

    def __call__(self) -> float:
        if self.is_broken:
            raise RuntimeError("fault\x1b of ours")
        return 1e9


def guard(clock: Clock | None = None) -> Throttle:
    return Throttle(policies.load("inbound"), clock=clock)


def test_a_fault_of_ours_closes_without_an_answer_and_is_logged() -> None:
    clock, out = Clock(), StringIO()
    log = Log("text", out)
    with PolicyThread({"": guard(clock)}) as service:
        for fault in range(1, 15):
            clock.is_broken = False
            with PolicyClient(service.address) as client:
                assert client.ask() == DUNNO
                clock.is_broken = True
                client.socket.sendall(request())
                assert client.rest() == b""
                assert service.server.errors == fault
            for event, message, _ in service.events(1 + (fault == 1)):
                log.event(event, message)
    told = "fault: RuntimeError: fault\\x1b of ours; the connection is closed without an answer\n"
    assert out.getvalue().count(told) == MOST_A_PERIOD
    assert (service.server.requests, service.server.connections) == (14, 0)


def test_a_fault_has_its_place_in_the_log() -> None:
    clock, out = Clock(), StringIO()
    clock.is_broken = True
    log = Log("text", out)
    try:
        clock()
    except RuntimeError as error:
        for _ in range(1000):
            log.fault("fault", error)
    assert "fault: RuntimeError: fault\\x1b of ours at=test_faults.py:" in out.getvalue()
    assert out.getvalue().count("\n") == MOST_A_PERIOD


def test_events_that_nobody_takes_are_bounded_and_counted() -> None:
    with PolicyThread({"": guard()}) as service:
        for number in range(250):
            with PolicyClient(service.address) as client:
                client.socket.sendall(request(stress="yes" if number % 2 else "") + b"junk\n\n")
                assert client.rest() == b"action=DUNNO\n\n"
        events = service.events(1)
        assert events[:4] == [
            ("first request", "a policy client is connected and asks", 1),
            ("bad request", "the request is no smtpd_access_policy; the connection is closed without an answer", 1),
            ("stress", "Postfix has all its smtpd busy", 1),
            ("bad request", "the request is no smtpd_access_policy; the connection is closed without an answer", 1),
        ]
        assert (len(events), events[-1]) == (101, ("events lost", "too many at once", 400))
        assert service.server.take_events() == []


def test_a_stream_is_answered_alike_wherever_it_is_cut_and_with_crs() -> None:
    stream = (
        b"\n" + request() + request(sender="").replace(b"\n", b"\r\n") + request(protocol_state="VRFY") + request()[:99]
    )
    with PolicyThread({"": guard()}) as service:
        for size in (1, 2, 3, 50, 600, len(stream)):
            with PolicyClient(service.address) as client:
                client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for start in range(0, len(stream), size):
                    client.socket.sendall(stream[start : start + size])
                client.socket.shutdown(socket.SHUT_WR)
                assert client.rest() == b"action=DUNNO\n\n" * 3
        assert service.server.errors == 0


@pytest.mark.parametrize("stream", [b"request=junk\n\n", b"sender=a\n\n", b"\n\n=\n\n"])
def test_another_protocol_is_closed_without_an_answer(stream: bytes) -> None:
    with PolicyThread({"": guard()}) as service, PolicyClient(service.address) as client:
        client.socket.sendall(stream)
        assert client.rest() == b""
        assert service.events(1) == [
            ("bad request", "the request is no smtpd_access_policy; the connection is closed without an answer", 1)
        ]


def test_a_server_runs_once_and_on_sockets_only(tmp_path: Path) -> None:
    server = PolicyServer({"": guard()}, 100, 100)
    with (tmp_path / "file").open("wb") as file, pytest.raises(PermissionError):
        server.run([os.dup(file.fileno())], os.dup(file.fileno()), 1.0)
    with pytest.raises(ThrottleError, match="has run already"):
        server.run([], os.open(tmp_path, os.O_RDONLY), 1.0)
