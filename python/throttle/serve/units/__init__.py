"""The unit files of systemd; `throttle serve --print-unit` prints them."""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from throttle.serve.address import ListenAddress

NAMES = ("service", "socket")
COMMAND = "/usr/local/bin/throttle"
OTHER_MEMORY_BYTES = 768 << 20
"""What a service needs in addition to its counters, with room to spare: 100 MB were measured under attack."""

LEAST_MEMORY_BYTES = 1 << 30
LEAST_FILES = 8192

OTHER_FILES = 64
"""What a milter has open in addition to its connections, with room to spare."""

DIRECTORY = "/run/throttle/"
"""What systemd makes for the sockets of the milter and of control. Nothing else can be written to."""

_OF_THE_SOCKET = re.compile(
    r"^# (?:throttle for|Install both).*\n|^(?:Requires|After)=throttle\.socket\n", re.MULTILINE
)


def unit(
    name: str, options: Sequence[str] = ("--postfix", "systemd", "--policy", "inbound"), memory_bytes: int = 0
) -> str:
    """Returns `throttle.service` or `throttle.socket`, with the command of this installation and its options.

    `memory_bytes` are those of the counters: they lie within what the unit lets the process have.

    Raises:
        ValueError: the control socket lies where the service cannot write.
    """
    text = files(__name__).joinpath(f"throttle.{name}").read_text(encoding="utf-8")
    installed = Path(sys.executable).with_name("throttle")
    if "--metrics" in options:
        text = _with_loopback(text)
    if "--control" in options:
        text = _with_control(text, options)
    most = memory_bytes + OTHER_MEMORY_BYTES
    text = re.sub(r"^MemoryMax=.*", f"MemoryMax={max(most, LEAST_MEMORY_BYTES) >> 20}M", text, flags=re.MULTILINE)
    command = " ".join(map(_word, [str(installed) if installed.exists() else COMMAND, "serve", *options]))
    return re.sub(r"^ExecStart=.*", lambda _: f"ExecStart={command}", text, flags=re.MULTILINE)


def milter_unit(address: ListenAddress, options: Sequence[str], memory_bytes: int = 0, permits: int = 0) -> str:
    """Returns the service unit of a milter at this address.

    Each connection holds a permit and is an open file, so the unit allows as many files as there are permits.

    Raises:
        ValueError: its socket file lies where the service cannot write.
    """
    text = _OF_THE_SOCKET.sub("", unit("service", options, memory_bytes)).replace("asked by Postfix", "as a milter")
    text = text.replace("LimitNOFILE=8192\n", f"LimitNOFILE={max(permits + OTHER_FILES, 8192)}\n")
    if not address.path:
        return _with_loopback(text)
    if Path(address.path).parent != Path(DIRECTORY):
        raise ValueError(f"--milter: found {address.text}; allowed in a unit: unix:{DIRECTORY}NAME, or inet:HOST:PORT")
    return _with_directory(text)


def _with_control(text: str, options: Sequence[str]) -> str:
    """The unit of a service with a control socket. The service makes its directory, which only its users may enter."""
    path = options[options.index("--control") + 1]
    if Path(path).parent.parent != Path(DIRECTORY):
        raise ValueError(f"--control: found {path}; allowed in a unit: {DIRECTORY}control/socket")
    text = _with_directory(text)
    if "--control-group" not in options:
        return text
    # The service may give its socket to no other group than its own, and in its user namespace sees no other.
    group = options[options.index("--control-group") + 1]
    return text.replace("DynamicUser=yes\n", f"DynamicUser=yes\nGroup={_word(group)}\n")


def _with_directory(text: str) -> str:
    if "RuntimeDirectory=" in text:
        return text
    return text.replace("DynamicUser=yes\n", "DynamicUser=yes\nRuntimeDirectory=throttle\n")


def _with_loopback(text: str) -> str:
    """The unit of a service that also listens on an address of this machine."""
    text = re.sub(r"^PrivateNetwork=yes\n", "IPAddressAllow=localhost\n", text, flags=re.MULTILINE)
    return re.sub(
        r"^RestrictAddressFamilies=.*", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", text, flags=re.MULTILINE
    )


def _word(text: str) -> str:
    """One word of a command line of systemd (systemd.service(5)): it expands `%` and `$`, and knows double quotes."""
    text = text.replace("%", "%%").replace("$", "$$")
    if not re.search(r"[\s\"\'\\;]", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
