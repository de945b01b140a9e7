"""The lines of the page `exim.md` in a real Exim, where one is installed: `exim -bh` plays a dialogue, and a service of
a few lines answers its requests.
"""

from __future__ import annotations

import re
import shutil
import socketserver
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pages import ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIM = shutil.which("exim4") or shutil.which("exim")
PAGE = ROOT / "docs" / "exim.md"
SOCKET = "/run/throttle/policy.sock"

SLOW = "451 4.7.28 b.com sends under too many new names; retry in 3 s; see https://mx.example/%20$h{x}/" + "p" * 80

#: The answer to a state of a sender or of a client; `None` closes without one.
ANSWERS = {
    ("RCPT", "slow@b.com"): SLOW,
    ("MAIL", "bad@b.com"): "550 5.7.1 b.com is blocked",
    ("RCPT", "gone@b.com"): None,
    ("CONNECT", "192.0.2.66"): "421 4.7.0 192.0.2.66 connects too often; retry in 60 s",
    ("END-OF-MESSAGE", "long@b.com"): "451 4.7.1 b.com is sending too fast; retry in 3 s",
}

CONFIG = """
{main}
spool_directory = {folder}
log_file_path = {folder}/%slog
primary_hostname = mx.box.com
begin acl
{acl}
begin routers
all:
  driver = accept
  transport = none
begin transports
none:
  driver = appendfile
  file = /dev/null
"""

pytestmark = pytest.mark.skipif(EXIM is None, reason="no exim4 on the PATH")


class Service(socketserver.ThreadingUnixStreamServer):
    """Keeps each request and answers as `ANSWERS` says."""

    daemon_threads = True
    requests: list[dict[str, str]]


class Answer(socketserver.StreamRequestHandler):
    """One connection: Exim asks once, and reads to the end."""

    def handle(self) -> None:
        assert isinstance(self.server, Service)
        lines = iter(lambda: self.rfile.readline().decode("utf-8", "surrogateescape").rstrip("\n"), "")
        request = dict(line.split("=", 1) for line in lines)
        self.server.requests.append(request)
        state = request["protocol_state"]
        keys = [(state, request[name]) for name in ("sender", "client_address")]
        action = next((ANSWERS[key] for key in keys if key in ANSWERS), "DUNNO")
        if action is not None:
            self.wfile.write(f"action={action}\n\n".encode())


