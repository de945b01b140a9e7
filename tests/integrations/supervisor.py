"""A manager of one service that does what systemd does for `Type=notify`, `WatchdogSec=` and `Restart=on-failure`.

It reads what the service sends to `NOTIFY_SOCKET` (sd_notify(3)). When no watchdog signal has come for the time of the
watchdog, it sends SIGABRT with SIGCONT, as systemd does, and SIGKILL a second later, and starts the service again.
It knows no service.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Self

from integrations.loopback import wait_until

if TYPE_CHECKING:
    from pathlib import Path

ABORT_SECONDS = 1.0
END_SECONDS = 20.0


class Supervisor:
    """A context manager; the service runs until the end of the block."""

    def __init__(self, directory: Path, watchdog_seconds: float, *command: str) -> None:
        self.watchdog_seconds = watchdog_seconds
        self.ready: list[int] = []
        """The process of each start, once it is ready."""
        self.signs_of_life = 0
        self.silences: list[float] = []
        """How many seconds each process was silent that was killed for it."""
        self._command = command
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0.02)
        self._socket.bind(str(directory / "notify"))
        self._environment = os.environ | {
            "NOTIFY_SOCKET": str(directory / "notify"),
            "WATCHDOG_USEC": str(int(watchdog_seconds * 1e6)),
        }
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed at the end of the block
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        self.wait_for_start(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._socket.close()
        self._log.close()

    def wait_for_start(self, number: int) -> int:
        """Returns the process of a start, the first or a later one, when it is ready."""
        wait_until(lambda: len(self.ready) >= number or not self._thread.is_alive())
        assert len(self.ready) >= number, self.log()
        return self.ready[number - 1]

    def log(self) -> str:
        """What the service has written so far."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode()

    def _run(self) -> None:
        while not self._end.is_set():
            process = subprocess.Popen(self._command, stderr=self._log, env=self._environment)
            try:
                self._watch(process)
            finally:
                process.kill()
                process.wait()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Returns when the process has ended."""
        heard_at: float | None = None  # before READY=1 the watchdog does not watch
        while process.poll() is None:
            try:
                told = self._socket.recv(4096).decode().splitlines()
            except TimeoutError:
                told = []
            if "READY=1" in told and heard_at is None:
                heard_at = time.monotonic()
                self.ready.append(process.pid)
            if "WATCHDOG=1" in told:
                heard_at = time.monotonic()
                self.signs_of_life += 1
            silence = 0.0 if heard_at is None else time.monotonic() - heard_at
            if self._end.is_set():
                process.terminate()
                process.wait(END_SECONDS)
            elif silence > self.watchdog_seconds:
                self.silences.append(silence)
                process.send_signal(signal.SIGABRT)
                process.send_signal(signal.SIGCONT)
                try:
                    process.wait(ABORT_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                process.wait(END_SECONDS)
