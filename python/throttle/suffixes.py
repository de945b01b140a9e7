"""Where the public suffix list comes from: tldextract's bundled snapshot, or a file of the operator's.

It finds and reads text; what the rules mean is the core's business.
Invariant: no network, and tldextract is never imported, which takes a third of a second and can reach for the network.
"""

import importlib.util
import os
from pathlib import Path

from throttle.errors import ThrottleError

SNAPSHOT = ".tld_set_snapshot"

# The list states them itself; without them `sender.registered` could not tell a registry's suffix from a company's.
SECTIONS = ("===BEGIN ICANN DOMAINS===", "===BEGIN PRIVATE DOMAINS===")


def read(path: str | os.PathLike[str] | None = None) -> str:
    """The text of the public suffix list at `path`, or without one of the snapshot that tldextract brings.

    Raises `ThrottleError` when there is no such file, when it is not UTF-8, or when it lacks one of the list's two
    sections.
    """
    source = bundled() if path is None else Path(path)
    try:
        text = source.read_text(encoding="utf-8")
    except OSError as error:
        raise ThrottleError(f"suffix list {source}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ThrottleError(f"suffix list {source}: not UTF-8 at byte {error.start}") from error
    for section in SECTIONS:
        if section not in text:
            raise ThrottleError(
                f"suffix list {source}: no line reads // {section}; is it the list that publicsuffix.org publishes?"
            )
    return text


def bundled() -> Path:
    """The snapshot inside the installed tldextract.

    Raises `ThrottleError` when tldextract is not installed or came without its snapshot.
    """
    spec = importlib.util.find_spec("tldextract")  # of a top-level package: looks for it, does not run it
    if spec is None:
        raise ThrottleError(
            "the suffix list comes with tldextract, which is not installed: pip install tldextract, or give the path "
            "of a list"
        )
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    for folder in folders:
        if (folder / SNAPSHOT).is_file():
            return folder / SNAPSHOT
    where = ", ".join(str(folder) for folder in folders) or spec.origin
    raise ThrottleError(
        f"tldextract at {where} came without its suffix list ({SNAPSHOT}): reinstall it, or give the path of a list"
    )
