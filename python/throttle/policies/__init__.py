"""Policies that come with the library: TOML files in this directory, each number with its reason."""

from importlib.resources import files

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
