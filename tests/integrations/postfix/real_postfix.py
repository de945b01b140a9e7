"""A real Postfix with directories of its own, and Postfix's `smtp-sink` behind it. It needs root.

It knows no policy service: what `main.cf` says of one comes from the page docs/postfix.md.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Self

from pages import ROOT, blocks

PAGE = ROOT / "docs" / "postfix.md"
RECEIVER = "quickbox.email"
MOST_SMTPD = 150
START_SECONDS = 30.0

#: What the test's Postfix needs besides the lines of the page: it lives in a temporary directory, and any client may
#: say by XCLIENT who it is.
MAIN_CF = """
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
maillog_file = {home}/log/mail.log
maillog_file_prefixes = {home}/log
syslog_name = postfix
myhostname = mx.{receiver}
mydestination =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = all
mynetworks = 127.0.0.1/32
relay_domains = {receiver}
transport_maps = static:smtp:[127.0.0.1]:{sink}
smtpd_authorized_xclient_hosts = static:all
smtpd_client_connection_count_limit = 0
smtpd_client_event_limit_exceptions =
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
smtpd_junk_command_limit = 1000
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_connection_cache_on_demand = no
default_destination_concurrency_limit = 40
initial_destination_concurrency = 40
default_process_limit = 100
alias_maps =
alias_database =
"""

MASTER_CF = """
{port} inet n - n - {most} smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - 60 smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


def main_cf_of_page(name: str, service: str) -> str:
    """A block of docs/postfix.md, with the address of a service in place of the page's."""
    (found,) = [block.text for block in blocks(PAGE) if block.marks.get("file") == name]
    return re.sub(r"(?:inet:127\.0\.0\.1:10040|unix:private/throttle)", service, found)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class RealPostfix:
    """Postfix and its sink, as a context manager."""

    def __init__(self, lines: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="throttle-postfix-"))
        self.home.chmod(0o755)
        self.port, self.sink_port = free_port(), free_port()
        for name in ("conf", "queue", "data", "log", "sink"):
            (self.home / name).mkdir()
        user = pwd.getpwnam("postfix")
        for name in ("data", "sink"):
            os.chown(self.home / name, user.pw_uid, user.pw_gid)
        conf = self.home / "conf"
        base = MAIN_CF.format(home=self.home, receiver=RECEIVER, sink=self.sink_port)
        (conf / "main.cf").write_text(base + lines)
        (conf / "master.cf").write_text(MASTER_CF.format(port=f"127.0.0.1:{self.port}", most=MOST_SMTPD))
        self._sink = subprocess.Popen(
            ["smtp-sink", "-u", "postfix", "-c", "-D", str(self.home / "sink" / "mail"), "-h", "sink.invalid",
             f"127.0.0.1:{self.sink_port}", "1000"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def __enter__(self) -> Self:
        try:
            done = self.command("start")
            assert done.returncode == 0, done.stderr
            await_port(self.port)
            await_port(self.sink_port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.command("stop")
        self._sink.kill()
        self._sink.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def command(self, word: str) -> subprocess.CompletedProcess[str]:
        """Runs `postfix WORD`."""
        return subprocess.run(
            ["postfix", "-c", str(self.home / "conf"), word], capture_output=True, text=True, timeout=60, check=False
        )

    def log(self) -> str:
        """What Postfix has logged."""
        path = self.home / "log" / "mail.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def delivered(self) -> Counter[str]:
        """How often the sink has got each message, by its header `X-Number`."""
        path = self.home / "sink" / "mail"
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        return Counter(re.findall(r"^X-Number: (\S+)$", text, re.MULTILINE))

    def wait_until_delivered(self, messages: int, seconds: float) -> Counter[str]:
        """Waits until the sink has got so many messages, or the time is over."""
        end = time.monotonic() + seconds
        while sum((found := self.delivered()).values()) < messages and time.monotonic() < end:
            select.select([], [], [], 0.2)
        return found


def await_port(port: int) -> None:
    """Waits until somebody listens."""
    end = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        assert time.monotonic() < end, f"nobody listens on port {port}"
        select.select([], [], [], 0.05)
