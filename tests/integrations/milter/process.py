"""A milter in a process of its own, as `serving.py` runs it.

It knows the process, its address and its commands, not the protocol.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integrations.loopback import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).with_name("serving.py")
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class Serving:
    """A running milter."""

    def __init__(
        self,
        address: str,
        policy: str | None = None,
        *,
        broken: str | None = None,
        quiet_hours: bool = False,
        **arguments: Any,
    ) -> None:
        self.address = address
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `kill`
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env=ENVIRONMENT,
        )
        asked = {"policy": policy, "broken": broken, "quiet_hours": quiet_hours, "arguments": arguments}
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

    def wait_for_release(self) -> None:
        """Returns when nothing is held: libmilter sees the end of a connection a little later than its client."""
        wait_until(lambda: self.held() == 0)

    def log(self) -> str:
        """What it wrote on standard error so far."""
        self._errors.seek(0)
        return self._errors.read().decode()

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def heard(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the milter has ended: {self.process.wait(PATIENCE_SECONDS)}\n{self.log()}"
        return json.loads(line)

    def suspend(self) -> None:
        """Stops all its threads, until it gets SIGCONT."""
        self.process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        wait_until(lambda: all(") T " in (task / "stat").read_text() for task in tasks.iterdir()))

    def stop(self) -> int:
        """Ends it as `throttle serve` ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """Ends it as a crash does, and closes what is left of it here."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                stream.close()


@contextmanager
def serving(address: str, policy: str | None = None, **how: Any) -> Iterator[Serving]:
    """A milter that runs until the end of the block; the arguments are those of `Serving`."""
    milter = Serving(address, policy, **how)
    try:
        yield milter
    finally:
        milter.kill()
