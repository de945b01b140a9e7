"""Senders for benchmarks: a million of them, in turn, under listed top-level domains, nearly all admitted by ``inbound``."""

from collections.abc import Iterator

from throttle import Envelope

SENDERS = 1_000_000

#: One message each this many seconds: 2,000 a second, so that a sender comes back after 500 s.
PACE = 0.0005


def senders(count: int = SENDERS) -> list[tuple[str, str, str]]:
    """Client address, HELO name and reverse-path of ``count`` senders: 4,000 networks, each with organisations of its own."""
    made = []
    for number in range(count):
        network = number % 4_000
        organisation = f"org{number // 3}.com"
        client = f"{20 + network // 250}.{network % 250}.{number % 7}.{1 + number // 4_000 % 200}"
        made.append((client, f"mx{number % 3}.{organisation}", f"user{number % 11}@mx{number % 3}.{organisation}"))
    return made


def in_turn(made: list[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    """Round and round."""
    while True:
        yield from made


def envelope(sender: tuple[str, str, str]) -> Envelope:
    """What a policy server knows at RCPT."""
    client, helo, mail_from = sender
    return Envelope(client_ip=client, helo=helo, mail_from=mail_from, rcpt_to="in@box.com")
