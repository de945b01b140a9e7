"""The process of a milter under test: `throttle.milter.run` at an address, and its guard's counts on request.

Run as `python serving.py ADDRESS < one JSON object`, then one command a line on standard input:
`held` prints how many slots are in use in the in-flight tables, and `reload JSON` loads another policy, a JSON string.
The end of the input stops the process.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from typing import Any

from throttle import Policy, Throttle
from throttle.milter import run


class Broken:
    """A guard with a fault, at the step that it is told."""

    def __init__(self, guard: Throttle, step: str) -> None:
        self.guard, self.step = guard, step

    def session(self, **arguments: Any) -> Any:
        if self.step == "session":
            raise RuntimeError("fault")
        return BrokenSession(self.guard.session(**arguments), self.step)


class BrokenSession:
    def __init__(self, session: Any, step: str) -> None:
        self.session, self.step = session, step

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("fault")

        return fail if name == self.step else getattr(self.session, name)


def say(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    policy = Policy.parse(asked["policy"]) if asked.get("policy") else Policy.builtin()
    guard = Throttle(policy)
    stop = threading.Event()

    def obey() -> None:
        for line in sys.stdin:
            if line.strip() == "held":
                say(held(guard))
            elif line.startswith("reload "):
                guard.reload(Policy.parse(json.loads(line[7:])))
                say("reloaded")
        stop.set()

    threading.Thread(target=obey, daemon=True).start()
    signal.signal(signal.SIGHUP, lambda *_: say("hung up"))
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    broken: Any = Broken(guard, asked["broken"]) if asked.get("broken") else guard
    run(broken, sys.argv[1], stop=stop, on_ready=lambda: say("ready"), **asked.get("arguments", {}))


def held(guard: Throttle) -> int:
    """The slots in use of everything that is held in flight."""
    return sum(table.used for table in guard.tables() if table.table.startswith(("in flight per", "permits")))


if __name__ == "__main__":
    main()
