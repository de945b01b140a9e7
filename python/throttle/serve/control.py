"""The control socket of `throttle serve --control`: it asks the kernel who connects, and answers a line of JSON for
each line of JSON.

`throttle.control.verbs` has what can be asked. It runs in a thread of its own, like the metrics.
Invariants: only root, the service's own user and the members of one group are heard, and of these a group that may only
read changes nothing. At most `MOST_CLIENTS` are connected, a client that says nothing for `IDLE_SECONDS` or reads no
answer is dropped, and the thread rests `REST_SECONDS` after every answer, for all clients together. Every change is
logged with its user's id.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from throttle.control import MOST_ANSWER_BYTES, MOST_REQUEST_BYTES
from throttle.control.request import Request, RequestError
from throttle.control.verbs import VERBS
from throttle.errors import ThrottleError
from throttle.printable import quoted
from throttle.serve.access import Peer, Rights, is_owner, listen
from throttle.serve.address import ListenAddress
from throttle.serve.side import SideLoop, streams

if TYPE_CHECKING:
    import socket

    from throttle.serve.guards import Guards
    from throttle.serve.log import Log

MOST_CLIENTS = 8
MOST_MEMBER_CLIENTS = 4
MOST_CLIENTS_OF_ONE_MEMBER = 2
"""How many clients are served at once: all, those of all members of the group, and those of one member."""

IDLE_SECONDS = 60.0
"""A client that sends nothing for so long is dropped."""

WRITE_SECONDS = 5.0
"""A client that does not read its answer for so long is dropped."""

REST_SECONDS = 0.1
"""The pause after each answer, for all clients together: they get ten a second."""

ACCEPTED_AT_ONCE = 8
ACCEPT_SECONDS = 0.05
"""How many connections are accepted without a pause, and the pause: the kernel hands them over in the order of their
coming, so somebody who connects in a loop makes others wait.

