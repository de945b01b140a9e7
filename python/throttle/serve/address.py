"""Where a service listens: `inet:HOST:PORT`, `unix:PATH`, or `systemd` for the sockets that systemd passes.

The words are those of Postfix's `check_policy_service` and `smtpd_milters`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path

from throttle.serve import systemd

BACKLOG = 1024

MOST_PATH_BYTES = 107
"""The longest path of a Unix socket: `sun_path` has 108 bytes, and the last one ends the text (unix(7))."""

_INET = re.compile(r"inet:(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,9})")


class AddressError(ValueError):
    """An address that is none, or that cannot be listened on."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """One address, as the command line gives it."""

    text: str
    host: str = ""
    port: int = 0
    path: str = ""
    _made: list[tuple[int, int]] = field(default_factory=list, compare=False, repr=False)
    """The devices and inodes of the socket files that `listen` has made."""

    @classmethod
    def parse(cls, text: str, *, fixed: bool = False) -> ListenAddress:
        """Parses an address.

        Args:
            fixed: the system may not choose it, so `systemd` and port 0 are not allowed.

        Raises:
            AddressError: it is none of those that are allowed.
        """
        if text == "systemd" and not fixed:
            return cls(text)
        if text.startswith("unix:") and len(text) > len("unix:"):
            path = text.removeprefix("unix:")
            if not path.startswith("/"):
                raise AddressError(
                    f"found {text!r}; allowed: unix: and an absolute path, such as unix:/var/spool/postfix/{path} for "
                    "a path in the queue directory of Postfix"
                )
            return cls(text, path=path)
        match = _INET.fullmatch(text)
        lowest = 1 if fixed else 0
        if match is not None and not lowest <= int(match["port"]) <= 0xFFFF:
            raise AddressError(f"found {text!r}; allowed: a port from {lowest} to 65535")
        if match is None:
            allowed = "inet:HOST:PORT or unix:PATH" if fixed else "inet:HOST:PORT, unix:PATH or systemd"
            raise AddressError(f"found {text!r}; allowed: {allowed}")
        return cls(text, host=match["v6"] or match["host"] or "127.0.0.1", port=int(match["port"]))

    @classmethod
    def parse_host_port(cls, text: str) -> ListenAddress:
        """Parses an address without `inet:`, as `--metrics` has it: `HOST:PORT`, or `unix:PATH`.

        Raises:
            AddressError: it is neither.
        """
        if text.startswith("unix:"):
            return cls.parse(text)
        if _INET.fullmatch(f"inet:{text}") is None:
            raise AddressError(f"found {text!r}; allowed: HOST:PORT or unix:PATH, such as 127.0.0.1:9797")
        return cls.parse(f"inet:{text}")

    @property
    def family(self) -> socket.AddressFamily:
        """The family of its socket."""
        if self.path:
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def is_answered(self) -> bool:
        """Whether a process listens there."""
        with socket.socket(self.family) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(self.path or (self.host, self.port))
            except (BlockingIOError, TimeoutError):  # it has many connections waiting
                return True
            except OSError:
                return False
        return True

    def check(self) -> None:
        """Looks for what would keep the address from being opened, and listens nowhere.

        The directory of a Unix socket need not exist yet, because systemd may make it later.

        Raises:
            AddressError: the path is too long, something else than a socket is there, or this machine does not have
                the host.
        """
        if self.path:
            length = len(os.fsencode(self.path))
            if length > MOST_PATH_BYTES:
                raise AddressError(f"{self.text}: found a path of {length} bytes; allowed: at most {MOST_PATH_BYTES}")
            path = Path(self.path)
            if os.path.lexists(path) and not path.is_socket():
                found = "a directory" if path.is_dir() else "a file that is no socket"
                raise AddressError(f"{self.text}: found {found} there; allowed: a path where nothing is, or a socket")
        elif self.host:
            try:
                with socket.socket(self.family) as probe:
                    probe.bind((self.host, 0))
            except OSError as error:
                raise AddressError(f"{self.text}: {_reason(error)}") from error

    def listen(self, *, mode: int | None = 0o666) -> list[socket.socket]:
        """Opens the address.

        A socket file that nobody listens on is replaced. Anybody may connect to a new one: its directory says who
        can reach it. With `mode` `None` it gets what the umask leaves.

        Raises:
            AddressError: it cannot be opened, or somebody listens there.
        """
        self.check()
        try:
            if self.path:
                return [self._listen_unix(mode)]
            if self.host:
                return [socket.create_server((self.host, self.port), family=self.family, backlog=BACKLOG)]
        except FileNotFoundError as error:
            raise AddressError(f"{self.text}: there is no directory {Path(self.path).parent}") from error
        except OSError as error:
            raise AddressError(f"{self.text}: {_reason(error)}") from error
        try:
            sockets = systemd.passed_sockets()
            are_listening = all(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for one in sockets)
        except OSError as error:
            raise AddressError(f"systemd: {error.strerror or error} (LISTEN_FDS)") from error
        if not sockets:
            raise AddressError("systemd: found no socket (LISTEN_FDS); start the service through its .socket unit")
        if not are_listening:
            raise AddressError("systemd: found a socket that does not listen; allowed: those of ListenStream=")
        return sockets

    def remove(self) -> None:
        """Removes the socket file that `listen` has made, unless another service has put its own there since."""
        with contextlib.suppress(OSError):
            if self._made and _device_and_inode(self.path) in self._made:
                Path(self.path).unlink()

    def _listen_unix(self, mode: int | None) -> socket.socket:
        path = Path(self.path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if path.is_socket():
                if self.is_answered():
                    raise AddressError(f"{self.text}: another process listens there")
                path.unlink()
            listener.bind(self.path)
            self._made.append(_device_and_inode(self.path))
            if mode is not None:
                path.chmod(mode)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener


def _reason(error: OSError) -> str:
    """Why an address cannot be opened."""
    match error.errno:
        case errno.EADDRINUSE:
            return "another process listens there"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address"
    return (error.strerror or str(error)).partition(" (while attempting to bind")[0]  # what Python adds


def _device_and_inode(path: str) -> tuple[int, int]:
    found = Path(path).lstat()
    return found.st_dev, found.st_ino


def shown(listener: socket.socket) -> str:
    """Returns the address of a listening socket as text; of port 0 the port that the system has chosen."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name.decode() if isinstance(name, bytes) else name}"
    return f"inet:[{name[0]}]:{name[1]}" if listener.family == socket.AF_INET6 else f"inet:{name[0]}:{name[1]}"
