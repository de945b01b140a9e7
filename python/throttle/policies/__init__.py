"""Policies that come with the library: TOML files in this directory, each number with its reason."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from throttle import Policy

SUFFIX = ".toml"


def names() -> list[str]:
    """Returns the names of all built-in policies."""
    return sorted(entry.name.removesuffix(SUFFIX) for entry in files(__name__).iterdir() if entry.name.endswith(SUFFIX))


def read(name: str) -> str:
    """Returns the text of a policy.

    Raises:
        ValueError: there is no such policy.
    """
    if name not in names():
        raise ValueError(f"built-in policy: found {name!r}; allowed: {', '.join(names())}")
    return files(__name__).joinpath(name + SUFFIX).read_text(encoding="utf-8")


def load(policy: str) -> Policy:
    """Returns the built-in policy of that name, or reads the file at that path.

    Raises:
        PolicyError: it is wrong.
        OSError: the file cannot be read.
    """
    from throttle import Policy

    return Policy.builtin(policy) if policy in names() else Policy.from_file(policy)
