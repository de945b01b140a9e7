"""A process that takes a share of one processor and asks nobody, until its standard input ends.

python tests/control/bystander.py SHARE
"""

from __future__ import annotations

import sys
import threading
import time

PIECE_SECONDS = 0.001
"""How long it computes at once, about as long as an answer of the control socket takes."""


def main(share: float) -> None:
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    print("begun", flush=True)
    while not ended.wait(PIECE_SECONDS * (1 - share) / share):
        begun = time.thread_time()
        while time.thread_time() - begun < PIECE_SECONDS:
            pass
    print("{}")


if __name__ == "__main__":
    main(float(sys.argv[1]))