Measured in ten minutes beside hostile clients (`pytest -s -m soak tests/control/test_disturbers.py`): the slowest
policy request of a thousand took 0.98 times as long as without them, and the service spent 2.5 % of a processor on
them. With a pause of 10 ms it was 1.13 times and 6.1 %.
"""

MOST_SHOWN = 256
"""The most characters of a value in the log."""

MOST_OF_ERROR = 4096
"""The most characters of an error, which may quote what the client has sent."""


class ControlServer:
    """Listens in a thread of its own from construction until `close`.

    Raises:
        AddressError: `path` cannot be listened on, or others can reach its directory.
    """

    def __init__(self, path: str, guards: Guards, log: Log, rights: Rights | None = None) -> None:
        self._rights = rights or Rights()
        self._guards, self._log = guards, log
        self._started_at = time.time()
        self._address = ListenAddress(f"unix:{path}", path=path)
        self._listener = listen(self._address, self._rights.group_id)
        self._listener.setblocking(False)
        self._loop = SideLoop("control")
        self._loop.run(self._start())
        log.event("listening", f"for control on unix:{path}", limited=False)

    def close(self) -> None:
        """Stops listening."""
        self._loop.close()
        self._listener.close()
        self._address.remove()

    async def _start(self) -> None:
        self._turn = asyncio.Lock()
        self._clients: dict[asyncio.Task[None], Peer] = {}
        self._accepting = asyncio.create_task(self._accept())

    async def _accept(self) -> None:
        """Accepts connections."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
                self._receive(connection)
                for _ in range(ACCEPTED_AT_ONCE - 1):
                    self._receive(self._listener.accept()[0])
            except BlockingIOError:
                pass  # nobody else waits
            except OSError as error:
                self._log.event("control fault", error.strerror or str(error))
            await asyncio.sleep(ACCEPT_SECONDS)

    def _receive(self, connection: socket.socket) -> None:
        """Serves a client, or tells it why not and closes its connection."""
        connection.setblocking(False)
        peer = Peer.of(connection)
        wrong = self._why_not_served(peer)
        if wrong is None:
            client = asyncio.create_task(self._serve(connection, peer))
            self._clients[client] = peer
            client.add_done_callback(self._clients.pop)
        else:
            self._log.event("control refused", f"{peer}: {wrong}", user_id=peer.user_id)
            with contextlib.suppress(OSError):
                connection.send(_line({"ok": False, "error": wrong}))
            connection.close()

    def _why_not_served(self, peer: Peer) -> str | None:
        """Returns why a peer is not served now, or `None`.

        Members of the group leave room for root and the service's own user.
        """
        if not self._rights.may_read(peer):
            return f"this user may not ask; allowed: {self._rights}"
        members = [client.user_id for client in self._clients.values() if not is_owner(client)]
        of_user = members.count(peer.user_id)
        if len(self._clients) >= MOST_CLIENTS:
            return f"found {MOST_CLIENTS} clients; allowed: {MOST_CLIENTS} at once"
        if not is_owner(peer) and (of_user >= MOST_CLIENTS_OF_ONE_MEMBER or len(members) >= MOST_MEMBER_CLIENTS):
            return (
                f"found {of_user} clients of this user, and {len(members)} of members of the group; allowed: "
                f"{MOST_CLIENTS_OF_ONE_MEMBER} and {MOST_MEMBER_CLIENTS} at once"
            )
        return None

    async def _serve(self, connection: socket.socket, peer: Peer) -> None:
        async with streams(connection, MOST_REQUEST_BYTES) as (reader, writer):
            writer.transport.set_write_buffer_limits(high=0)
            while True:
                try:
                    async with asyncio.timeout(IDLE_SECONDS):
                        line = await reader.readuntil(b"\n")
                except asyncio.LimitOverrunError:
                    self._log.event("control bad request", f"more than {MOST_REQUEST_BYTES:,} bytes from {peer}")
                    return
                async with self._turn:
                    writer.write(self._answer(line, peer))
                    await asyncio.sleep(REST_SECONDS)
                async with asyncio.timeout(WRITE_SECONDS):
                    await writer.drain()

    def _answer(self, line: bytes, peer: Peer) -> bytes:
        """Returns the answer to a request, as a line."""
        try:
            answer: dict[str, Any] = {"ok": True, "result": self._result(line, peer)}
        except (ThrottleError, ValueError) as error:
            answer = {"ok": False, "error": str(error)[:MOST_OF_ERROR]}
        except Exception as error:  # noqa: BLE001  a fault here must not end the service
            self._log.fault("control fault", error)
            answer = {"ok": False, "error": "a fault of throttle; the log of the service has the details"}
        answer_line = _line(answer)
        if len(answer_line) > MOST_ANSWER_BYTES:
            wrong = f"the answer has {len(answer_line):,} bytes; allowed: {MOST_ANSWER_BYTES:,}; ask for less"
            return _line({"ok": False, "error": wrong})
        return answer_line

    def _result(self, line: bytes, peer: Peer) -> Any:
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            self._log.event("control bad request", f"no JSON from {peer}")
            raise RequestError("found no JSON; allowed: one JSON object in a line") from error
        name = str(fields.pop("verb", None)) if isinstance(fields, dict) else ""
        verb = VERBS.get(name)
        if verb is None:
            raise RequestError(f"verb: found {name[:MOST_SHOWN]!r}; allowed: {', '.join(VERBS)}")
        shown = " ".join([name, *(f"{_cut(key)}={_cut(value)}" for key, value in fields.items())])
        request = Request(name, fields, self._guards, self._log, self._started_at)
        if not verb.changes:
            return verb.run(request)
        if not self._rights.may_change(peer):
            self._log.event("control refused", f"{shown} by {peer}, who may only read")
            raise RequestError(f"{name}: this user may read and not change; allowed: root and the service's own user")
        try:
            result = verb.run(request)
        except Exception as error:
            wrong = str(error)[:MOST_OF_ERROR]
            self._log.event("control", f"{shown} by {peer} failed: {wrong}", limited=False, user_id=peer.user_id)
            raise
        self._log.event("control", f"{shown} by {peer}", limited=False, user_id=peer.user_id)
        return result


def _cut(value: object) -> str:
    """A name or a value of a request for the log."""
    return quoted(str(value)[:MOST_SHOWN])


def _line(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"
