"""How large messages are: laws of their sizes in octets, each as a table of its quantiles.

Sizes of mail follow a log-normal law with a long tail: most letters have some tens of kilobytes, a few have an
attachment of the size that servers just take. Medians and spreads here are assumptions, to the order of magnitude.
The largest sizes are facts: Postfix takes 10,240,000 octets unless it is told otherwise (`message_size_limit`); Gmail
takes attachments of 25 MB, which are 34 MB in base64; Exchange Online sends 35 MB at most.

A table makes a draw as cheap as an index. Invariant: a table has ``ENTRIES`` sizes in increasing order.
"""

from __future__ import annotations

from math import exp
from statistics import NormalDist

ENTRY_BITS = 12
ENTRIES = 1 << ENTRY_BITS

Sizes = tuple[int, ...]

POSTFIX_DEFAULT = 10_240_000
ATTACHMENTS_OF_GMAIL = 34_000_000
EXCHANGE_ONLINE = 35_000_000


def log_normal(median: int, spread: float, most: int) -> Sizes:
    """Sizes of which half are below ``median``, about two thirds within a factor e^``spread`` of it, none above
    ``most``.
    """
    quantile = NormalDist().inv_cdf
    return tuple(
        min(most, max(500, int(median * exp(spread * quantile((entry + 0.5) / ENTRIES))))) for entry in range(ENTRIES)
    )


#: Persons, with and without attachments: one letter in twenty has more than a megabyte, one in three hundred more
#: than ten.
LETTERS = log_normal(40_000, 2.0, EXCHANGE_ONLINE)
LETTERS_OF_GMAIL = log_normal(40_000, 2.0, ATTACHMENTS_OF_GMAIL)
#: The same from a firm's own server, which Postfix's default bounds.
LETTERS_OF_FIRMS = log_normal(40_000, 2.0, POSTFIX_DEFAULT)
NEWSLETTERS = log_normal(60_000, 0.4, 1_000_000)
NOTIFICATIONS = log_normal(25_000, 0.8, 2_000_000)
#: A page or two of PDF.
INVOICES = log_normal(150_000, 0.9, 15_000_000)
INVITATIONS = log_normal(12_000, 0.6, 1_000_000)
POSTS_TO_LISTS = log_normal(9_000, 1.1, 5_000_000)
#: With the message that could not be delivered, or its header.
BOUNCES = log_normal(8_000, 0.9, 5_000_000)
PLAIN_TEXTS = log_normal(2_500, 0.7, 500_000)
SCANS = log_normal(800_000, 1.2, POSTFIX_DEFAULT)
