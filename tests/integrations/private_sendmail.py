"""Sendmail out of Debian's packages, without installing them: that would remove Postfix.

It needs root, apt and the network. Mail is taken for ``quickbox.email`` and stays in a queue of its own.
It knows no milter: the caller passes these lines of ``sendmail.mc``.
Invariant: nothing is installed, and nothing runs after the end of the block.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from integrations.debian_packages import extract
from integrations.loopback import connected, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("sendmail-bin", "sendmail-cf", "m4", "libsigsegv2", "libwrap0", "libsasl2-2")

MACROS = """
divert(-1)dnl
include(`{root}/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`linux')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`no_default_msa')dnl
define(`confDOMAIN_NAME', `mx.quickbox.email')dnl
define(`confDONT_BLAME_SENDMAIL', `TrustStickyBit,InsufficientEntropy')dnl
define(`confPID_FILE', `{root}/pid')dnl
define(`confSERVICE_SWITCH_FILE', `{root}/switch')dnl
define(`confDELIVERY_MODE', `queueonly')dnl
define(`confCW_FILE', `-o {root}/none')dnl
define(`QUEUE_DIR', `{root}/queue')dnl
define(`STATUS_FILE', `{root}/status')dnl
define(`HELP_FILE', `{root}/none')dnl
define(`ALIAS_FILE', `')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA, Port={port}, Addr=127.0.0.1')dnl
RELAY_DOMAIN(`quickbox.email')dnl
{lines}
MAILER(local)dnl
MAILER(smtp)dnl
"""


@contextmanager
def private_sendmail(lines: str) -> Iterator[int]:
    """Runs Sendmail with further lines of ``sendmail.mc``; yields its port."""
    root = Path(tempfile.mkdtemp(prefix="sendmail-"))
    port = free_port()
    try:
        extract(root, *PACKAGES)
        (root / "queue").mkdir(mode=0o700)
        (root / "switch").write_text("hosts files\naliases files\n")  # no DNS
        (root / "sendmail.mc").write_text(MACROS.format(root=root, port=port, lines=lines))
        libraries = {**os.environ, "LD_LIBRARY_PATH": f"{root}/lib/x86_64-linux-gnu:{root}/usr/lib/x86_64-linux-gnu"}
        configure = [f"{root}/usr/bin/m4", f"-D_CF_DIR_={root}/usr/share/sendmail/cf/", f"{root}/sendmail.mc"]
        made = subprocess.run(configure, check=True, capture_output=True, text=True, env=libraries)
        (root / "sendmail.cf").write_text(made.stdout)
        program = root / "usr/libexec/sendmail/sendmail"
        program.chmod(0o755)  # the dynamic linker ignores LD_LIBRARY_PATH for a program that changes its group
        # With a host name that has no dot, Sendmail waits a minute for one.
        start = f"hostname mx.quickbox.email && exec {program} -C {root}/sendmail.cf -bD"
        process = subprocess.Popen(["unshare", "--uts", "sh", "-c", start], env=libraries)
        try:
            connected(port).close()
            yield port
        finally:
            process.terminate()
            process.wait()
    finally:
        shutil.rmtree(root)
