"""Runs aiosmtpd's own tests on our classes with a guard in every server.

    python tests/integrations/aiosmtpd/own_suite.py

The tests come with the installed package. They bind port 8025, so nothing else may, and they need what the extra
`servers` installs. As a pytest plugin, which the run loads, the file puts our classes in place of aiosmtpd's.
Invariant: a test that fails, or fewer than 500 that pass, make the program fail.
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

LEAST_PASSED = 500  # aiosmtpd 1.4.6 has 557
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
        # The one method that is not ours: some tests ask for the 500 with which aiosmtpd bounces a message after a
        # fault in a handler.
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


def main() -> None:
    """Prints how many of the tests pass."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.xml")
        Path(directory, "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-c", "pytest.ini", "-q", "--tb=short", "--timeout=60"]
        plugins = ["-p", "no:cacheprovider", "-p", Path(__file__).stem]
        done = subprocess.run(
            [*command, f"--junit-xml={report}", *plugins, "--pyargs", "aiosmtpd.tests"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
            stdout=sys.stderr,
            check=False,
            timeout=900,
        )
        if done.returncode not in (0, 1):  # 1: tests failed
            sys.exit(f"pytest ended with {done.returncode}")
        cases = list(ElementTree.parse(report).iter("testcase"))
    passed = sum(not len(case) for case in cases)  # a failed or skipped test has a child
    print(f"aiosmtpd's own tests: {passed} of {len(cases)} pass on our classes")
    sys.exit(bool(done.returncode) or passed < LEAST_PASSED)


if __name__ == "__main__":
    main()
else:
    replace_classes()
