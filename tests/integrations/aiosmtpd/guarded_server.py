"""The process of a server under test: a guarded `Controller` behind a proxy, whose handler is aiosmtpd's `Mailbox`.

Run as `python guarded_server.py MAILDIR`. It prints its port, serves until standard input ends, waits until its
connections have ended, and prints what the guard still holds.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from aiosmtpd.handlers import Mailbox

from integrations.aiosmtpd.serving import Loopback, connections_end, held
from integrations.sent_outage import remember_quiet_hours
from throttle import Throttle


class BehindProxy(Mailbox):
    """Keeps each message, and lets any proxy speak for its clients."""

    async def handle_PROXY(self, server: Any, session: Any, envelope: Any, proxy_data: Any) -> bool:
        return True


def main() -> None:
    guard = Throttle()
    remember_quiet_hours(guard)
    server = Loopback(
        BehindProxy(Path(sys.argv[1])), guard=guard, hostname="127.0.0.1", port=0, proxy_protocol_timeout=20.0
    )
    server.start()
    print(server.port, flush=True)
    sys.stdin.read()
    asyncio.run_coroutine_threadsafe(connections_end(), server.loop).result(10)
    server.stop()
    print(json.dumps(held(guard)))


if __name__ == "__main__":
    main()
