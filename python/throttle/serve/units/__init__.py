"""The unit files of systemd; `throttle serve --print-unit` prints them."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

NAMES = ("service", "socket")
COMMAND = "/usr/local/bin/throttle"


def unit(name: str) -> str:
    """Returns `throttle.service` or `throttle.socket`, with the command of this installation."""
    text = files(__name__).joinpath(f"throttle.{name}").read_text(encoding="utf-8")
    installed = Path(sys.executable).with_name("throttle")
    return text.replace(COMMAND, str(installed)) if installed.exists() else text
