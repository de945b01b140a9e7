"""The control socket: who is heard, what a hostile client can do, and what is logged."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from throttle.cli import top
from throttle.control import MOST_REQUEST_BYTES
from throttle.control.client import ControlClient, ControlError
from throttle.control.verbs import VERBS, Verb
from throttle.serve import control as serve_control
from throttle.serve.access import Peer, Rights, check
from throttle.serve.address import AddressError
from throttle.serve.control import MOST_CLIENTS, ControlServer
from throttle.serve.guards import Guards, PolicySource
from throttle.serve.log import Log
from throttle.serve.side import NICE, SideLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOBODY = 65534
GROUP = "games"  # a group that Debian always has, and that nobody is a member of

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


class Running:
    """A control server in this process."""

    def __init__(self, path: Path, rights: Rights | None = None) -> None:
        self.path = str(path)
        self.written = io.StringIO()
        self.guards = Guards([PolicySource.parse("submission")])
        self.server = ControlServer(self.path, self.guards, Log("text", self.written), rights)

    def close(self) -> None:
        self.server.close()

    def log(self) -> str:
        return self.written.getvalue()

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        client.connect(self.path)
        return client


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Without the long rests: test_disturbers.py measures what they are for."""
    monkeypatch.setattr(serve_control, "REST_SECONDS", 0.01)
    monkeypatch.setattr(serve_control, "ACCEPT_SECONDS", 0.01)
    with closing(Running(tmp_path / "control" / "socket")) as server:
        yield server


def answer(client: socket.socket) -> dict[str, Any]:
    told = json.loads(client.makefile("rb").readline())
    assert isinstance(told, dict)
    return told


def refused(client: socket.socket) -> bool:
    """Whether the server closes the connection without a word."""
    try:
        return client.recv(100) == b""
    except ConnectionResetError:
        return True


