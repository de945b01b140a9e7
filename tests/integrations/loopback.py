"""Ports of loopback, and how a test waits for what another process or thread does.

It knows no server but, of `throttle serve`, that it blocks SIGHUP at first.
"""

from __future__ import annotations

import re
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = "127.0.0.1"
PATIENCE_SECONDS = 60.0


def wait_until(happened: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Returns when something has happened; fails when it does not."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it has not happened"
        time.sleep(0.005)  # another process or thread does it


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        port: int = found.getsockname()[1]
        return port


def connected(port: int) -> socket.socket:
    """A connection to a port of loopback; a server that has just been started may take a moment."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            connection = socket.create_connection((LOOPBACK, port), timeout=1)
        except OSError:
            assert time.monotonic() < until, f"nobody listens on port {port}"
            time.sleep(0.01)  # another process starts; nothing tells when it listens
        else:
            connection.settimeout(None)
            return connection


def wait_until_sighup_is_blocked(process: int) -> None:
    """Returns when a process that has just been started no longer ends at SIGHUP."""

    def is_blocked() -> bool:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
        found = re.search(r"^SigBlk:\t(\w+)$", status, re.MULTILINE)
        return found is not None and bool(int(found[1], 16) & 1 << (signal.SIGHUP - 1))

    wait_until(is_blocked)
