"""A policy server in a thread of the test's process, for tests that need its guards or its clock."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Self

from throttle._core import PolicyServer
from throttle.serve.address import ListenAddress, shown

if TYPE_CHECKING:
    from throttle import Throttle


class PolicyThread:
    """Answers at an address, as a context manager that ends it. `woken` gets a byte when there are events."""

    def __init__(
        self, guards: dict[str, Throttle], *, address: str = "inet:127.0.0.1:0", most_connections: int = 1000
    ) -> None:
        self.server = PolicyServer(guards, 100, most_connections)
        [listener] = ListenAddress.parse(address).listen()
        self.address = shown(listener)
        self.woken, wake = socket.socketpair()
        wake.setblocking(False)
        self.woken.settimeout(20)
        self._thread = threading.Thread(target=self.server.run, args=([listener.detach()], wake.detach(), 0.1))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self._thread.join()
        self.woken.close()

    def events(self, count: int) -> list[tuple[str, str, int]]:
        """The next events, at least so many."""
        found: list[tuple[str, str, int]] = []
        while len(found) < count:
            assert self.woken.recv(1) == b"\0"
            found += self.server.take_events()
        return found