def as_user(user: int, groups: list[int], do: Callable[[], str]) -> str:
    """What `do` returns in a child that belongs to another user."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(user)
            os.setuid(user)
            text = do()
        except BaseException as error:  # noqa: BLE001  the parent tells it
            text = f"{type(error).__name__}: {error}"
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def asked(path: str, verb: str, **fields: str) -> Callable[[], str]:
    def ask() -> str:
        with ControlClient(path) as client:
            return json.dumps(client.ask(verb, **fields))

    return ask


def test_its_directory_and_socket_are_for_its_user_alone(running: Running, tmp_path: Path) -> None:
    assert (tmp_path / "control").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "control" / "socket").stat().st_mode & 0o777 == 0o600
    with ControlClient(running.path) as client:
        assert client.ask("status")["policies"][0]["limits"] > 0
    running.close()
    assert not (tmp_path / "control" / "socket").exists()
    running.server = ControlServer(running.path, running.guards, Log("text", running.written))


def test_a_directory_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(AddressError, match="found the mode 0755; allowed: 0700"):
        Running(tmp_path / "open" / "socket")
    with pytest.raises(AddressError, match="No such file"):
        Running(tmp_path / "no" / "directory" / "socket")
    with pytest.raises(AddressError, match="allowed: an absolute path"):
        check("socket", None)
    (tmp_path / "link").symlink_to(tmp_path / "open")
    with pytest.raises(AddressError, match="found no directory; allowed: a directory, and no link to one"):
        Running(tmp_path / "link" / "socket")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(AddressError, match="found a directory that others can change"):
        Running(tmp_path / "shared" / "control" / "socket")
    with pytest.raises(AddressError, match="group: found 'no such group'"):
        Rights.of("no such group")


@as_root
def test_another_user_is_not_heard_even_if_the_directory_lets_him_in(running: Running, tmp_path: Path) -> None:
    assert "this user may not connect" in as_user(NOBODY, [], asked(running.path, "status"))
    open_ancestors(tmp_path)
    (tmp_path / "control").chmod(0o755)
    (tmp_path / "control" / "socket").chmod(0o666)
    assert "this user may not ask" in as_user(NOBODY, [], asked(running.path, "status"))
    assert f"control refused: user {NOBODY} (nobody), process " in running.log()


def open_ancestors(directory: Path) -> None:
    """Lets another user through to what lies in a temporary directory."""
    for one in (directory, *directory.parents):
        if one.owner() == "root" and one.stat().st_mode & 0o777 == 0o700:
            one.chmod(0o711)


@pytest.fixture
def group_running(tmp_path: Path) -> Iterator[Running]:
    open_ancestors(tmp_path)
    with closing(Running(tmp_path / "control" / "socket", Rights.of(GROUP))) as server:
        yield server


@as_root
@pytest.mark.parametrize("may_change", [False, True])
def test_a_member_of_the_group_reads_and_changes_if_he_may(tmp_path: Path, may_change: bool) -> None:
    open_ancestors(tmp_path)
    rights = Rights.of(GROUP, may_change=may_change)
    group = rights.group_id
    assert group is not None
    with closing(Running(tmp_path / "control" / "socket", rights)) as running:
        assert "limits" in as_user(NOBODY, [group], asked(running.path, "status"))
        changed = as_user(NOBODY, [group], asked(running.path, "mode", mode="shadow"))
        guard = next(guard for _, guard in running.guards)
        if may_change:
            assert guard.mode == "shadow"
            assert f"control: mode mode=shadow by user {NOBODY} (nobody), process" in running.log()
        else:
            assert "this user may read and not change" in changed
            assert guard.mode == "enforce"
            assert f"control refused: mode mode=shadow by user {NOBODY}" in running.log()
        assert "may not connect" in as_user(NOBODY, [], asked(running.path, "status")), "others stay outside"


def test_the_kernel_says_who_asks() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        peer = Peer.of(one)
    assert (peer.user_id, peer.pid) == (os.getuid(), os.getpid())
    assert {os.getgid(), *os.getgroups()} == peer.group_ids


def test_a_change_is_logged_with_its_user_and_escaped(running: Running) -> None:
    with ControlClient(running.path) as client:
        client.ask("block", identity="auth.user", value="joe\x1b]0;x\x07\n2026 forged: line")
        with pytest.raises(ControlError, match="too broad"):
            client.ask("block", identity="sender.org", value="co.uk")
    lines = running.log().splitlines()
    assert any(re.search(rf"control: block .*joe\\x1b.*\\n2026.* by user {os.geteuid()} ", line) for line in lines)
    assert any(" failed: " in line and "co.uk" in line for line in lines)
    assert "\x1b" not in running.log()
    assert not any(line.startswith("2026 forged") for line in lines)


def test_changes_are_logged_however_many_there_are(running: Running) -> None:
    with ControlClient(running.path) as client:
        for number in range(15):
            client.ask("block", identity="sender.org", value=f"a{number}.example")
    assert len(re.findall(r"control: block", running.log())) == 15


def test_eight_clients_are_served_and_the_ninth_is_told_so(running: Running) -> None:
    assert MOST_CLIENTS == 8
    clients = [running.connect() for _ in range(MOST_CLIENTS)]
    for client in clients:
        client.sendall(b'{"verb": "status"}\n')
        assert answer(client)["ok"]
    with closing(running.connect()) as ninth:
        assert answer(ninth) == {"ok": False, "error": "found 8 clients; allowed: 8 at once"}
    gone = clients.pop()
    gone.shutdown(socket.SHUT_RDWR)
    assert refused(gone), "the service has seen that it is gone"
    gone.close()
    for one in clients:
        one.close()


@contextmanager
def beside_a_member(running: Running, begin: Callable[[], Callable[[], str]]) -> Iterator[Future[str]]:
    """During the block, what `begin` has begun goes on in a process of a member of the group.

    After it, the result is what the function returned that `begin` had returned.
    """
    group = running.server._rights.group_id
    assert group is not None
    heard, begun = os.pipe()
    end, over = os.pipe()

    def member() -> str:
        stop = begin()
        os.write(begun, b"begun")
        os.close(over)
        os.read(end, 1)
        return stop()

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(as_user, NOBODY, [group], member)
        try:
            assert os.read(heard, 5) == b"begun"
            yield result
        finally:
            os.close(over)
    for pipe in (heard, begun, end):
        os.close(pipe)


@as_root
def test_members_of_the_group_leave_room_for_root(group_running: Running) -> None:
    def hold() -> Callable[[], str]:
        told, clients = [], [group_running.connect() for _ in range(12)]
        for client in clients:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(b'{"verb": "status"}\n')
            told.append("ok" if answer(client)["ok"] else "refused")

        def stop() -> str:
            for client in clients:  # they were open until now
                client.close()
            return " ".join(told)

        return stop

    with beside_a_member(group_running, hold) as told, ControlClient(group_running.path) as client:
        assert client.ask("status"), "while the member holds what he can"
    assert told.result() == "ok ok " + " ".join(["refused"] * 10)


@as_root
def test_members_who_connect_in_a_loop_keep_nobody_out(group_running: Running) -> None:
    """Fifty threads keep every place of the queue taken."""

    def connect_in_a_loop() -> Callable[[], str]:
        is_over = threading.Event()

        def connect() -> None:
            while not is_over.is_set():
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as one:
                    one.connect(group_running.path)

        threads = [threading.Thread(target=connect) for _ in range(50)]
        for thread in threads:
            thread.start()

        def stop() -> str:
            is_over.set()
            for thread in threads:
                thread.join()
            return "stopped"

        return stop

    with beside_a_member(group_running, connect_in_a_loop) as stopped:
        for _ in range(20):
            with ControlClient(group_running.path) as client:
                assert client.ask("status")
    assert stopped.result() == "stopped"


def test_clients_that_say_nothing_or_never_read_are_dropped(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_control, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(serve_control, "WRITE_SECONDS", 0.2)
    silent = [running.connect() for _ in range(MOST_CLIENTS)]
    assert all(map(refused, silent))
    for client in silent:
        client.close()
    with closing(running.connect()) as never_reads:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            never_reads.sendall(b'{"verb": "status"}\n' * 100_000)
    with ControlClient(running.path) as asking:
        assert asking.ask("list") == [{"policy": "", "entries": []}]


def test_top_asks_again_over_a_new_connection_when_its_interval_is_longer_than_the_idle_time(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_control, "IDLE_SECONDS", 0.1)
    looks = top._looks(running.path, {}, 0.5)
    assert not any(isinstance(look, str) for look in islice(looks, 3)), "a text is what is wrong"


HOSTILE = [
    b"\n",
    b"null\n",
    b"[]\n",
    b'"verb"\n',
    b"{}\n",
    b'{"verb": null}\n',
    b'{"verb": {"verb": "status"}}\n',
    b'{"verb": "__class__"}\n',
    b'{"verb": "status", "policy": {}}\n',
    b'{"verb": "explain", "rcpt_to": {"a": 1}}\n',
    b'{"verb": "explain", "size": 1e400}\n',
    b'{"verb": "block", "identity": "sender.org", "value": "\\ud800"}\n',
    b'{"verb": "top", "identity": "\\ud800"}\n',
    b'{"verb": "block", "identity": "sender.org", "value": "' + b"a" * 60_000 + b'"}\n',
    b'{"verb": "notices", "after": 1' + b"0" * 5000 + b"}\n",
    b"[" * 60_000 + b"\n",
    b'{"verb": "status", "a": ' + b"[" * 30_000 + b"\n",
    b"\xff\xfe\x00" * 1000 + b"\n",
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_a_line_that_is_no_request_gets_an_error(running: Running, line: bytes) -> None:
    with closing(running.connect()) as client:
        client.sendall(line)
        told = answer(client)
        assert told["ok"] is False
        assert "a fault of throttle" not in told["error"]
        assert "codec" not in told["error"]
        assert len(told["error"]) <= serve_control.MOST_OF_ERROR
        client.sendall(b'{"verb": "status"}\n')
        assert answer(client)["ok"], "the connection goes on"


def test_random_bytes_end_no_service(running: Running) -> None:
    rng = random.Random("random bytes")
    for _ in range(30):
        with closing(running.connect()) as client:
            try:
                client.sendall(rng.randbytes(rng.randrange(1, 3000)))
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                pass
    with ControlClient(running.path) as client:
        assert client.ask("status")["pid"] == os.getpid()
    assert "control fault" not in running.log()


def test_a_line_that_is_too_long_closes_the_connection(running: Running) -> None:
    with closing(running.connect()) as client:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.sendall(b"x" * (100 * MOST_REQUEST_BYTES))
    with ControlClient(running.path) as client:
        assert client.ask("status")
        with pytest.raises(ControlError, match="allowed: 65,536"):
            client.ask("explain", mail_from="x" * MOST_REQUEST_BYTES)


def test_requests_that_come_at_once_are_answered_in_order(running: Running) -> None:
    with closing(running.connect()) as client:
        client.sendall(b'{"verb": "status"}\n{"verb": "nothing"}\n{"verb": "list"}\n')
        lines = client.makefile("rb")
        told = [json.loads(lines.readline()) for _ in range(3)]
    assert [one["ok"] for one in told] == [True, False, True]


def test_an_answer_has_a_bound(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_control, "MOST_ANSWER_BYTES", 100)
    with ControlClient(running.path) as client, pytest.raises(ControlError, match="bytes; allowed: 100; ask for less"):
        client.ask("status")


def test_a_fault_of_ours_is_logged_and_the_service_goes_on(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(_: object) -> None:
        raise RuntimeError("secret \x1b[31m")

    monkeypatch.setitem(VERBS, "status", Verb(fault))
    with ControlClient(running.path) as client:
        with pytest.raises(ControlError, match="a fault of throttle; the log of the service has the details"):
            client.ask("status")
        assert client.ask("list")
    assert "control fault: RuntimeError: secret \\x1b[31m" in running.log()


def test_mail_goes_first_where_a_processor_is_busy() -> None:
    async def of_its_thread() -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    of_mail = os.getpriority(os.PRIO_PROCESS, 0)
    with closing(SideLoop("control")) as side:
        assert side.run(of_its_thread()) == min(of_mail + NICE, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == of_mail
