"""Who may reach and use the control socket: its directory, the users and the group.

It knows no request. Invariant: the kernel says who a peer is, and never the peer.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from throttle.serve.address import AddressError, ListenAddress

MOST_WAITING = 16
"""How many connections wait in the kernel."""

_SO_PEERGROUPS = 59
"""Linux 4.13; Python 3.11 has no name for it. The number is that of all its architectures but parisc and sparc."""

_MOST_OPTION_BYTES = 1024
"""The most that Python lets `getsockopt` return: 256 groups. The kernel gives none of more groups."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection, as the kernel says (unix(7), SO_PEERCRED)."""

    pid: int
    user_id: int
    group_ids: frozenset[int]

    @classmethod
    def of(cls, connection: socket.socket) -> Peer:
        """Returns the peer of a connection."""
        pid, user, group = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        try:
            more = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_OPTION_BYTES)
        except OSError:
            more = b""
        return cls(pid, user, frozenset({group, *struct.unpack(f"{len(more) // 4}I", more)}))

    def __str__(self) -> str:
        try:
            name = f" ({pwd.getpwuid(self.user_id).pw_name})"
        except KeyError:
            name = ""
        return f"user {self.user_id}{name}, process {self.pid}"


@dataclass(frozen=True, slots=True)
class Rights:
    """Root and the service's own user may do everything. Members of the group may read, or also change."""

    group: str | None = None
    group_id: int | None = None
    group_may_change: bool = False

    @classmethod
    def of(cls, group: str | None, *, may_change: bool = False) -> Rights:
        """Returns the rights of the members of a group.

        Raises:
            AddressError: there is no such group.
        """
        if group is None:
            return cls()
        try:
            return cls(group, grp.getgrnam(group).gr_gid, may_change)
        except KeyError as error:
            raise AddressError(f"group: found {group!r}; allowed: a group of this machine") from error

    def may_change(self, peer: Peer) -> bool:
        """Whether a peer may change something."""
        return is_owner(peer) or (self.group_may_change and self._has(peer))

    def may_read(self, peer: Peer) -> bool:
        """Whether a peer may ask at all."""
        return self.may_change(peer) or self._has(peer)

    def __str__(self) -> str:
        group = "" if self.group is None else f", and members of {self.group}"
        return f"root and the service's own user{group}"

    def _has(self, peer: Peer) -> bool:
        return self.group_id in peer.group_ids


def is_owner(peer: Peer) -> bool:
    """Whether a peer is root or the service's own user."""
    return peer.user_id in {0, os.geteuid()}


def listen(address: ListenAddress, group_id: int | None) -> socket.socket:
    """Opens the control socket, at a path. Its directory is made if it does not exist.

    Raises:
        AddressError: as `check`, or the socket cannot be opened.
    """
    path = address.path
    check(path, group_id)
    directory = Path(path).parent
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
            if group_id is not None:
                os.chown(directory, -1, group_id, follow_symlinks=False)
                directory.chmod(0o750)
        check(path, group_id)  # somebody else may have made it meanwhile
        before = os.umask(0o177 if group_id is None else 0o117)
        try:
            (listener,) = address.listen(mode=None)
        finally:
            os.umask(before)
        if group_id is not None:
            os.chown(path, -1, group_id, follow_symlinks=False)
    except OSError as error:
        raise AddressError(f"{directory}: {error.strerror or error}") from error
    listener.listen(MOST_WAITING)
    return listener


def check(path: str, group_id: int | None) -> None:
    """Checks that only permitted users can reach a control socket. Its directory need not exist yet.

    Raises:
        AddressError: the path is not absolute, or too long, or has something else than a socket, or others can reach
            its directory, or put another in its place.
    """
    if not path.startswith("/"):
        raise AddressError(f"found {path!r}; allowed: an absolute path")
    ListenAddress(f"unix:{path}", path=path).check()
    directory = Path(path).parent
    try:
        # An ancestor may be a link, as /var/run is: what it leads to is looked at.
        for ancestor in (directory.parent.resolve(), *directory.parent.resolve().parents):
            found = ancestor.stat()
            is_open = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
            if found.st_uid not in {0, os.geteuid()} or is_open:
                raise AddressError(f"{ancestor}: found a directory that others can change; allowed: one of root's")
        found = directory.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise AddressError(f"{directory}: {error.strerror or error}") from error
    forbidden, allowed = (0o077, "0700") if group_id is None else (0o027, "0750")
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        raise AddressError(f"{directory}: found no directory; allowed: a directory, and no link to one")
    if found.st_uid not in {0, os.geteuid()}:
        raise AddressError(f"{directory}: found the owner {found.st_uid}; allowed: root, or {os.geteuid()}")
    if mode & forbidden:
        raise AddressError(
            f"{directory}: found the mode {mode:04o}; allowed: {allowed}, so that nobody else gets in. "
            "Name a directory that does not exist yet, and it is made"
        )
