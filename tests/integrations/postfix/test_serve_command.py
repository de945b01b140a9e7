"""The options of `throttle serve`: what is wrong is said in one message, and `--check` listens nowhere."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from integrations.postfix.serve_process import policy_file
from throttle import Limit, Policy
from throttle.serve.address import AddressError, ListenAddress
from throttle.serve.guards import Guards, PolicySource
from throttle.serve.inactive import inactive_limits

if TYPE_CHECKING:
    from pathlib import Path


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "throttle", "serve", *arguments], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--postfix or --milter: found neither"),
        (("--postfix", "inet:127.0.0.1:0", "--milter", "inet:127.0.0.1:0"), "found both"),
        (("--postfix", "tcp:10040"), "--postfix: found 'tcp:10040'; allowed: inet:HOST:PORT"),
        (("--postfix", "inet:127.0.0.1:0", "--policy", "no-such.toml"), "no-such.toml: No such file"),
        (("--postfix", "inet:127.0.0.1:0", "--policy", "submision"), "the built-in policies are inbound, submission"),
        (
            ("--postfix", "inet:127.0.0.1:0", "--policy", "inbound", "--policy", "submission"),
            "two without NAME=; allowed: one; write submission=submission",
        ),
        (("--postfix", "inet:127.0.0.1:0", "--policy", "a=inbound", "--policy", "a=submission"), "each NAME once"),
        (("--postfix", "inet:127.0.0.1:0", "--memory", "1 MiB"), "inbound.toml: memory: found"),
        (("--postfix", "inet:127.0.0.1:0", "--max-open", "0"), "max_open: found 0; allowed: a whole number from 1"),
        (("--postfix", "inet:127.0.0.1:99999"), "allowed: a port from 0 to 65535"),
        (("--postfix", "unix:private/throttle"), "such as unix:/var/spool/postfix/private/throttle"),
        (("--milter", "inet:127.0.0.1:0", "--authserv-fields", "2"), "--authserv-fields: found no --authserv-id"),
        (("--print-unit", "service", "--postfix", "inet:127.0.0.1:0"), "allowed in a unit: systemd"),
        (("--print-unit", "service", "--milter", "unix:/srv/milter"), "allowed in a unit: unix:/run/throttle/NAME"),
        (
            ("--print-unit", "service", "--metrics", "unix:/srv/metrics"),
            "--metrics: found unix:/srv/metrics; allowed in",
        ),
        (("--print-unit", "service", "--metrics", "9797"), "--metrics: found '9797'; allowed: HOST:PORT or unix:PATH"),
        (("--print-unit", "socket", "--milter", "unix:/run/throttle/milter"), "found 'socket' with --milter"),
        (("--log", "xml"), "--log: found 'xml'; allowed: text, json"),
        (("--print-unit", "timer"), "--print-unit: found 'timer'; allowed: service, socket"),
        (("--on-fault", "pass"), "--on-fault: found 'pass'; allowed: accept, tempfail"),
        (
            ("--postfix", "unix:/no/such/directory/socket"),
            "--postfix: unix:/no/such/directory/socket: there is no directory /no/such/directory",
        ),
        (("--postfix", "inet:127.0.0.1:0", "--on-fault", "accept"), "found one with --postfix"),
        (("--postfix", "inet:127.0.0.1:0", "--authserv-id", "mx"), "found one with --postfix"),
    ],
)
def test_what_is_wrong_is_said_in_one_message(arguments: tuple[str, ...], message: str) -> None:
    done = serve(*arguments)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--postfix", "unix:/tmp"), "--postfix: unix:/tmp: found a directory there; allowed: a path where nothing is"),
        (("--postfix", "unix:/etc/passwd"), "--postfix: unix:/etc/passwd: found a file that is no socket there"),
        (("--postfix", f"unix:/{'x' * 107}"), "found a path of 108 bytes; allowed: at most 107"),
        (("--postfix", "inet:192.0.2.9:0"), "--postfix: inet:192.0.2.9:0: this machine does not have that address"),
        (("--postfix", "inet:256.1.1.1:0"), "--postfix: inet:256.1.1.1:0: "),
        (("--postfix", "systemd", "--metrics", "9797"), "--metrics: found '9797'; allowed: HOST:PORT or unix:PATH"),
        (
            ("--postfix", "systemd", "--metrics", "inet:127.0.0.1:9797"),
            "--metrics: found 'inet:127.0.0.1:9797'; allowed: HOST:PORT or unix:PATH, such as 127.0.0.1:9797",
        ),
        (("--postfix", "systemd", "--metrics", "unix:/tmp"), "--metrics: unix:/tmp: found a directory there"),
        (("--postfix", "systemd", "--control", f"/{'x' * 107}/socket"), "found a path of 115 bytes; allowed: at most"),
    ],
)
def test_check_finds_an_address_that_cannot_be_opened(arguments: tuple[str, ...], message: str) -> None:
    done = serve(*arguments, "--check")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr.splitlines()[-1]


def test_check_lists_what_cannot_act_and_listens_nowhere() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"inet:127.0.0.1:{taken.getsockname()[1]}"
        done = serve(
            "--postfix", address, "--check", "--log", "json", "--policy", "inbound", "--policy", "s=submission"
        )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"].split(":")[0] for line in lines if line["event"] == "policy"] == ["inbound", "s=submission"]
    told = [line["message"] for line in lines if line["event"] == "inactive limit"]
    assert (
        "net-connections cannot act here: Postfix does not say when something ends; "
        "instead: smtpd_client_connection_count_limit" in told
    )
    assert any(line.startswith("reply-to-fan-out cannot act here: Postfix sends no headers") for line in told)


def events_of_check(*arguments: str) -> dict[str, str]:
    """The last message of each event that `--check` logs."""
    done = serve("--postfix", "systemd", "--check", "--log", "json", *arguments)
    assert done.returncode == 0, done.stderr
    return {line["event"]: line["message"] for line in map(json.loads, done.stderr.splitlines())}


def test_check_ends_with_a_word_and_names_a_shadow_and_a_single_limit(tmp_path: Path) -> None:
    policy = policy_file(tmp_path, '[[limit]]\nname = "pace"\nper = "sender.org"\nrate = "2/minute"\n')
    assert events_of_check("--policy", policy) == {
        "policy": f"{policy}: 1 limit, 0 of them cannot act here",
        "checked": "all is right",
    }
    assert events_of_check("--policy", policy, "--shadow") == {
        "policy": f"{policy}: 1 limit, 0 of them cannot act here, shadow: refuses nothing",
        "checked": "all is right",
    }


def test_policies_that_all_have_a_name_are_a_warning() -> None:
    events = events_of_check("--policy", "submission=submission")
    assert events["no default policy"].startswith("no policy for requests without policy_context")
    assert "checked" not in events
    assert "no default policy" not in events_of_check("--policy", "inbound", "--policy", "submission=submission")


@pytest.mark.parametrize(("fields", "code"), [('per = "from.org"', 2), ('per = "client.ip"\ncount = "bytes"', 0)])
def test_a_policy_of_which_no_limit_can_act_is_an_error(tmp_path: Path, fields: str, code: int) -> None:
    """Bytes can: the service may be listed at the end of the data, too."""
    rate = "1 MB/day" if "bytes" in fields else "1/day"
    policy = policy_file(tmp_path, f'[[limit]]\nname = "none"\n{fields}\nrate = "{rate}"\n')
    done = serve("--postfix", "systemd", "--check", "--policy", policy)
    assert (done.returncode, "none of whose limits can act here" in done.stderr) == (code, code == 2)


def test_an_address_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = serve("--postfix", f"inet:127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 2
    assert done.stderr.endswith(": another process listens there\n")
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(tmp_path / "socket"))
        taken.listen()
        done = serve("--postfix", f"unix:{tmp_path}/socket")
    assert done.returncode == 2
    assert "another process listens there" in done.stderr


def test_a_reason_has_nothing_that_python_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied (while attempting to bind on address ('127.0.0.1', 25))")

    monkeypatch.setattr("socket.create_server", fail)
    with pytest.raises(AddressError, match=r"^inet:127\.0\.0\.1:25: Permission denied$"):
        ListenAddress.parse("inet:127.0.0.1:25").listen()


def test_max_open_is_the_number_of_permits() -> None:
    ((_, guard),) = Guards([PolicySource.parse("inbound")], max_open=1)
    assert guard.session(client_ip="192.0.2.1").connect()
    with guard.session(client_ip="192.0.2.1") as first, guard.session(client_ip="203.0.113.1") as second:
        assert first.connect()
        assert second.connect().limit == "max-open"


def test_a_socket_with_many_connections_waiting_is_not_taken_over(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as taken, ExitStack() as stack:
        taken.bind(path)
        taken.listen(0)
        busy = 0
        while busy != errno.EAGAIN:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            busy = client.connect_ex(path)
        with pytest.raises(AddressError, match="another process listens there"):
            ListenAddress.parse(f"unix:{path}").listen()


def test_a_service_that_ends_leaves_the_socket_of_its_successor(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    before, after = (ListenAddress.parse(f"unix:{path}") for _ in range(2))
    [old] = before.listen()
    path.unlink()
    [new] = after.listen()
    with old, new:
        before.remove()
        assert after.is_answered()
        after.remove()
        assert not path.exists()


@pytest.mark.parametrize(
    "text", ["", "inet:", "inet:x", "inet:x:70000", "inet:::1:25", "unix:", "unix:a/b", "10040", "inet:[::1]"]
)
def test_no_address(text: str) -> None:
    with pytest.raises(AddressError, match="allowed"):
        ListenAddress.parse(text)


def test_addresses_and_policies_are_read() -> None:
    assert ListenAddress.parse("inet:[::1]:10040").host == "::1"
    assert ListenAddress.parse("inet::10040").host == "127.0.0.1"
    assert PolicySource.parse("a=b=c.toml") == PolicySource("a", "b=c.toml")
    assert PolicySource.parse("./a=b.toml") == PolicySource("", "./a=b.toml")


def test_each_limit_that_cannot_act_has_a_setting_in_place_of_it() -> None:
    limits = [
        Limit(name="open", per="client.ip", in_flight=5),
        Limit(name="open-bytes", per="global", in_flight="1 GiB"),
        Limit(name="all-open", per="global", in_flight=5),
        Limit(name="from", per="from.org", rate="5/day"),
        Limit(name="guesses", per="client.ip", count="reports", reports=["auth-failure"], rate="5/day"),
        Limit(name="bytes", per="client.ip", rate="5 MB/day"),
        Limit(name="acts", per="sender.org", rate="5/day"),
    ]
    assert [(one.limit, one.instead) for one in inactive_limits(Policy(limits))] == [
        ("open", "smtpd_client_connection_count_limit"),
        ("open-bytes", "message_size_limit and queue_minfree"),
        ("all-open", "default_process_limit, or the maxproc of smtpd in master.cf"),
        ("from", "throttle serve --milter"),
        ("guesses", "smtpd_client_auth_rate_limit"),
        ("bytes", "list the service in smtpd_end_of_data_restrictions, too"),
    ]
