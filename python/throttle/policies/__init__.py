"""Policies that come with the library: TOML files in this directory, each number with its reason."""

from importlib.resources import files

from throttle.errors import ThrottleError

SUFFIX = ".toml"


def names() -> list[str]:
    """Every policy that there is."""
    return sorted(entry.name.removesuffix(SUFFIX) for entry in files(__name__).iterdir() if entry.name.endswith(SUFFIX))


def read(name: str) -> str:
    """The text of a policy.

    Raises:
        ThrottleError: there is none of that name.
    """
    if name not in names():
        raise ThrottleError(f"built-in policy: found {name!r}; allowed: {', '.join(names())}")
    return files(__name__).joinpath(name + SUFFIX).read_text(encoding="utf-8")
