"""How long recipients wait at a Postfix, seen by a process of its own, which has nothing else to do.

    python -m integrations.witness PORT ASKED UNASKED

It sends over ASKED connections about which Postfix asks the service, and over UNASKED others about which it does not.
When its standard input ends, it prints all waits as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Self

from integrations.private_postfix import MYNETWORKS, RECEIVER
from integrations.smtp_client import SmtpClient

PAUSE_SECONDS = 0.02


class Witness:
    """A context manager that runs the process; after the block it has the waits, in seconds."""

    def __init__(self, port: int, asked: int = 4, unasked: int = 4) -> None:
        self.asked: list[float] = []
        self.unasked: list[float] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "integrations.witness", *map(str, (port, asked, unasked))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        printed = self._process.communicate(timeout=60)[0]
        assert self._process.returncode == 0
        self.asked, self.unasked = json.loads(printed)


def main(port: int, asked: int, unasked: int) -> None:
    ended, numbers = threading.Event(), count()
    waits: tuple[list[float], list[float]] = ([], [])

    def send(kind: int) -> None:
        while not ended.wait(PAUSE_SECONDS):
            number = next(numbers)
            with SmtpClient(port) as client:
                # The service is not asked about mynetworks. Each other client has its own network and organisation.
                client.xclient(MYNETWORKS if kind else f"198.{18 + number // 256 % 2}.{number % 256}.1", 2000)
                client.say(f"EHLO w{number}.com")
                client.say(f"MAIL FROM:<joe@w{number}.com>")
                reply = client.say(f"RCPT TO:<box@{RECEIVER}>")
                assert reply.code == 250, reply
                waits[kind].append(reply.seconds)

    with ThreadPoolExecutor(asked + unasked) as pool:
        all_sent = [pool.submit(send, kind) for kind in [0] * asked + [1] * unasked]
        sys.stdin.read()
        ended.set()
    for sent in all_sent:
        sent.result()
    print(json.dumps(waits))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
