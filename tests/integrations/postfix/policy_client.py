"""A client of Postfix's policy delegation with plain sockets, for tests."""

from __future__ import annotations

import itertools
import socket
from typing import Self

DUNNO = "DUNNO"
SECONDS = 20.0

_instances = itertools.count(1)

#: Every attribute of Postfix 3.7, in its order, as a client without TLS and AUTH has them at RCPT.
ATTRIBUTES = {
    "request": "smtpd_access_policy",
    "protocol_state": "RCPT",
    "protocol_name": "ESMTP",
    "client_address": "192.0.2.7",
    "client_name": "unknown",
    "client_port": "41234",
    "reverse_client_name": "unknown",
    "server_address": "192.0.2.25",
    "server_port": "25",
    "helo_name": "mx.example.org",
    "sender": "joe@example.org",
    "recipient": "box@example.net",
    "recipient_count": "0",
    "queue_id": "",
    "instance": "4d2.656e6f00.1.0",
    "size": "0",
    "etrn_domain": "",
    "stress": "",
    "sasl_method": "",
    "sasl_username": "",
    "sasl_sender": "",
    "ccert_subject": "",
    "ccert_issuer": "",
    "ccert_fingerprint": "",
    "ccert_pubkey_fingerprint": "",
    "encryption_protocol": "",
    "encryption_cipher": "",
    "encryption_keysize": "0",
    "policy_context": "",
}


def request(**attributes: str | int) -> bytes:
    """One request; `attributes` replace those of `ATTRIBUTES`."""
    lines = [f"{name}={value}\n" for name, value in (ATTRIBUTES | attributes).items()]
    return ("".join(lines) + "\n").encode("utf-8", "surrogateescape")


def instance() -> str:
    """The name of another transaction."""
    return f"4d2.656e6f00.1.{next(_instances):x}"


class PolicyClient:
    """One policy connection."""

    def __init__(self, address: str) -> None:
        kind, _, where = address.partition(":")
        if kind == "unix":
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(SECONDS)
            self.socket.connect(where)
        else:
            host, _, port = where.rpartition(":")
            self.socket = socket.create_connection((host, int(port)), timeout=SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, **attributes: str | int) -> str:
        """Sends one request and returns the action that answers it."""
        self.socket.sendall(request(**attributes))
        return self.answer()

    def answer(self) -> str:
        """The next action."""
        got = b""
        while not got.endswith(b"\n\n"):
            part = self.socket.recv(4096)
            if not part:
                raise ConnectionError(f"closed after {got!r}")
            got += part
        assert got.startswith(b"action="), got
        assert got.count(b"\n") == 2, got
        return got[len(b"action=") : -2].decode("ascii")

    def rest(self) -> bytes:
        """All that comes until the service closes the connection."""
        parts = []
        try:
            while part := self.socket.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts)


def transaction(client: PolicyClient, *, lists: int, recipients: int, name: str, **attributes: str | int) -> list[str]:
    """The actions of one message whose Postfix lists the service in `lists` restrictions at RCPT, and in those of DATA
    and the end of the data.
    """
    actions = []
    for number in range(recipients):
        actions += [client.ask(instance=name, recipient=f"box{number}@example.net", **attributes) for _ in range(lists)]
    for state in ("DATA", "END-OF-MESSAGE"):
        actions.append(
            client.ask(
                protocol_state=state,
                instance=name,
                recipient="" if recipients > 1 else "box0@example.net",
                recipient_count=recipients,
                **({"size": 1000} if state == "END-OF-MESSAGE" else {}) | attributes,
            )
        )
    return actions