class Exim:
    """An Exim with the page's lines, and the service."""

    def __init__(self, folder: Path, *, strict: bool = False) -> None:
        part = {block.marks["part"]: block.text for block in blocks(PAGE) if "part" in block.marks}
        acl, main, path = part["acl"], part["main"].replace(SOCKET, f"{folder}/policy.sock"), folder / "policy.sock"
        if strict:
            acl = acl.replace("{action=DUNNO}}", "{action=451 4.3.0 try again later}}")
            acl = acl.replace("\n  accept\n", f"\n{part['strict']}  accept\n", 1)
        self.config = folder / "exim.conf"
        self.config.write_text(CONFIG.format(main=main, acl=acl, folder=folder))
        self.service = Service(str(path), Answer)
        self.service.requests = []
        path.chmod(0o666)
        self._path = path
        self._thread = threading.Thread(target=self.service.serve_forever, args=(0.01,))

    def __enter__(self) -> Exim:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the service, and removes its socket."""
        self.service.shutdown()
        self._thread.join()
        self.service.server_close()
        self._path.unlink(missing_ok=True)

    def talk(self, *commands: str, client: str = "192.0.2.1") -> list[str]:
        """Returns the replies to the greeting and to each command, a reply of several lines as one."""
        text = "".join(f"{command}\r\n" for command in (*commands, "QUIT"))
        command = [str(EXIM), "-C", str(self.config), "-bh", client]
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=60, check=False)
        told = done.stdout.decode("utf-8", "replace").replace("\r", "")
        return [joined(reply) for reply in re.findall(r"^(?:\d\d\d-.*\n)*\d\d\d .*$", told, re.MULTILINE)]


def joined(reply: str) -> str:
    """The reply without the codes that its further lines repeat."""
    first, *more = reply.splitlines()
    return " ".join([first[:3], first[4:], *(re.sub(r"^\d{3}[ -](?:\d\.\d+\.\d+ )?", "", line) for line in more)])


def mail(sender: str, *recipients: str) -> list[str]:
    return ["EHLO mx.b.com", f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients)]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="exim") as name:
        Path(name).chmod(0o777)  # Exim runs as a user of its own
        yield Path(name)


@pytest.fixture
def exim(folder: Path) -> Iterator[Exim]:
    with Exim(folder) as exim:
        yield exim


@pytest.fixture
def strict(folder: Path) -> Iterator[Exim]:
    with Exim(folder, strict=True) as exim:
        yield exim


def test_each_step_asks_and_a_transaction_has_one_name(exim: Exim) -> None:
    message = ["DATA", "Subject: x", "", "hello", "."]
    replies = exim.talk(*mail("ok@b.com", "a@box.com", "c@box.com"), *message, "MAIL FROM:<ok@b.com> SIZE=1234")
    assert [reply[:3] for reply in replies] == ["220", "250", "250", "250", "250", "354", "250", "250", "221"]
    asked = exim.service.requests
    states = [request["protocol_state"] for request in asked]
    assert states == ["CONNECT", "MAIL", "RCPT", "RCPT", "END-OF-MESSAGE", "MAIL"]
    assert [request["recipient"] for request in asked] == ["", "", "a@box.com", "c@box.com", "", ""]
    first, second = {request["instance"] for request in asked[1:5]}, asked[5]["instance"]
    assert len(first) == 1
    assert second not in {"", *first}
    assert {request["client_address"] for request in asked} == {"192.0.2.1"}
    assert {request["helo_name"] for request in asked[1:]} == {"mx.b.com"}
    assert (asked[1]["size"], asked[5]["size"]) == ("", "1234")
    assert asked[1]["sender"] == "ok@b.com"
    assert int(asked[4]["size"]) > 0


def test_the_sender_reads_the_whole_reply_with_its_codes(exim: Exim) -> None:
    assert exim.talk(*mail("slow@b.com", "a@box.com"))[3] == SLOW
    assert exim.talk(*mail("bad@b.com"))[2] == "550 5.7.1 b.com is blocked"
    late = exim.talk(*mail("long@b.com", "a@box.com"), "DATA", "", "hello", ".")
    assert late[5] == ANSWERS["END-OF-MESSAGE", "long@b.com"]


def test_a_client_that_is_refused_at_connect_gets_no_greeting(exim: Exim) -> None:
    assert exim.talk(client="192.0.2.66") == [ANSWERS["CONNECT", "192.0.2.66"]]


def test_nothing_that_a_sender_writes_begins_a_line_or_is_expanded(exim: Exim) -> None:
    sender = '"a\\\tb\\\x01c\\\rclient_address=9}$pid${run{id}}"@b.com'
    replies = exim.talk(*mail(sender, '"x\\\x1b[1m$pid"@box.com'))
    assert [reply[:3] for reply in replies[2:4]] == ["250", "250"]
    *_, asked = exim.service.requests
    assert {"client_address": "192.0.2.1", "protocol_state": "RCPT"}.items() <= asked.items()
    assert not any(character < " " or character == "\x7f" for value in asked.values() for character in value)
    assert asked["sender"].startswith('"a')
    assert "$pid${run{id}}" in asked["sender"]
    assert asked["recipient"] == "x?[1m$pid@box.com"


@pytest.mark.parametrize("sender", ["gone@b.com", "ok@b.com"], ids=["no answer", "no socket"])
def test_without_an_answer_mail_passes(exim: Exim, sender: str) -> None:
    if sender == "ok@b.com":
        exim.close()
    assert exim.talk(*mail(sender, "a@box.com"))[3].startswith("250 ")


def test_the_strict_lines_defer_mail_that_gets_no_answer(strict: Exim) -> None:
    assert strict.talk(*mail("gone@b.com", "a@box.com"))[3] == "451 4.3.0 try again later"
    assert strict.talk(*mail("ok@b.com", "a@box.com"))[3].startswith("250 ")
    strict.close()
    assert strict.talk() == ["451 4.3.0 try again later"]
