"""Senders for benchmarks: a million of them, in turn, under listed top-level domains, nearly all admitted by
``inbound``.

It knows no clock. Invariant: whoever sends comes back only after all the others have sent.
"""

from collections.abc import Iterator

from throttle import Envelope

#: Client address, HELO name and reverse-path.
Sender = tuple[str, str, str]

SENDERS = 1_000_000

#: One message each this many seconds: 2,000 a second, so that a sender comes back after 500 s.
#: By the machine's own clock it would come back after two, as no million senders do.
#: Stating the time costs a check some 40 ns, the sum included.
PACE = 0.0005

#: When it all begins, in Unix seconds.
START = 1_600_000_000.0

RECIPIENT = "in@box.com"


def senders(count: int = SENDERS) -> list[Sender]:
    """Client address, HELO name and reverse-path of ``count`` senders: 28,000 networks (/24), each with organisations
    of its own.
    """
    made = []
    for number in range(count):
        network = number % 4_000
        organisation = f"org{number // 3}.com"
        client = f"{20 + network // 250}.{network % 250}.{number % 7}.{1 + number // 4_000 % 200}"
        made.append((client, f"mx{number % 3}.{organisation}", f"user{number % 11}@mx{number % 3}.{organisation}"))
    return made


def in_batches(made: list[Sender], size: int) -> Iterator[list[Sender]]:
    """Round and round, ``size`` of them at a time; ``size`` divides their number."""
    while True:
        for start in range(0, len(made), size):
            yield made[start : start + size]


def envelope(sender: Sender) -> Envelope:
    """What a policy server knows at RCPT."""
    client, helo, mail_from = sender
    return Envelope(client_ip=client, helo=helo, mail_from=mail_from, rcpt_to=RECIPIENT)
