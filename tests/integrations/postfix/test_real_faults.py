"""Faults of the policy service behind a real Postfix: nothing is bounced, and mail goes on."""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from integrations.postfix.serve_process import ServeProcess
from integrations.private_postfix import free_port, lines_of_page, private_postfix
from integrations.sent_outage import SentOutage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.servers


def lines_for(port: int) -> str:
    """The lines of the page for a service on this port."""
    return lines_of_page("postfix.md", "main.cf", "unix:private/throttle", f"inet:127.0.0.1:{port}")


def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until it is so."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)  # Postfix does it, in processes of its own


@pytest.mark.parametrize("fault", ["killed", "restarted", "stopped"])
def test_a_fault_of_the_service_bounces_nothing_and_passes(fault: str, tmp_path: Path, learned: Path) -> None:
    port = free_port()
    arguments = ("--learned", str(learned))
    service = ServeProcess(tmp_path, *arguments, postfix=f"inet:127.0.0.1:{port}")
    try:
        with private_postfix(lines_for(port)) as postfix:
            with SentOutage(postfix.port, 50, 2000) as outage:
                until(lambda: len(outage.results) > 300)
                before = len(outage.accepted("flood"))
                if fault == "stopped":
                    service.process.send_signal(signal.SIGSTOP)
                elif fault == "killed":
                    service.kill()
                else:
                    service.process.terminate()
                    service.process.wait(20)
                until(lambda: len(outage.results) > 400)
                if fault == "stopped":
                    service.kill()
                during = len(outage.accepted("flood"))
                service = ServeProcess(tmp_path, *arguments, postfix=f"inet:127.0.0.1:{port}")
                seen = len(outage.results)
            delivered, log = postfix.delivered(), postfix.log
    finally:
        service.__exit__()
    after = len(outage.accepted("flood"))
    waits = [reply.seconds for _, sent in outage.results for step, reply in sent.steps if step == "RCPT"]
    print(
        f"\n{fault}: {before} flood messages passed before, {during - before} meanwhile, {after - during} after; "
        f"longest wait of a recipient {max(waits):.2f} s; {log.count('problem talking to server')} warnings of Postfix"
    )
    outage.assert_only_the_flood_was_refused("RCPT", "451 4.7.28")
    assert delivered == Counter(outage.accepted())
    assert "451 4.3.5" not in log
    late = outage.results[seen + 300 :]  # a new service has a burst of its own, and then refuses again
    assert sum(message.group == "flood" and not sent.accepted for message, sent in late) > 0.9 * sum(
        message.group == "flood" for message, _ in late
    )
    assert max(waits) < {"killed": 1.6, "restarted": 1.6, "stopped": 3.6}[fault]
