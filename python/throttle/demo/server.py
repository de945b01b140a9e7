"""The process of one side: a real aiosmtpd server and its metrics page, both on loopback.

It knows no traffic beyond the quiet hours, which it is fed on command.
Invariant: mail and metrics share one process and one interpreter lock, as in the incident.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import start_http_server

from throttle.demo.cast import ORGANISATIONS
from throttle.demo.child import ignore_interrupts, say, serve
from throttle.demo.inbox import Inbox, Stopwatch, TimedSMTP
from throttle.demo.plan import Plan
from throttle.demo.sides import Side, SideName, build
from throttle.demo.traffic import RECEIVER, quiet_hours

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOPBACK = "127.0.0.1"


async def _run(side: Side, inbox: Inbox, stopwatch: Stopwatch, plan: Plan) -> None:
    loop = asyncio.get_running_loop()

    def connection() -> TimedSMTP:
        smtp = side.connection(
            hostname=f"mx.{RECEIVER}",
            ident="demo",
            proxy_protocol_timeout=5.0,  # the clients' addresses come by PROXY, as from a load balancer
            timeout=30,
            loop=loop,
        )
        smtp.stopwatch = stopwatch
        return smtp

    server = await loop.create_server(connection, LOOPBACK, 0, backlog=1024)
    page, _ = start_http_server(0, addr=LOOPBACK, registry=side.registry)

    def quiet() -> Mapping[str, Any]:
        side.feed(quiet_hours(plan.seed))
        return {"fed": True}

    def status() -> Mapping[str, Any]:
        return {"delivered": dict(inbox.delivered)}

    def finish() -> Mapping[str, Any]:
        return {
            "delivered": dict(inbox.delivered),
            "faults": stopwatch.faults,
            "first_refusal_after": stopwatch.first_refusal_after,
            "check_p50_us": stopwatch.percentile_us(50),
            "check_p99_us": stopwatch.percentile_us(99),
        }

    serve({"quiet": quiet, "status": status, "finish": finish})
    say(
        {
            "smtp_port": server.sockets[0].getsockname()[1],
            "metrics_port": page.server_port,
            "reserved_bytes": side.reserved_bytes,
        }
    )
    async with server:
        await server.serve_forever()


def main() -> None:
    """`python -m throttle.demo.server SIDE PLAN`."""
    ignore_interrupts()
    plan = Plan.from_argument(sys.argv[2])
    inbox = Inbox()
    side = build(cast("SideName", sys.argv[1]), plan, inbox)
    asyncio.run(_run(side, inbox, Stopwatch(plan.mix.total + ORGANISATIONS), plan))


if __name__ == "__main__":
    main()
