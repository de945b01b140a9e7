"""The Rust that the workspace promises is enough for everything it builds on.

Clippy holds our own code to it (`incompatible_msrv`); this holds the locked dependencies to it,
with whatever toolchain is here.
"""

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def version(text: str) -> tuple[int, int]:
    """Major and minor: a patch release brings no feature."""
    major, minor, *_ = text.split(".")
    return int(major), int(minor)


def host() -> str:
    """This machine's target, because what only other systems build on need not be here."""
    (line,) = (line for line in said("rustc", "-vV").splitlines() if line.startswith("host: "))
    return line.removeprefix("host: ")


def said(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_no_locked_dependency_needs_a_newer_rust_than_promised() -> None:
    packages = json.loads(said("cargo", "metadata", "--locked", "--format-version=1", "--filter-platform", host()))[
        "packages"
    ]
    promised = next(package["rust_version"] for package in packages if package["name"] == "throttle-core")
    newer = {
        f"{package['name']} {package['version']}": package["rust_version"]
        for package in packages
        if package["rust_version"] and version(package["rust_version"]) > version(promised)
    }
    assert newer == {}
