"""Asks a running service over its control socket."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from typing import TYPE_CHECKING, Any, Self

from throttle.control import MOST_ANSWER_BYTES, MOST_REQUEST_BYTES
from throttle.errors import ThrottleError

if TYPE_CHECKING:
    from types import TracebackType

CONNECT_SECONDS = 60.0
"""How long a connection may take. Others may connect in a loop: it took 22 s beside 3,500 threads that do."""

ANSWER_SECONDS = 20.0
"""How long an answer may take: a reload of a large policy takes some seconds."""


class ControlError(ThrottleError):
    """The service cannot be asked, or does not do what it was asked."""


class ControlClient:
    """A connection to the control socket at `path`, as a context manager that closes it.

    Raises:
        ControlError: nobody listens there, or this user may not connect.
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # With a time-out of Python's, `connect` would not wait at all where many wait for the service.
        wait = struct.pack("ll", int(CONNECT_SECONDS), 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
        try:
            self._socket.connect(path)
            self._socket.settimeout(ANSWER_SECONDS)
        except BlockingIOError as error:
            self._socket.close()
            raise ControlError(
                f"{path}: the service has not accepted the connection in {CONNECT_SECONDS:g} s"
            ) from error
        except PermissionError as error:
            self._socket.close()
            raise ControlError(
                f"{path}: this user may not connect; allowed: root, the service's own user, and the members of its "
                "--control-group"
            ) from error
        except OSError as error:
            self._socket.close()
            raise ControlError(
                f"{path}: {error.strerror or error}; is `throttle serve --control {path}` running?"
            ) from error
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._lines.close()
        self._socket.close()

    def ask(self, verb: str, **fields: Any) -> Any:
        """Returns the result of a verb. Fields that are `None` are left out.

        Raises:
            ControlError: the service does not do it, or is gone. The text is that of the service: print it escaped.
        """
        request = {"verb": verb, **{name: value for name, value in fields.items() if value is not None}}
        line = json.dumps(request).encode() + b"\n"
        if len(line) > MOST_REQUEST_BYTES:
            raise ControlError(f"{verb}: found {len(line):,} bytes; allowed: {MOST_REQUEST_BYTES:,}")
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its answer says why
                self._socket.sendall(line)
            line = self._lines.readline(MOST_ANSWER_BYTES + 1)
        except OSError as error:
            raise ControlError(f"the service does not answer: {error.strerror or error}") from error
        if not line.endswith(b"\n"):
            raise ControlError("the service has closed the connection")
        answer = json.loads(line)
        if not answer["ok"]:
            raise ControlError(answer["error"])
        return answer["result"]
