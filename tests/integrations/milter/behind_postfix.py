"""A Postfix that asks a milter, with the lines of ``main.cf`` that docs/milter.md gives, and what its clients say."""

from __future__ import annotations

import contextlib
import itertools
import smtplib
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from integrations.loopback import LOOPBACK, free_port
from integrations.milter.process import MilterProcess, served, serving
from integrations.private_postfix import PrivatePostfix, lines_of_page, private_postfix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integrations.sent_outage import SentOutage


class Servers(NamedTuple):
    """A Postfix and the milter that it asks."""

    postfix: PrivatePostfix
    milter: MilterProcess


@contextlib.contextmanager
def servers(
    policy: str | None = None, *arguments: str, more: str = "", sasl: str = "", broken: dict[str, str] | None = None
) -> Iterator[Servers]:
    """A Postfix that asks `throttle serve --milter` with these arguments.

    `more` are further lines of main.cf, `sasl` configures Cyrus SASL. `broken` has the arguments of a `Serving` with a
    fault, which then takes the place of the command.
    """
    address = f"inet:{LOOPBACK}:{free_port()}"
    lines = lines_of_page("milter.md", "main.cf", "inet:127.0.0.1:10045", address)
    started = served(address, policy, *arguments) if broken is None else serving(address, policy, **broken)
    with started as milter:
        with private_postfix(lines + more, sasl) as postfix:
            yield Servers(postfix, milter)


class Client(smtplib.SMTP):
    """A client whose address Postfix takes from XCLIENT; `greeting` is the code with which it is then greeted."""

    connections = itertools.count()

    def __init__(self, port: int, address: str, *, helo: str = "mx.sender.example") -> None:
        super().__init__(LOOPBACK, port, local_hostname=helo, timeout=60)
        self.ehlo(f"proxy{next(self.connections)}.example")
        self.become(address)

    def become(self, address: str, name: str = "[UNAVAILABLE]") -> None:
        family = "IPV6:" if ":" in address else ""
        self.greeting, _ = self.docmd("XCLIENT", f"NAME={name} ADDR={family}{address} PORT=50000")


def sent(
    client: smtplib.SMTP, sender: str, header: str = "Subject: hi", to: str = "box1@quickbox.email"
) -> tuple[str, int, str]:
    """The last step of a message, with its answer."""
    steps: dict[str, Callable[[], tuple[int, bytes]]] = {
        "MAIL": lambda: client.docmd("MAIL", f"FROM:{sender}"),
        "RCPT": lambda: client.rcpt(to),
        "DATA": lambda: client.data(f"{header}\r\n\r\nhello\r\n".encode()),
    }
    for step, ask in steps.items():
        code, text = ask()
        if code >= 400 or step == "DATA":
            return step, code, text.decode()
    raise AssertionError


def assert_each_accepted_message_is_delivered_once_and_none_bounced(
    outage: SentOutage, postfix: PrivatePostfix
) -> None:
    outage.assert_only_the_flood_was_refused("MAIL", "451 4.7.28")
    assert postfix.delivered() == Counter(outage.accepted())
    assert " 4.3.5 " not in postfix.log
