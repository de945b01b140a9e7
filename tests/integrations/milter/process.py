"""A milter in a process of its own: `throttle serve --milter`, or `serving.py`.

It knows the process, its address and its commands, not the protocol.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integrations.loopback import PATIENCE_SECONDS, wait_until
from integrations.milter.limits import limit

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).with_name("serving.py")
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class MilterProcess:
    """A running milter, whatever its program."""

    def __init__(self, address: str, *command: str, **streams: Any) -> None:
        self.address = address
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `kill`
        self.process = subprocess.Popen(
            command, stderr=self._errors, text=True, encoding="utf-8", env=ENVIRONMENT, **streams
        )

    def held(self) -> int:
        """What is open now."""
        raise NotImplementedError

    def wait_for_release(self) -> None:
        """Returns when nothing is held: libmilter sees the end of a connection a little later than its client."""
        wait_until(lambda: self.held() == 0)

    def log(self) -> str:
        """What it wrote on standard error so far."""
        self._errors.seek(0)
        return self._errors.read().decode()

    def suspend(self) -> None:
        """Stops all its threads, until it gets SIGCONT."""
        self.process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        wait_until(lambda: all(") T " in (task / "stat").read_text() for task in tasks.iterdir()))

    def kill(self) -> None:
        """Ends it as a crash does, and closes what is left of it here."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                stream.close()


#: Limits that refuse nothing, so that the metrics tell what is open under any policy.
WATCHED = "".join(
    limit(f"open-{counted}", f'per = "global"\nin_flight = 30000\ncount = "{counted}"\nmode = "shadow"')
    for counted in ("connections", "messages")
)


class ServeCommand(MilterProcess):
    """A running `throttle serve --milter`; `policy` is TOML, by default the built-in one."""

    def __init__(self, address: str, policy: str | None = None, *arguments: str) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="milter-"))
        self._metrics = self._directory / "metrics"
        (self._directory / "policy.toml").write_text(f"{policy}{WATCHED}")
        source = "inbound" if policy is None else str(self._directory / "policy.toml")
        command = [sys.executable, "-m", "throttle", "serve", "--milter", address, "--policy", source]
        super().__init__(address, *command, "--metrics", f"unix:{self._metrics}", *arguments)
        try:
            wait_until(lambda: "listening: as a milter" in self.log() or self.process.poll() is not None)
            assert self.process.poll() is None, self.log()
        except BaseException:
            self.kill()
            raise

    def held(self) -> int:
        """What is open now under all limits, of the key of each that holds most."""
        return self.metric("throttle_in_flight{.*}")

    def metric(self, name: str) -> int:
        """The sum of the metrics of a name, which is a regular expression."""
        with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as answer:
            client.connect(str(self._metrics))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            found = re.findall(rf"^{name} (\d+)", answer.read().decode(), re.MULTILINE)
        assert found
        return sum(map(int, found))

    def kill(self) -> None:
        super().kill()
        shutil.rmtree(self._directory, ignore_errors=True)  # a test may have killed it before


class Serving(MilterProcess):
    """A milter of `serving.py`, which obeys commands and can be given a fault."""

    def __init__(self, address: str, policy: str | None = None, *, broken: str | None = None, **arguments: Any) -> None:
        super().__init__(address, sys.executable, str(SCRIPT), address, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        asked = {"policy": policy, "broken": broken, "arguments": arguments}
        try:
            self.say(json.dumps(asked))
            assert self.heard() == "ready"
        except BaseException:
            self.kill()
            raise

    def held(self) -> int:
        """The slots that are held in flight."""
        self.say("held")
        return int(self.heard())

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def heard(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the milter has ended: {self.process.wait(PATIENCE_SECONDS)}\n{self.log()}"
        return json.loads(line)

    def stop(self) -> int:
        """Ends it as `throttle serve` ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def serving(address: str, policy: str | None = None, **how: Any) -> Iterator[Serving]:
    """A milter that runs until the end of the block; the arguments are those of `Serving`."""
    milter = Serving(address, policy, **how)
    try:
        yield milter
    finally:
        milter.kill()


@contextmanager
def served(address: str, policy: str | None = None, *arguments: str) -> Iterator[ServeCommand]:
    """`throttle serve --milter` until the end of the block; the arguments are those of `ServeCommand`."""
    milter = ServeCommand(address, policy, *arguments)
    try:
        yield milter
    finally:
        milter.kill()
