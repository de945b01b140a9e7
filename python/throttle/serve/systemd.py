"""What systemd and a service tell each other: sockets that are passed in, readiness, and watchdog signals.

The protocols are an environment variable and a datagram each (sd_notify(3), sd_listen_fds(3)), so no library is used.
Without systemd there are no variables, and nothing happens here.
"""

from __future__ import annotations

import contextlib
import os
import socket

_FIRST_FD = 3


def notify(*states: str) -> None:
    """Sends states such as `READY=1` to `NOTIFY_SOCKET`. A manager that does not listen is no fault of the service."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect("\0" + path[1:] if path.startswith("@") else path)
        manager.send("\n".join(states).encode(), socket.MSG_DONTWAIT)  # a manager that does not read stops nothing


def watchdog_seconds() -> float | None:
    """Returns the time after which systemd kills a service without a watchdog signal; `None`: never."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1e6 or None


def passed_sockets() -> list[socket.socket]:
    """Returns the listening sockets that systemd has opened for this process."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.get("LISTEN_FDS", "")
    fds = range(_FIRST_FD, _FIRST_FD + int(count)) if count.isdecimal() else range(0)
    for fd in fds:
        os.set_inheritable(fd, False)
    return [socket.socket(fileno=fd) for fd in fds]
