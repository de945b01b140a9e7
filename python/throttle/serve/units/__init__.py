"""The unit files of systemd; `throttle serve --print-unit` prints them."""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from throttle.serve.address import AddressError, ListenAddress

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("service", "socket")
COMMAND = "/usr/local/bin/throttle"
OTHER_MEMORY_BYTES = 768 << 20
"""What a service needs in addition to its counters, with room to spare: 100 MB were measured under attack."""

LEAST_MEMORY_BYTES = 1 << 30
LEAST_FILES = 8192

OTHER_FILES = 128
"""What a milter has open in addition to its connections, 64 clients of metrics and 8 of control among them."""

DIRECTORY = "/run/throttle/"
"""What systemd makes for the sockets of the milter, of control and of metrics. The service can write nowhere else."""

_OF_THE_SOCKET = re.compile(
    r"^# (?:throttle for|Install both).*\n|^(?:Requires|After)=throttle\.socket\n", re.MULTILINE
)


def unit(
    name: str, options: Sequence[str] = ("--postfix", "systemd", "--policy", "inbound"), memory_bytes: int = 0
) -> str:
    """Returns `throttle.service` or `throttle.socket`, with the command of this installation and its options.

    `memory_bytes` are those of the counters: they lie within what the unit lets the process have.

    Raises:
        ValueError: the address of `--metrics` cannot be read, or the socket of control or of metrics lies where the
            service cannot write.
    """
    text = files(__name__).joinpath(f"throttle.{name}").read_text(encoding="utf-8")
    if name == "socket":
        return text
    installed = Path(sys.executable).with_name("throttle")
    if "--metrics" in options:
        text = _with_metrics(text, options)
    if "--control" in options:
        text = _with_control(text, options)
    most = max(memory_bytes + OTHER_MEMORY_BYTES, LEAST_MEMORY_BYTES)
    text = _replaced(text, "MemoryMax=.*", f"MemoryMax={most >> 20}M")
    command = " ".join(map(_word, [str(installed) if installed.exists() else COMMAND, "serve", *options]))
    return _replaced(text, "ExecStart=.*", f"ExecStart={command}")


def milter_unit(address: ListenAddress, options: Sequence[str], memory_bytes: int = 0, permits: int = 0) -> str:
    """Returns the service unit of a milter at this address.

    Each connection holds a permit and is an open file, so the unit allows as many files as there are permits.

    Raises:
        ValueError: its socket file lies where the service cannot write.
    """
    text = _OF_THE_SOCKET.sub("", unit("service", options, memory_bytes))
    text = _replaced(text, "asked by Postfix", "as a milter")
    text = _replaced(text, "LimitNOFILE=.*", f"LimitNOFILE={max(permits + OTHER_FILES, LEAST_FILES)}")
    return _with_address(text, "--milter", address)


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
    return _replaced(text, "DynamicUser=yes", f"DynamicUser=yes\nGroup={_word(group)}")


def _with_metrics(text: str, options: Sequence[str]) -> str:
    try:
        address = ListenAddress.parse_host_port(options[options.index("--metrics") + 1])
    except AddressError as error:
        raise ValueError(f"--metrics: {error}") from error
    return _with_address(text, "--metrics", address)


def _with_directory(text: str) -> str:
    if "RuntimeDirectory=" in text:
        return text
    return _replaced(text, "DynamicUser=yes", "DynamicUser=yes\nRuntimeDirectory=throttle")


def _with_address(text: str, option: str, address: ListenAddress) -> str:
    """The unit of a service that listens there. Other machines reach it only if the address is not this machine's."""
    if address.path:
        if Path(address.path).parent != Path(DIRECTORY):
            allowed = f"unix:{DIRECTORY}NAME, or a host and a port"
            raise ValueError(f"{option}: found {address.text}; allowed in a unit: {allowed}")
        return _with_directory(text)
    text = text.replace("PrivateNetwork=yes", "IPAddressAllow=localhost")  # not again for a second address
    if not _is_loopback(address.host):
        text = _replaced(text, "IPAddressAllow=.*", "IPAddressAllow=any")
    return _replaced(text, "RestrictAddressFamilies=.*", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6")


def _is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _replaced(text: str, pattern: str, by: str) -> str:
    """The text of a unit file with something else in one place, which it must have."""
    text, count = re.subn(pattern, lambda _: by, text, count=1)
    if count != 1:
        raise AssertionError(f"{pattern}: not in the unit file")
    return text


def _word(text: str) -> str:
    """One word of a command line of systemd (systemd.service(5)): it expands `%` and `$`, and knows double quotes."""
    text = text.replace("%", "%%").replace("$", "$$")
    if not re.search(r"[\s\"\'\\;]", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
