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

    if policy in names():
        return Policy.builtin(policy)
    try:
        return Policy.from_file(policy)
    except FileNotFoundError as error:
        if error.filename == policy and not policy.endswith(SUFFIX):
            error.strerror = f"{error.strerror}; the built-in policies are {', '.join(names())}"
        raise
