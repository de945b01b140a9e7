"""Exim out of Debian's packages, without installing it: that would remove Postfix. `exim -bh` plays dialogues.

It needs root, apt, the network, and the libraries of Exim that `make servers` installs.
It knows no policy service: a test passes the lines of the configuration, which it takes from a page.
Invariant: nothing is installed. Exim's user exists only in a mount namespace of each dialogue.
"""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from integrations.debian_packages import extract

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "Debian-exim"
CONFIG = """
{main}
spool_directory = {root}/spool
log_file_path = {root}/spool/%slog
primary_hostname = mx.quickbox.email
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

_ports = itertools.count(1024)


class PrivateExim:
    """An unpacked Exim."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def configure(self, main: str, acl: str) -> None:
        """Writes its configuration: lines of the main section, and ACLs."""
        (self.root / "exim.conf").write_text(CONFIG.format(main=main, acl=acl, root=self.root), encoding="utf-8")

    def talk(self, *commands: str, client_ip: str = "192.0.2.1") -> list[str]:
        """Returns the replies to the greeting and to each command of a connection, one of several lines as one."""
        text = "".join(f"{command}\r\n" for command in (*commands, "QUIT"))
        become = 'mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/group" /etc/group && exec "$@"'
        exim = [f"{self.root}/usr/sbin/exim4", "-C", f"{self.root}/exim.conf", "-bh", f"{client_ip}.{next(_ports)}"]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", become, str(self.root), *exim],
            input=text.encode(), capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        told = done.stdout.decode("utf-8", "replace").replace("\r", "")
        replies = re.findall(r"^(?:\d\d\d-.*\n)*\d\d\d .*$", told, re.MULTILINE)
        assert replies, done.stderr.decode("utf-8", "replace")
        return [joined(reply) for reply in replies]


def joined(reply: str) -> str:
    """The reply without the codes that its further lines repeat."""
    first, *more = reply.splitlines()
    return " ".join([first[:3], first[4:], *(re.sub(r"^\d{3}[ -](?:\d\.\d+\.\d+ )?", "", line) for line in more)])


@contextmanager
def private_exim() -> Iterator[PrivateExim]:
    """Unpacks Exim until the end of the block."""
    root = Path(tempfile.mkdtemp(prefix="exim-"))
    try:
        root.chmod(0o755)
        extract(root, "exim4-daemon-light")
        (root / "spool").mkdir()
        (root / "spool").chmod(0o777)  # Exim runs as a user of its own
        for name, line in (("passwd", f"{USER}:x:60999:60999::/:/bin/false"), ("group", f"{USER}:x:60999:")):
            (root / name).write_text(f"{Path('/etc', name).read_text()}{line}\n")
        yield PrivateExim(root)
    finally:
        shutil.rmtree(root)
