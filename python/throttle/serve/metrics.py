"""What `throttle serve --metrics` answers: `/metrics` for Prometheus, `/healthz` and `/readyz` for the program that
restarts it.

It is no web server: it reads one request, answers it and closes. It runs in a thread of its own, with the loop of a
milter's process as with that of Postfix's delegation.
Invariants: the number of series is known before start. At most `MOST_CLIENTS` clients are served at once: one more
takes the place of the oldest that has not asked yet. Each is served for at most `MOST_SECONDS`, and of a request at
most `MOST_HEAD_BYTES` are read.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from throttle._core import MetricsExporter
from throttle.serve.address import shown
from throttle.serve.side import SideLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from throttle.serve.address import ListenAddress
    from throttle.serve.guards import Guards
    from throttle.serve.log import Log

MOST_CLIENTS = 8
MOST_SECONDS = 5.0
MOST_HEAD_BYTES = 8192
REST_SECONDS = 0.02
"""The time from an answer to the next, for all clients together: who scrapes in a loop takes no mail its processor."""

OPENMETRICS = "application/openmetrics-text"
TEXT = "text/plain; version=0.0.4; charset=utf-8"

Families = list[tuple[str, str, str, list[tuple[dict[str, str], float]]]]

OWN_SERIES = 7
"""Series of `Metrics.families` without those of the guards, at most."""


def most_series(guards: Guards) -> int:
    """Returns the most series that the service shows at once."""
    return OWN_SERIES + sum(guard.policy.series_bound()[0] for _, guard in guards)


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

    def families(self) -> Families:
        """Returns what the service adds to the metrics of its guards."""
        reload = self.guards.last_reload
        return [
            (
                "throttle_last_reload_success",
                "gauge",
                "1 when the last load of the policies succeeded, 0 when it failed.",
                [({}, float(reload.succeeded))],
            ),
            (
                "throttle_last_reload_timestamp_seconds",
                "gauge",
                "Unix seconds of the last load of the policies that succeeded.",
                [({}, reload.at)],
            ),
            *self.counts(),
        ]

    def render(self, *, openmetrics: bool) -> bytes:
        """Returns all metrics as text."""
        return self._exporter.render(openmetrics, extra=self.families())

    def answer(self, head: bytes) -> bytes:
        """Answers the head of an HTTP request."""
        line, _, fields = head.partition(b"\r\n")
        method, _, rest = line.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in {b"GET", b"HEAD"}:
            return _response("405 Method Not Allowed", b"GET or HEAD only\n", TEXT, more="Allow: GET, HEAD\r\n")
        status, body, kind = "200 OK", b"ok\n", TEXT
        if path == b"/metrics":
            openmetrics = _accepts_openmetrics(fields)
            body = self.render(openmetrics=openmetrics)
            kind = f"{OPENMETRICS}; version=1.0.0; charset=utf-8" if openmetrics else TEXT
        elif path == b"/readyz" and not self.is_ready:
            status, body = "503 Service Unavailable", b"not listening\n"
        elif path in {b"/healthz", b"/readyz"} and not self.is_alive:
            status, body = "503 Service Unavailable", b"mail gets no answers\n"
        elif path not in {b"/healthz", b"/readyz"}:
            status, body = "404 Not Found", b"/metrics, /healthz or /readyz\n"
        return _response(status, body, kind, is_head=method == b"HEAD")


def _accepts_openmetrics(fields: bytes) -> bool:
    """Whether an Accept field names OpenMetrics. Prometheus prefers it whenever it names it."""
    for field in fields.split(b"\r\n"):
        name, _, value = field.partition(b":")
        if name.strip().lower() == b"accept":
            for choice in value.decode("latin-1").lower().split(","):
                kind, *parameters = (part.strip() for part in choice.split(";"))
                if kind == OPENMETRICS and "q=0" not in parameters:
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
        self._clients: dict[asyncio.StreamWriter, bool] = {}
        """Those that are served, the oldest first, and whether each has asked."""
        self._loop = SideLoop("metrics")
        self._loop.run(self._start())
        for listener in self._sockets:
            log.event("listening", f"for Prometheus on {shown(listener)}", limited=False)

    def close(self) -> None:
        """Stops listening."""
        self._loop.close()
        self._address.remove()

    async def _start(self) -> None:
        self._turn = asyncio.Lock()
        self._servers = [
            await asyncio.start_server(self._serve, sock=listener, limit=MOST_HEAD_BYTES) for listener in self._sockets
        ]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MOST_CLIENTS:
            # Clients that say nothing keep no scraper out, and no probe of life.
            silent = next((client for client, has_asked in self._clients.items() if not has_asked), writer)
            silent.transport.abort()
            if silent is writer:
                return
            del self._clients[silent]
        self._clients[writer] = False
        try:
            async with asyncio.timeout(MOST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                self._clients[writer] = True
                async with self._turn:
                    answer = self._metrics.answer(head)
                    await asyncio.sleep(REST_SECONDS)
                writer.write(answer)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that sends too much, or nothing, gets nothing
        except Exception as error:  # noqa: BLE001  a fault here must not end the service
            self._log.fault("metrics fault", error)
        finally:
            self._clients.pop(writer, None)
            with contextlib.suppress(OSError):
                writer.transport.abort()


def counter(name: str, text: str, value: float) -> tuple[str, str, str, list[tuple[dict[str, str], float]]]:
    """Returns a family with one counter."""
    return name, "counter", text, [({}, float(value))]


def gauge(name: str, text: str, value: float) -> tuple[str, str, str, list[tuple[dict[str, str], float]]]:
    """Returns a family with one gauge."""
    return name, "gauge", text, [({}, float(value))]
