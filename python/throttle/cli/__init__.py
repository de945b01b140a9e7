"""The command `throttle`.

This file knows no command. It knows how the command ends when something is wrong.
Invariant: bad input ends with one clear message on stderr and exit code 2, never with a traceback.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from throttle.printable import printable

if TYPE_CHECKING:
    from throttle import Policy

BAD_INPUT = 2


def main() -> None:
    """Entry point of the command and of `python -m throttle`."""
    try:
        from throttle.cli.app import app
    except ModuleNotFoundError as error:
        missing(error, "the command line", "cli")
    app(prog_name="throttle")


def fail(message: object, code: int = BAD_INPUT) -> NoReturn:
    """Say what is wrong and end."""
    sys.stderr.write(f"throttle: {printable(str(message))}\n")
    sys.exit(code)


def load(policy: str) -> Policy:
    """Returns the built-in policy of that name, or reads the file at that path."""
    from throttle import Policy, policies

    return Policy.builtin(policy) if policy in policies.names() else Policy.from_file(policy)


def missing(error: ModuleNotFoundError, what: str, extra: str) -> NoReturn:
    """A package of an extra is not installed; one of our own that is not found is a fault, and raised."""
    if error.name is None or error.name.partition(".")[0] == "throttle":
        raise error
    fail(f"{what} needs {error.name}, which is not installed: pip install 'mailthrottle[{extra}]'")
