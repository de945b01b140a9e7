"""A milter that verifies nothing and writes down a verdict, as one for SPF and DKIM does: at the top, at the end.

Run as `python verdicts.py ADDRESS AUTHSERV_ID`; it prints a line when it listens, and runs until it is killed.
"""

from __future__ import annotations

import sys
from typing import Any

import Milter


class Verdicts(Milter.Base):  # type: ignore[misc]
    """Says that the domain of the sender has signed."""

    @Milter.noreply  # type: ignore[untyped-decorator]
    def envfrom(self, sender: str, *_: str) -> Any:
        self.domain = sender.strip("<>").rpartition("@")[2]
        return Milter.CONTINUE

    def eom(self) -> Any:
        verdict = f"{sys.argv[2]}; spf=pass smtp.mailfrom={self.domain}; dkim=pass header.d={self.domain}"
        self.addheader("Authentication-Results", verdict, 0)
        return Milter.ACCEPT


if __name__ == "__main__":
    Milter.factory = Verdicts
    Milter.set_flags(Milter.ADDHDRS)
    Milter.runmilter("verdicts", sys.argv[1])
