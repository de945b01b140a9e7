"""Messages a second through a real Postfix: with `throttle serve` in its recipient restrictions, and without.

    make peers                                               as root: installs Postfix, and runs policy_service.py too
    python benches/behind_postfix.py [--messages 2000] [--rounds 10] [--json]

Three Postfixes in temporary directories differ in one line of `main.cf`: they ask nobody, the floor of
`policy_service.py`, which answers DUNNO, or `throttle serve`. The floor tells what a service on asyncio costs.
They take turns with the same ordinary mail (`tests/mail`), which is other mail in each round. Every message comes over
a connection of its own, from the client that XCLIENT names; 20 connections are open at once, in two processes. A run
ends when Postfix has delivered everything to `smtp-sink`. Bodies are cut to 10,000 octets, so that the disk does not
hide the service.

The mail of an hour comes within seconds, so the policy is `inbound` with a `scale` that admits all of it: the service
counts every message in every limit, and refuses none. A refusal fails the run.
A share is the median of the shares within the rounds. CPU is steadier than messages on a machine that others use.
When the share of `throttle serve` is below 95 %, the exit code is 1. That bound has no margin for noise, so fewer than
ten rounds, as BENCH=short has, are not judged.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import queue
import socket
import statistics
import sys
import tempfile
import threading
import time
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from benches.policy_servers import cpu_seconds, floor, where

from integrations.postfix.serve_process import ServeProcess, policy_file
from integrations.private_postfix import PrivatePostfix, private_postfix
from mail.mix import ordinary_mail

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

    from mail.message import Message

LEAST = 0.95
JUDGED_ROUNDS = 10
PER_HOUR = 20_000
PROCESSES = 2
CONNECTIONS_A_PROCESS = 10
MOST_OCTETS = 10_000
SECONDS = 60.0
POLICY = 'extends = "inbound"\nscale = 50\n'
NOBODY = "no service"
SERVICES = (NOBODY, "floor", "throttle serve")
RESTRICTIONS = "smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, reject_unlisted_recipient"
ASKED = ", check_policy_service {{ inet:127.0.0.1:{port}, timeout=1s, try_limit=2, default_action=DUNNO }}"


class Dialogue(NamedTuple):
    """What the client says for one message, in the writes of a client that pipelines."""

    xclient: bytes
    ehlo: bytes
    envelope: bytes
    recipients: int
    content: bytes


class Run(NamedTuple):
    """What one run has measured. CPU is what all processes of Postfix and the service used for a message."""

    messages_s: float
    cpu_us: float
    service_cpu_us: float


class Row(NamedTuple):
    """What is printed of one Postfix: medians, and the messages of its runs, as a share of those without a service."""

    service: str
    messages_s: float
    least_s: float
    most_s: float
    share: float
    least_share: float
    most_share: float
    cpu_us: float
    service_cpu_us: float


def dialogue(number: int, message: Message) -> Dialogue:
    """The dialogue of one message; every mailbox of the mail has one of the test's Postfix."""
    mailboxes = [message.rcpt_to] if isinstance(message.rcpt_to, str) else message.rcpt_to
    recipients = [f"box{zlib.crc32(mailbox.encode())}@quickbox.email" for mailbox in mailboxes]
    header = f"From: <{message.header_from}>\r\nSubject: {number}\r\n\r\n"
    lines = max(1, (min(message.size, MOST_OCTETS) - len(header)) // 72)
    content = header + ("x" * 70 + "\r\n") * lines
    envelope = [f"MAIL FROM:<{message.mail_from.strip('<>')}> SIZE={len(content)}"]
    envelope += [*(f"RCPT TO:<{recipient}>" for recipient in recipients), "DATA"]
    name = message.client_name or "[UNAVAILABLE]"
    family = "IPV6:" if ":" in message.client_ip else ""
    return Dialogue(
        f"XCLIENT NAME={name} ADDR={family}{message.client_ip} PORT={1024 + number % 60_000}\r\n".encode(),
        f"EHLO {message.helo}\r\n".encode(),
        "".join(f"{line}\r\n" for line in envelope).encode(),
        len(recipients),
        f"{content}.\r\n".encode(),
    )


def send(port: int, said: Dialogue) -> bytes:
    """Sends one message over a connection of its own, and returns the reply that refuses it, or the last one."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client, client.makefile("rb") as lines:

        def reply() -> bytes:
            while True:
                line: bytes = lines.readline()
                if line[3:4] != b"-":
                    return line

        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for command, code in ((b"", b"220"), (said.xclient, b"220"), (said.ehlo, b"250")):
            client.sendall(command)
            if not (last := reply()).startswith(code):
                return b"before MAIL: " + last
        client.sendall(said.envelope)
        replies = [reply() for _ in range(1 + said.recipients + 1)]
        refused = [line for line in replies[:-1] if not line.startswith(b"250")]
        last = replies[-1]
        if last.startswith(b"354"):
            client.sendall(said.content)
            last = reply()
        client.sendall(b"QUIT\r\n")
        return refused[0] if refused else last


def client(parent: Connection, start: Barrier, port: int, dialogues: list[Dialogue]) -> None:
    """One process of the client; it tells the replies that are no 250."""
    work: queue.SimpleQueue[Dialogue] = queue.SimpleQueue()
    for said in dialogues:
        work.put(said)
    wrong: list[bytes] = []

    def run() -> None:
        while True:
            try:
                said = work.get_nowait()
            except queue.Empty:
                return
            last = send(port, said)
            if not last.startswith(b"250"):
                wrong.append(last)

    threads = [threading.Thread(target=run) for _ in range(CONNECTIONS_A_PROCESS)]
    start.wait(SECONDS)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parent.send(wrong)


def run_once(postfix: PrivatePostfix, service: psutil.Process | None, dialogues: list[Dialogue]) -> Run:
    """Sends the mail, and measures from the first connection to the last delivery."""
    fork = multiprocessing.get_context("fork")  # the dialogues are there already
    start = fork.Barrier(PROCESSES + 1)
    pipes = [fork.Pipe(duplex=False) for _ in range(PROCESSES)]
    clients = [
        fork.Process(target=client, args=(there, start, postfix.port, dialogues[number::PROCESSES]))
        for number, (_, there) in enumerate(pipes)
    ]
    for process in clients:
        process.start()
    for _, there in pipes:
        there.close()
    master = psutil.Process(int((postfix.directory / "queue" / "pid" / "master.pid").read_text()))
    idle = cpu_seconds(master), cpu_seconds(service) if service else 0.0
    start.wait(SECONDS)
    began = time.perf_counter()
    wrong = [line for here, _ in pipes for line in here.recv()]
    for process in clients:
        process.join()
    postfix.wait_for_empty_queue()
    seconds = time.perf_counter() - began
    if wrong:
        raise SystemExit(
            f"{len(wrong)} of {len(dialogues)} messages were refused, one with {wrong[0].decode().strip()}"
        )
    of_postfix = cpu_seconds(master) - idle[0]
    of_service = cpu_seconds(service) - idle[1] if service else 0.0
    each_us = 1e6 / len(dialogues)
    return Run(len(dialogues) / seconds, (of_postfix + of_service) * each_us, of_service * each_us)


def alternate(messages: int, rounds: int) -> dict[str, list[Run]]:
    """Lets the three take turns; each round begins with another one."""
    found: dict[str, list[Run]] = {name: [] for name in SERVICES}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        guarded = stack.enter_context(ServeProcess(directory, "--policy", policy_file(directory, POLICY)))
        floor_port, floor_process = stack.enter_context(floor(directory, 0))
        services = [(None, None), (floor_port, floor_process), (guarded.port, psutil.Process(guarded.process.pid))]
        turns = []
        for name, (port, process) in zip(SERVICES, services, strict=True):
            asked = ASKED.format(port=port) if port else ""
            turns.append((name, stack.enter_context(private_postfix(RESTRICTIONS + asked)), process))
        for number in range(rounds + 1):  # the first round starts the processes of Postfix, and does not count
            mail = itertools.islice(ordinary_mail(f"behind postfix {number}", PER_HOUR, 24), messages)
            dialogues = list(itertools.starmap(dialogue, enumerate(mail, messages * number)))
            for name, postfix, process in turns:
                run = run_once(postfix, process, dialogues)
                if number:
                    found[name].append(run)
            turns.append(turns.pop(0))
    return found


def row_of(name: str, runs: list[Run], without: list[Run]) -> Row:
    """The medians of one Postfix."""
    rates = [run.messages_s for run in runs]
    shares = [run.messages_s / other.messages_s for run, other in zip(runs, without, strict=True)]
    return Row(
        name, statistics.median(rates), min(rates), max(rates), statistics.median(shares), min(shares), max(shares),
        statistics.median(run.cpu_us for run in runs), statistics.median(run.service_cpu_us for run in runs),
    )  # fmt: skip


def main() -> None:
    """Measures and prints."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--messages", type=int, default=2000, help="in each run")
    options.add_argument("--rounds", type=int, default=JUDGED_ROUNDS, help="in which all three take turns")
    options.add_argument("--json", action="store_true", help="print JSON only")
    asked = options.parse_args()
    os.environ["PATH"] += ":/usr/sbin"
    before = where()
    found = alternate(asked.messages, asked.rounds)
    rows = [row_of(name, runs, found[NOBODY]) for name, runs in found.items()]
    is_judged, holds = asked.rounds >= JUDGED_ROUNDS, rows[-1].share >= LEAST
    if asked.json:
        sys.stdout.write(json.dumps([row._asdict() for row in rows], indent=2) + "\n")
    else:
        print(f"{before}; medians of {asked.rounds} rounds of {asked.messages:,} messages")
        for row in rows:
            print(
                f"{row.service:<14} {row.messages_s:6,.0f} messages/s ({row.least_s:,.0f} to {row.most_s:,.0f})  "
                f"{row.share:6.1%} of those without ({row.least_share:.1%} to {row.most_share:.1%})  "
                f"{row.cpu_us:6,.0f} µs of CPU each, {row.service_cpu_us:,.0f} of them in the service"
            )
        verdict = ("holds" if holds else "SHORT") if is_judged else f"not judged below {JUDGED_ROUNDS} rounds"
        print(f"{verdict}  {LEAST:.0%} of the messages: {rows[-1].share:.1%}")
    sys.exit(is_judged and not holds)


if __name__ == "__main__":
    main()
