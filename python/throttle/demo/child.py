"""A child process and the line protocol spoken with it: one word in, one JSON object out.

It knows nothing of mail. Both ends are here: `Child` for the parent, `serve` for the process it starts.
Invariant: a child never outlives its parent (end of input ends it) and no wait is without a limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ANSWER_SECONDS = 30.0


class ChildFailedError(RuntimeError):
    """A child died or did not answer in time; the text holds the end of what it wrote on stderr."""


class Child:
    """`python -m module arguments…`, as a context manager; its first answer says that it is ready."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.name = " ".join([module, *arguments[:1]])
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            bufsize=1,
        )
        self._usage = psutil.Process(self._process.pid)
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(ANSWER_SECONDS)
        for pipe in (self._process.stdin, self._complaints):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def ask(self, command: str, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """Send a command and wait for its answer, at most `seconds`."""
        if self._process.stdin is not None:
            try:
                self._process.stdin.write(f"{command}\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                raise self._failure("died") from None
        return self.answer(seconds)

    def answer(self, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The next answer; without a command before it only the first one, which says that the child is ready."""
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise self._failure(f"gave no answer within {seconds:.0f} s") from None
        if line is None:
            raise self._failure("died")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def resident_bytes(self) -> int:
        """Resident memory of the child, seen from outside."""
        try:
            return int(self._usage.memory_info().rss)
        except psutil.Error:
            raise self._failure("died") from None

    def _read(self) -> None:
        if self._process.stdout is not None:
            with self._process.stdout as lines:
                for line in lines:
                    self._answers.put(line)
        self._answers.put(None)

    def _failure(self, what: str) -> ChildFailedError:
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip()[-2000:]
        return ChildFailedError(f"{self.name} {what}" + (f"; it said: {said}" if said else ""))


def ignore_interrupts() -> None:
    """Ctrl-C reaches the whole process group; the parent alone decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def say(answer: Mapping[str, Any]) -> None:
    """One answer to the parent."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def serve(commands: Mapping[str, Callable[[], Mapping[str, Any]]]) -> None:
    """Answer commands in a thread of their own until the parent is gone, which ends the process."""

    def loop() -> None:
        with contextlib.suppress(BrokenPipeError):  # the parent ended before it was answered
            for line in sys.stdin:
                say(commands[line.strip()]())
        os._exit(0)  # nothing of a child is worth keeping without its parent

    threading.Thread(target=loop, daemon=True).start()
