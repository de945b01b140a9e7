"""The command `throttle`.

This file knows no command. It knows how the command ends when something is wrong.
Invariant: bad input ends with one clear message on stderr and exit code 2, never with a traceback.
"""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from throttle.printable import printable

BAD_INPUT = 2


def main() -> None:
    """Entry point of the command and of `python -m throttle`."""
    if sys.argv[1:2] == ["serve"]:  # until it can load its policies again, SIGHUP would end it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        from throttle.cli.app import app
    except ModuleNotFoundError as error:
        missing(error, "the command line", "cli")
    app(prog_name="throttle")


def fail(message: object, code: int = BAD_INPUT) -> NoReturn:
    """Say what is wrong and end."""
    sys.stderr.write(f"throttle: {printable(str(message))}\n")
    sys.exit(code)


def missing(error: ModuleNotFoundError, what: str, extra: str) -> NoReturn:
    """A package of an extra is not installed; one of our own that is not found is a fault, and raised."""
    if error.name is None or error.name.partition(".")[0] == "throttle":
        raise error
    fail(f"{what} needs {error.name}, which is not installed: pip install 'mailthrottle[{extra}]'")
