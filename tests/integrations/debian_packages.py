"""Programs out of Debian's packages, without installing them: installing another mail server would remove Postfix.

It needs apt and the network. It knows no program.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def extract(root: Path, *packages: str) -> None:
    """Downloads packages and unpacks them below a directory."""
    done = subprocess.run(
        ["apt-get", "download", *packages], cwd=root, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    for package in root.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, root], check=True)
