"""Runs aiosmtpd's own tests on our classes with a guard in every server, and if some fail, on its own classes, too.

    python tests/integrations/aiosmtpd/own_suite.py

The tests come with the installed package. They bind port 8025, so nothing else may, and they need what the extra
`servers` installs. As a pytest plugin, which the first run loads, the file puts our classes in place of aiosmtpd's.
Invariant: a test that passes on aiosmtpd's classes and not on ours makes the program fail.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from throttle import Throttle

if TYPE_CHECKING:
    from throttle import Decision


decisions = 0  # a run in which no guard was asked would show nothing


def replace_classes() -> None:
    """Puts guarded classes where aiosmtpd's tests look for its own, before they are imported."""
    controller: Any = importlib.import_module("aiosmtpd.controller")
    lmtp: Any = importlib.import_module("aiosmtpd.lmtp")
    smtp: Any = importlib.import_module("aiosmtpd.smtp")
    ours: Any = importlib.import_module("throttle.aiosmtpd")
    guard = Throttle(memory="64 MiB")
    plain = smtp.SMTP

    def count(_: Decision) -> None:
        global decisions
        decisions += 1

    class Guarded(ours.SMTP):  # type: ignore[misc]
        # Some tests ask for the 500 with which aiosmtpd bounces a message after a fault in a handler.
        handle_exception = plain.handle_exception

        def __init__(self, handler: Any, **parameters: Any) -> None:
            super().__init__(handler, **{"guard": guard, "on_decision": count, **parameters})

    def guarded(base: Any) -> type:
        class GuardedController(base):  # type: ignore[misc]
            def __init__(self, handler: Any, *args: Any, **parameters: Any) -> None:
                super().__init__(handler, *args, guard=guard, **parameters)

        return GuardedController

    smtp.SMTP = controller.SMTP = Guarded
    lmtp.LMTP.__bases__ = (Guarded,)
    # Some tests put a broken class into aiosmtpd.controller: our controllers look there, too.
    ours.SMTP = lambda *args, **parameters: controller.SMTP(*args, **parameters)
    for name in ("Controller", "UnixSocketController", "UnthreadedController", "UnixSocketUnthreadedController"):
        setattr(controller, name, guarded(getattr(ours, name)))


def pytest_sessionfinish() -> None:
    assert decisions, "the tests ran without a guard"


def run(*options: str) -> dict[str, bool]:
    """Returns which tests passed, by name."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.xml")
        Path(directory, "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-c", "pytest.ini", "-q", "--tb=short", "--timeout=60"]
        done = subprocess.run(
            [*command, f"--junit-xml={report}", "-p", "no:cacheprovider", *options, "--pyargs", "aiosmtpd.tests"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
            stdout=sys.stderr,
            check=False,
            timeout=900,
        )
        if done.returncode not in (0, 1):  # 1: tests failed
            sys.exit(f"pytest ended with {done.returncode}")
        return {
            f"{case.get('classname')}::{case.get('name')}": not len(case)  # a failed or skipped test has a child
            for case in ElementTree.parse(report).iter("testcase")
        }


def main() -> None:
    """Prints how many of the tests pass, and which of them only on aiosmtpd's classes."""
    guarded = run("-p", Path(__file__).stem)
    failed = [name for name, passed in guarded.items() if not passed]
    print(f"aiosmtpd's own tests: {len(guarded) - len(failed)} of {len(guarded)} pass on our classes")
    plain = run() if failed else {}
    lost = sorted(name for name in failed if plain[name])
    for name in lost:
        print(f"  only on its own: {name}")
    sys.exit(bool(lost) or not any(guarded.values()))


if __name__ == "__main__":
    main()
else:
    replace_classes()
