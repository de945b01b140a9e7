"""`throttle serve` as a process of its own, for tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from pathlib import Path

START_SECONDS = 60.0
END_SECONDS = 20.0


class ServeProcess:
    """A running `throttle serve`, as a context manager that ends it."""

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        postfix: str = "inet:127.0.0.1:0",
        program: tuple[str, ...] = ("-m", "throttle"),
        **environment: str,
    ) -> None:
        self.log_path = directory / "serve.log"
        with self.log_path.open("ab") as log:
            self._offset = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, *program, "serve", "--postfix", postfix, *arguments],
                stderr=log,
                env=os.environ | environment,
            )
        self.address = ""
        try:
            self.address = self.wait_for(r"listening.*Postfix on (\S+)")[1].rstrip('",')
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise

    @property
    def port(self) -> int:
        """The port of an `inet:` address."""
        return int(self.address.rpartition(":")[2])

    def kill(self) -> None:
        """Kills it, as a crash would."""
        self.process.kill()
        self.process.wait(END_SECONDS)

    def log(self) -> str:
        """What it has written so far."""
        return self.log_path.read_bytes()[self._offset :].decode()

    def wait_for(self, pattern: str, seconds: float = START_SECONDS) -> re.Match[str]:
        """Waits until the log has a match."""
        end = time.monotonic() + seconds
        while True:
            match = re.search(pattern, self.log())
            if match:
                return match
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"no {pattern!r} in the log:\n{self.log()}")
            time.sleep(0.02)  # another process writes it

    def processor_seconds(self) -> float:
        """The processor time that it has used so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def resident_bytes(self) -> int:
        """Its resident memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


def policy_file(directory: Path, text: str) -> str:
    """Writes a policy and returns its path."""
    path = directory / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)
