"""Replies of throttle in the log of a server that asked it, by a policy service, a milter or an ACL.

This module knows the built-in replies. It does not know the replies that a policy states itself (`reply = "450 …"`).
"""

from __future__ import annotations

import re

from throttle._replay import replies

_KEY = "{key}"
_CODES = re.compile(r"(?:\d{3}[ -])?(?:\d\.\d{1,3}\.\d{1,3} )?")
_WAIT = "; retry in "
#: The address that `help_url` of a policy states, at the end of a reply.
_HELP = re.compile(r"; see https?://\S++$")


def _texts() -> tuple[set[tuple[str, str]], set[str]]:
    """Returns what stands before and after the key of each reply with one, and the replies without a key; both without
    codes and without a wait.
    """
    plain = {_without_codes(reply).partition(_WAIT)[0] for reply in replies(_KEY)}
    around = {(reply.partition(_KEY)[0], reply.partition(_KEY)[2]) for reply in plain if _KEY in reply}
    return around, {reply for reply in plain if _KEY not in reply}


def _without_codes(reply: str) -> str:
    found = _CODES.match(reply)
    return reply[found.end() :] if found else reply


_AROUND, _WHOLE = _texts()


def is_own(answer: str) -> bool:
    """Returns whether the answer of a refusal is one of throttle's.

    An answer that states no wait counts only when its key is one word or several that a plus joins: "Client host
    [192.0.2.1] is blocked" is what others write.
    """
    told = _HELP.sub("", _without_codes(answer.strip().rpartition(" rejected: ")[2]))
    text, states_wait, seconds = told.rpartition(_WAIT)
    if not states_wait:
        text = told
    elif not (seconds.endswith(" s") and seconds[:-2].isdigit()):
        return False
    if text in _WHOLE:
        return True
    for before, after in _AROUND:
        key = text[len(before) : len(text) - len(after)]
        if key and text.startswith(before) and text.endswith(after):
            return bool(states_wait) or " " not in key.replace(" + ", "")
    return False
