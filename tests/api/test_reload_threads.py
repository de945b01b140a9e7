"""Threads that change the policy, ask what is blocked, how full tables are and who is busy: nobody waits for ever,
and what did not change counts exactly.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

SCRIPT = textwrap.dedent("""
    import faulthandler, threading, time
    from throttle import Envelope, Policy, Throttle

    faulthandler.dump_traceback_later(40, exit=True)

    def limit(name, per, rate, more=""):
        return f'[[limit]]\\nname = "{name}"\\nper = "{per}"\\nrate = "{rate}"\\n{more}\\n'

    STAYS = limit("stays", "client.net", "1000/day", 'when_full = "refuse"')
    BLOCKS = limit("blocks", "client.ip", "1/hour", 'action = "block 1 hour"')
    guard = Throttle(Policy.parse(STAYS + BLOCKS), memory="64 MiB")
    for number in range(3000):
        ip = f"10.{number // 250}.{number % 250}.1"
        for _ in range(2):
            guard.check(Envelope(client_ip=ip, mail_from="a@b.com"), stage="mail")
    assert len(guard.blocked()) > 2900
    guard.reload(Policy.parse(STAYS))
    admitted, failed = [0] * 3, []
    until = time.monotonic() + 3

    def reload(number):
        policies = [Policy.parse(STAYS + other) for other in (
            limit("new", "sender.host", "1000000/second"), BLOCKS, limit("new", "sender.org", "999999/second"), "")]
        while time.monotonic() < until:
            for policy in policies:
                try:
                    guard.reload(policy)
                except Exception as error:
                    if "another reload" not in str(error):
                        raise

    def look(number):
        message = Envelope(client_ip="198.51.100.7", mail_from="a@b.com")
        while time.monotonic() < until:
            guard.blocked(), guard.tables(), guard.top("client.net"), guard.explain(message), guard.identities(message)
            guard.block("sender.org", "salesforce.com"), guard.unblock("sender.org", "salesforce.com")
            guard.distinct("client.net"), guard.mode, guard.policy, repr(guard)

    def ask(number):
        ips = iter(range(10**9))
        while time.monotonic() < until:
            with guard.session(client_ip="198.51.100.7") as session:
                session.connect(), session.helo("mx"), session.rcpt("x@y.net"), session.data()
                step = session.mail("a@b.com")
                admitted[number] += bool(step) or step.limit == "blocks"
                session.client_name = "mx.b.com"
                session.rcpt(["x@y.net", "z@y.net"]), session.data(headers=b"From: a@b.com\\r\\n\\r\\n", dkim=["b.com"])

    def run(body, number):
        try:
            body(number)
        except BaseException as error:
            failed.append(error)

    bodies = ((reload, 0), (reload, 1), (look, 0), (ask, 0), (ask, 1))
    threads = [threading.Thread(target=run, args=(body, n)) for body, n in bodies]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert not failed, failed
    guard.reload(Policy.parse(STAYS))
    assert sum(admitted) > 0
    print("done")
""")


def test_nobody_waits_for_ever_while_policies_come_and_go() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
