"""What `throttle serve --metrics` answers: `/metrics` for Prometheus, `/healthz` and `/readyz` for the program that
restarts it.

It is no web server: it reads one request, answers it and closes. It runs in a thread of its own, for a milter as for
Postfix's delegation.
Invariants: the number of series is known before start. At most `MOST_CLIENTS` clients are served at once. One more
is accepted, and waits until one of them ends or has asked nothing for `SILENT_SECONDS`. Those after it wait in the
kernel's queue. However many scrape, each of the two texts is rendered at most once in `RENDER_SECONDS`. Connections are
accepted at a steady pace, so a health probe gets its answer while others connect in a loop: it waits for those that
came before it. Each client is served for at most `MOST_SECONDS`, and at most `MOST_HEAD_BYTES` of its request are read.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import re
from operator import itemgetter
from typing import TYPE_CHECKING

from throttle._core import MetricsExporter
from throttle.serve.address import shown
from throttle.serve.side import SideLoop, streams

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from throttle.serve.address import ListenAddress
    from throttle.serve.guards import Guards
    from throttle.serve.log import Log

MOST_CLIENTS = 64
MOST_SECONDS = 5.0
SILENT_SECONDS = 0.2
MOST_HEAD_BYTES = 8192
RENDER_SECONDS = 0.02
"""The least time from one rendering of a text to the next: clients that scrape in a loop share one."""

ACCEPTED_AT_ONCE = 4
ACCEPT_SECONDS = 0.01
"""How many connections are accepted without a pause, and the pause. The kernel's queue holds `BACKLOG` others, who are
then served within about 3 s.
"""

OPENMETRICS = "application/openmetrics-text"
_NO_WEIGHT = re.compile(r"q=0(\.0{0,3})?")
"""The weight of a form that a client does not want (RFC 9110 §12.4.2)."""

TEXT = "text/plain; version=0.0.4; charset=utf-8"

Family = tuple[str, str, str, list[tuple[dict[str, str], float]]]
"""Its name, type and help, and its samples with their labels."""

Families = list[Family]


class Metrics:
    """The metrics of a service: those of its guards, and what the service adds.

    The service sets `counts`, which returns what it counts; without it, only the guards are shown. It also tells
    whether it listens (`is_ready`), and whether it answers mail (`is_alive`).
    """

    def __init__(self, guards: Guards) -> None:
        self.guards = guards
        self.counts: Callable[[], Families] = list
        self.is_ready = False
        self.is_alive = True
        self._exporter = MetricsExporter({source.name: guard for source, guard in guards})
        self._texts: dict[bool, bytes] = {}
        """What was rendered since `drop_texts`, by `openmetrics`."""

    def families(self) -> Families:
        """Returns what the service adds to the metrics of its guards."""
        reload = self.guards.last_reload
        return [
            gauge(
                "throttle_last_reload_success",
                "1 when the last load of the policies succeeded, 0 when it failed.",
                reload.succeeded,
            ),
            gauge(
                "throttle_last_reload_timestamp_seconds",
                "Unix seconds of the last load of the policies that succeeded.",
                reload.at,
            ),
            *self.counts(),
        ]

    def render(self, *, openmetrics: bool) -> bytes:
        """Returns all metrics as text."""
        return self._exporter.render(openmetrics, extra=self.families())

    def drop_texts(self) -> None:
        """Drops the rendered texts, so that `answer` renders again."""
        self._texts.clear()

    def answer(self, head: bytes) -> bytes:
        """Answers the head of an HTTP request."""
        method, path, fields = _parts(head)
        if method not in {b"GET", b"HEAD"}:
            return _response("405 Method Not Allowed", b"GET or HEAD only\n", TEXT, more="Allow: GET, HEAD\r\n")
        status, body, kind = "200 OK", b"ok\n", TEXT
        if path == b"/metrics":
            openmetrics = _accepts_openmetrics(fields)
            if openmetrics not in self._texts:
                self._texts[openmetrics] = self.render(openmetrics=openmetrics)
            body = self._texts[openmetrics]
            kind = f"{OPENMETRICS}; version=1.0.0; charset=utf-8" if openmetrics else TEXT
        elif path == b"/readyz" and not self.is_ready:
            status, body = "503 Service Unavailable", b"not listening\n"
        elif path in {b"/healthz", b"/readyz"} and not self.is_alive:
            status, body = "503 Service Unavailable", b"mail gets no answers\n"
        elif path not in {b"/healthz", b"/readyz"}:
            status, body = "404 Not Found", b"/metrics, /healthz or /readyz\n"
        return _response(status, body, kind, is_head=method == b"HEAD")


def _parts(head: bytes) -> tuple[bytes, bytes, bytes]:
    """The method, the path and the fields of a request."""
    line, _, fields = head.partition(b"\r\n")
    method, _, rest = line.partition(b" ")
    return method, rest.partition(b" ")[0].partition(b"?")[0], fields


def _accepts_openmetrics(fields: bytes) -> bool:
    """Whether an Accept field names OpenMetrics. Prometheus prefers it whenever it names it."""
    for field in fields.split(b"\r\n"):
        name, _, value = field.partition(b":")
        if name.strip().lower() == b"accept":
            for choice in value.decode("latin-1").lower().split(","):
                kind, *parameters = (part.strip() for part in choice.split(";"))
                if kind == OPENMETRICS and not any(_NO_WEIGHT.fullmatch(parameter) for parameter in parameters):
                    return True
    return False


def _response(status: str, body: bytes, kind: str, *, more: str = "", is_head: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"{more}X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if is_head else body)


class MetricsServer:
    """Listens in a thread of its own from construction until `close`.

    Raises:
        AddressError: the address cannot be listened on.
    """

    def __init__(self, address: ListenAddress, metrics: Metrics, log: Log) -> None:
        self._address, self._metrics, self._log = address, metrics, log
        self._sockets = address.listen()
        self._clients: dict[asyncio.Task[None], float] = {}
        """Those that are served, the oldest first, and until when each may say nothing; infinite once it has asked."""
        self._loop = SideLoop("metrics")
        self._loop.run(self._start())
        for listener in self._sockets:
            log.event("listening", f"for Prometheus on {shown(listener)}", limited=False)

    def close(self) -> None:
        """Stops listening."""
        self._loop.close()
        self._address.remove()

    async def _start(self) -> None:
        self._turn, self._refreshed_at = asyncio.Lock(), -math.inf
        self._accepting = [asyncio.create_task(self._accept(listener)) for listener in self._sockets]

    async def _accept(self, listener: socket.socket) -> None:
        """Accepts connections, and makes room for each."""
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        for nth in itertools.count(1):
            if nth % ACCEPTED_AT_ONCE == 0:
                await asyncio.sleep(ACCEPT_SECONDS)
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                self._log.event("metrics fault", error.strerror or str(error))
                await asyncio.sleep(ACCEPT_SECONDS)
                continue
            while len(self._clients) >= MOST_CLIENTS:
                silent, until = min(self._clients.items(), key=itemgetter(1))
                if until <= loop.time():
                    silent.cancel()
                rest = min(max(until - loop.time(), 0), SILENT_SECONDS)
                await asyncio.wait(self._clients, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            client = asyncio.create_task(self._serve(connection))
            self._clients[client] = loop.time() + SILENT_SECONDS
            client.add_done_callback(self._clients.pop)
            await asyncio.sleep(0)  # it has begun, so it closes its connection when it is cancelled

    async def _serve(self, connection: socket.socket) -> None:
        async with streams(connection, MOST_HEAD_BYTES) as (reader, writer), asyncio.timeout(MOST_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            if (client := asyncio.current_task()) is not None:
                self._clients[client] = math.inf
            try:
                if _parts(head)[1] == b"/metrics":
                    await self._refresh(asyncio.get_running_loop().time())
                answer = self._metrics.answer(head)
            except Exception as error:  # noqa: BLE001  a fault here must not end the service
                self._log.fault("metrics fault", error)
                return
            writer.write(answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def _refresh(self, asked_at: float) -> None:
        """Waits until the metrics are from after this time, and from `RENDER_SECONDS` after the last ones."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            if self._refreshed_at < asked_at:
                await asyncio.sleep(max(self._refreshed_at + RENDER_SECONDS - loop.time(), 0))
                self._refreshed_at = loop.time()
                self._metrics.drop_texts()


def counter(name: str, text: str, value: float) -> Family:
    """Returns a family with one counter."""
    return name, "counter", text, [({}, float(value))]


def gauge(name: str, text: str, value: float) -> Family:
    """Returns a family with one gauge."""
    return name, "gauge", text, [({}, float(value))]
