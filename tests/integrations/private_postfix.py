"""A Postfix of the tests' own: its configuration, queue and log lie in a temporary directory. It listens on loopback.

Mail for ``quickbox.email`` goes to an `smtp-sink` that keeps each message in a file, and any client may say by XCLIENT
who it is. It needs root, as Postfix does.
It knows no policy service and no milter: a test passes those lines of ``main.cf``, which it takes from a page.
Invariants: the machine's own Postfix is neither read nor changed, and nothing runs after the end of the block.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from integrations.loopback import LOOPBACK, connected, free_port, wait_until
from pages import ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

RECEIVER = "quickbox.email"
MYNETWORKS = "192.0.2.255"
PATIENCE_SECONDS = 120.0

#: Turns off Postfix's own limits and DNS look-ups.
MAIN = """
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/log
maillog_file_prefixes = {directory}
mail_owner = postfix
myhostname = mx.quickbox.email
mydestination =
local_recipient_maps =
mynetworks = {mynetworks}/32
inet_interfaces = 127.0.0.1
inet_protocols = all
relay_domains = quickbox.email
relay_transport = smtp:[127.0.0.1]:{sink}
smtp_dns_support_level = disabled
smtp_destination_concurrency_limit = 50
smtpd_peername_lookup = no
smtpd_authorized_xclient_hosts = 0.0.0.0/0
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_junk_command_limit = 1000
in_flow_delay = 0
smtp_connection_cache_on_demand = no
default_process_limit = 300
"""

MASTER = """
{port} inet n - {chroot} - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class PrivatePostfix:
    """A running Postfix."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self.directory / "log").read_text(encoding="utf-8", errors="surrogateescape")

    def wait_for_empty_queue(self) -> None:
        """Returns when every accepted message has left."""
        wait_until(lambda: not self.queued(), PATIENCE_SECONDS)

    def delivered(self) -> Counter[str]:
        """How often the sink has got each message, by its `X-Number`, once every accepted message has left."""
        self.wait_for_empty_queue()
        return numbers_of_messages(self.directory / "sink")

    def queued(self) -> list[Path]:
        """The messages in its queue."""
        queues = ("maildrop", "incoming", "active", "deferred")
        return [path for name in queues for path in (self.directory / "queue" / name).rglob("*") if path.is_file()]

    def control(self, command: str) -> None:
        """Runs `postfix start`, `postfix stop` and the like for this instance."""
        subprocess.run(
            ["postfix", "-c", self.directory / "conf", command], check=True, capture_output=True, text=True, timeout=60
        )


@contextmanager
def private_postfix(lines: str, sasl: str = "", master: str = "", *, chroot: bool = False) -> Iterator[PrivatePostfix]:
    """Runs a Postfix until the end of the block.

    Args:
        lines: further ones of ``main.cf``.
        sasl: a configuration of Cyrus SASL.
        master: further lines of ``master.cf``.
        chroot: smtpd runs in the queue directory, as Debian has it.
    """
    directory = Path(tempfile.mkdtemp(prefix="postfix-"))  # pytest's own directories are closed to user postfix
    sink_port = free_port()
    postfix = PrivatePostfix(directory, free_port())
    sink = None
    try:
        directory.chmod(0o755)
        for name in ("conf", "queue", "data", "sink"):
            (directory / name).mkdir()
        for name in ("data", "sink"):
            shutil.chown(directory / name, "postfix")
        main = MAIN.format(directory=directory, sink=sink_port, mynetworks=MYNETWORKS)
        (directory / "conf" / "main.cf").write_text(f"{main}\n{lines}\n", encoding="utf-8")
        (directory / "conf" / "master.cf").write_text(
            MASTER.format(port=postfix.port, chroot="y" if chroot else "n") + master, encoding="utf-8"
        )
        (directory / "conf" / "sasl").mkdir()  # Debian's smtpd looks only here, whatever cyrus_sasl_config_path is
        (directory / "conf" / "sasl" / "smtpd.conf").write_text(sasl, encoding="utf-8")
        os.utime(directory / "conf" / "main.cf", (1, 1))  # Postfix waits until its configuration is two seconds old
        address = f"{LOOPBACK}:{sink_port}"
        sink = subprocess.Popen(["smtp-sink", "-u", "postfix", "-d", f"{directory}/sink/", address, "1000"])
        postfix.control("start")
        connected(sink_port).close()
        connected(postfix.port).close()
        yield postfix
    finally:
        if (directory / "queue" / "pid" / "master.pid").exists():
            postfix.control("stop")
        if sink is not None:
            sink.terminate()
            sink.wait()
        shutil.rmtree(directory)


def lines_of_page(page: str, file: str, service: str, instead: str) -> str:
    """A block of a page that is a part of a server's configuration, with another address in place of the page's."""
    (found,) = [block.text for block in blocks(ROOT / "docs" / page) if block.marks.get("file") == file]
    assert service in found
    return found.replace(service, instead)


def numbers_of_messages(directory: Path) -> Counter[str]:
    """How often each message of a `SmtpClient` lies in a directory, by its `X-Number`."""
    pattern = re.compile(rb"^X-Number: (\S+)\r?$", re.MULTILINE)
    return Counter(number.decode() for path in directory.iterdir() for number in pattern.findall(path.read_bytes()))
