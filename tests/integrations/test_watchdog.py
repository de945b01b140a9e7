"""A service that no longer answers is killed by a watchdog as systemd's, and its next process limits mail again."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from integrations.loopback import LOOPBACK, free_port, wait_until
from integrations.private_postfix import RECEIVER, lines_of_page, private_postfix
from integrations.smtp_client import SmtpClient
from integrations.supervisor import Supervisor

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.servers
pytest.importorskip("throttle.milter", reason="pymilter is not installed")

#: The unit has ten; its service has the same ticks in proportion.
WATCHDOG_SECONDS = 2.0
POLICY = '[[limit]]\nname = "pace"\nper = "sender.address"\nrate = "1/day"\n'
PAGES = {"--postfix": ("postfix.md", "unix:private/throttle"), "--milter": ("milter.md", "inet:127.0.0.1:10045")}

#: `throttle` with a milter whose threads hang while a file is there. Its main thread goes on.
HANGING = """
import sys, time
from pathlib import Path
from throttle.cli import main
from throttle.milter import ThrottleMilter
hang, negotiate = Path(sys.argv.pop(1)), ThrottleMilter.negotiate
def hanging(self, options):
    while hang.exists():
        time.sleep(0.01)
    return negotiate(self, options)
ThrottleMilter.negotiate = hanging
main()
"""


@pytest.mark.parametrize(
    ("protocol", "fault"),
    [("--postfix", "stopped"), ("--milter", "stopped"), ("--milter", "its threads hang")],
)
def test_what_no_longer_answers_is_killed_and_mail_is_limited_again(protocol: str, fault: str, tmp_path: Path) -> None:
    address = f"inet:{LOOPBACK}:{free_port()}"
    page, instead_of = PAGES[protocol]
    policy, hang = tmp_path / "policy.toml", tmp_path / "hang"
    policy.write_text(POLICY)
    program = ("-m", "throttle") if fault == "stopped" else ("-c", HANGING, str(hang))
    command = (sys.executable, *program, "serve", protocol, address, "--policy", str(policy))
    with ExitStack() as stack:
        manager = stack.enter_context(Supervisor(tmp_path, WATCHDOG_SECONDS, *command))
        postfix = stack.enter_context(private_postfix(lines_of_page(page, "main.cf", instead_of, address)))

        def codes(sender: str, client_ip: str = "192.0.2.1") -> list[int]:
            with SmtpClient(postfix.port) as client:
                client.xclient(client_ip, 2000)
                client.say("EHLO mx.example.org")
                return [client.send("-", f"{sender}@example.org", [f"box@{RECEIVER}"]).reply.code for _ in range(2)]

        first = manager.wait_for_start(1)
        assert codes("joe") == [250, 451]
        wait_until(lambda: manager.signs_of_life > 2)  # it lives, and is asked nothing
        assert manager.silences == []
        if fault == "stopped":
            os.kill(first, signal.SIGSTOP)
        else:
            hang.touch()
        assert codes("ann") == [250, 250], "unasked"
        wait_until(lambda: manager.silences != [])
        hang.unlink(missing_ok=True)
        second = manager.wait_for_start(2)
        assert second != first
        wait_until(lambda: codes("joe")[1] == 451, 10)
        signs = manager.signs_of_life
        wait_until(lambda: manager.signs_of_life > signs)
        print(f"\n{protocol}, {fault}: killed after {manager.silences[0]:.2f} s without a watchdog signal")
        assert len(manager.silences) == 1
        assert manager.silences[0] < WATCHDOG_SECONDS + 1
        assert ("no watchdog signal" in manager.log()) == (fault != "stopped")
        assert "4.3.5" not in postfix.log
