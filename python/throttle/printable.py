r"""Text that a sender wrote, made safe for a terminal and for a line of a log.

A name in a message may contain escape sequences that move the cursor or set the title of a window, line ends that
forge a line of a log, and bidirectional controls that show text in another order than it has (Unicode Technical
Report 36, section 3). Every text of this package that is printed for people passes through `printable` once.
"""

from __future__ import annotations

import re

_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What `str.isprintable` passes though it shows nothing: the code points of Default_Ignorable_Code_Point (Unicode
Standard Annex 44) that it does not know, and the empty Braille pattern.
"""


def printable(text: str) -> str:
    r"""Returns `text` with an escape such as ``\x1b`` or ``\u202e`` in place of each character that is not printable.

    These are the characters of the Unicode categories Cc, Cf, Cn, Co, Cs, Zl, Zp and Zs, except the space (see
    `str.isprintable`), and letters and marks that show nothing, such as the Hangul filler.
    """
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    return "".join(char if _is_seen(char) else char.encode("unicode_escape").decode("ascii") for char in text)


def _is_seen(char: str) -> bool:
    return char.isprintable() and not _INVISIBLE.match(char)


def quoted(text: str) -> str:
    r"""Returns `text` as `printable` does, and in quotes where it could be read as more than one value.

    A sender may choose a name that continues the sentence around it: ``bank.com; nothing is wrong``.
    """
    shown = printable(text)
    if not any(char in shown for char in ' ;,="'):
        return shown
    return '"' + shown.replace('"', r"\"") + '"'
