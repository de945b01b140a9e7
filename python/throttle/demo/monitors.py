"""A real Prometheus and Alertmanager that watch one side, and a webhook that receives the alert.

They run with the files that `throttle metrics` prints. Only addresses and the two intervals are replaced, and a side
that has no bound on its series has no `sample_limit`. They listen on loopback and write into a temporary directory.
It knows no traffic.
Invariant: a server and its directory never outlive the demo, however that ends. A shell waits for the end of its
standard input, which the demo holds, and then ends the server and removes the directory.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from throttle import monitoring
from throttle.demo.child import ChildFailedError
from throttle.demo.scraper import open_url
from throttle.demo.server import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALERT = "ThrottleFanOutFlood"
READY_SECONDS = 60.0
END_SECONDS = 20.0
ANSWER_SECONDS = 10.0
LOOK_SECONDS = 0.05

NAMES = {"Prometheus": ("prometheus",), "Alertmanager": ("prometheus-alertmanager", "alertmanager")}
"""What the programs are called on the PATH; Debian has the longer name."""

_KEEPER = """
home=$1
shift
"$@" >log 2>&1 &
echo $!
read -r _
kill -KILL $! 2>/dev/null
wait
cd /
rm -rf -- "$home"
"""


def find() -> dict[str, str]:
    """Returns the paths of those programs in `NAMES` that are on the PATH."""
    found = {name: next(filter(None, map(shutil.which, called)), None) for name, called in NAMES.items()}
    return {name: str(Path(path).absolute()) for name, path in found.items() if path is not None}


def missing(found: dict[str, str]) -> str | None:
    """Returns a line that says which programs are missing, and how to install them; None if none is."""
    absent = [name for name in NAMES if name not in found]
    if not absent:
        return None
    return (
        f"{' and '.join(absent)} not found on the PATH, so no alert is measured; "
        "to install: apt install prometheus prometheus-alertmanager, or https://prometheus.io/download"
    )


@dataclass(frozen=True, slots=True)
class Alert:
    """What the webhook was told of the flood."""

    seconds: float  # since the first message
    summary: str


class Server:
    """A program of Prometheus' family that runs; `address` is where it listens."""

    def __init__(self, name: str, files: dict[str, str], *command: str) -> None:
        self.name = name
        self.address = f"{LOOPBACK}:{_free_port()}"
        self._home = tempfile.TemporaryDirectory(prefix="throttle-demo-")
        for file, text in files.items():
            (Path(self._home.name) / file).write_text(text, encoding="utf-8")
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "sh", self._home.name, *command, "--log.level=warn",
             f"--web.listen-address={self.address}"],
            cwd=self._home.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the demo alone
        )  # fmt: skip

    def __enter__(self) -> Self:
        if self._keeper.stdout is not None:
            self._pid = int(self._keeper.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._keeper.communicate(timeout=END_SECONDS)  # closes its standard input
        self._home.cleanup()

    def get(self, path: str, **parameters: str) -> Any:
        """Returns the answer to an HTTP request as JSON; None while there is none."""
        self._running()
        try:
            url = f"http://{self.address}{path}?{urllib.parse.urlencode(parameters)}"
            with open_url(url, timeout=ANSWER_SECONDS) as response:
                return json.load(response)
        except (urllib.error.URLError, OSError):
            return None  # it starts

    def resident_bytes(self) -> int:
        """Resident memory."""
        return int(self._running().memory_info().rss)

    def _running(self) -> psutil.Process:
        with contextlib.suppress(psutil.NoSuchProcess):  # the shell may have waited for it already
            process = psutil.Process(self._pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                return process
        log = (Path(self._home.name) / "log").read_text(encoding="utf-8", errors="replace").strip()
        raise ChildFailedError(f"{self.name} ended; --no-prometheus does without; it said: {log[-2000:]}")


class Webhook:
    """Receives what Alertmanager sends, with the time of each alert."""

    def __init__(self) -> None:
        self.got: list[tuple[float, dict[str, Any]]] = []
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                got.extend((time.monotonic(), alert) for alert in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.address = f"{LOOPBACK}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[LOOK_SECONDS], daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def first(self, status: str) -> tuple[float, dict[str, Any]] | None:
        """The first alert about a flood with a status."""
        return next(
            (
                (at, alert)
                for at, alert in self.got
                if alert["labels"]["alertname"] == ALERT and alert["status"] == status
            ),
            None,
        )


class Monitors:
    """What watches one side."""

    def __init__(self, prometheus: Server, alertmanager: Server, webhook: Webhook, side: str) -> None:
        self._prometheus, self._alertmanager, self._webhook, self._side = prometheus, alertmanager, webhook, side
        self.versions = ""

    def wait_until_ready(self) -> None:
        """Returns when Prometheus has scraped the side and knows Alertmanager, which takes it five seconds."""
        other = _wait(lambda: self._alertmanager.get("/api/v2/status"), self._alertmanager.name)
        built = _wait(lambda: self._prometheus.get("/api/v1/status/buildinfo"), self._prometheus.name)
        _wait(self._has_scraped, self._prometheus.name)
        self.versions = f"Prometheus {built['data']['version']} (Alertmanager {other['versionInfo']['version']})"

    def alert(self, start: float, seconds: float) -> Alert | None:
        """Waits for the alert until `seconds` after `start`, a time of `time.monotonic`."""
        while (told := self._webhook.first("firing")) is None:
            if time.monotonic() > start + seconds:
                return None
            time.sleep(LOOK_SECONDS)
        at, alert = told
        if at < start:
            raise ChildFailedError(f"{ALERT} came before the flood, so it tells nothing about it")
        return Alert(at - start, alert["annotations"]["summary"])

    def resident_bytes(self) -> int:
        """Resident memory of Prometheus."""
        return self._prometheus.resident_bytes()

    def _has_scraped(self) -> bool:
        known = self._prometheus.get("/api/v1/alertmanagers")
        up = self._prometheus.get("/api/v1/query", query=f'up{{job="{self._side}"}} == 1')
        return bool(known and known["data"]["activeAlertmanagers"] and up and up["data"]["result"])


@contextlib.contextmanager
def watching(found: dict[str, str], side: str, target: str, interval_seconds: int) -> Iterator[Monitors]:
    """Starts the monitors of a side, and ends them with the block. They are not ready at once."""
    with contextlib.ExitStack() as running:
        webhook = running.enter_context(Webhook())
        config = _replaced(monitoring.text("alertmanager"), {f"{LOOPBACK}:9099": webhook.address})
        command = (found["Alertmanager"], "--config.file=alertmanager.yml", "--storage.path=data")
        alertmanager = running.enter_context(
            Server("Alertmanager", {"alertmanager.yml": config}, *command, "--cluster.listen-address=")
        )
        interval = f"{interval_seconds}s"
        changed = {
            "scrape_interval: 15s": f"scrape_interval: {interval}",
            "evaluation_interval: 15s": f"evaluation_interval: {interval}",
            f"{LOOPBACK}:9093": alertmanager.address,
            f"{LOOPBACK}:9797": target,
        }
        if side != "throttle":
            changed |= {"job_name: throttle": f"job_name: {side}", "sample_limit: 2000": "sample_limit: 0"}
        files = {
            "prometheus.yml": _replaced(monitoring.text("scrape-config"), changed),
            "throttle-rules.yml": monitoring.text("rules"),
        }
        command = (found["Prometheus"], "--config.file=prometheus.yml", "--storage.tsdb.path=data")
        prometheus = running.enter_context(Server("Prometheus", files, *command))
        yield Monitors(prometheus, alertmanager, webhook, side)


def _replaced(text: str, changed: dict[str, str]) -> str:
    for old, new in changed.items():
        if text.count(old) != 1:
            raise ValueError(f"{old!r} must stand once in the file; found {text.count(old)}")
        text = text.replace(old, new)
    return text


def _wait(happened: Callable[[], Any], name: str) -> Any:
    until = time.monotonic() + READY_SECONDS
    while not (found := happened()):
        if time.monotonic() > until:
            raise ChildFailedError(f"{name} was not ready within {READY_SECONDS:.0f} s; --no-prometheus does without")
        time.sleep(LOOK_SECONDS)
    return found


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        port: int = found.getsockname()[1]
        return port
