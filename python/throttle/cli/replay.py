"""`throttle replay`: its options, and what may be wrong with them.

It counts nothing: the replay is a package of its own, loaded only here.
Invariants: policy, state and files are tried before the first line is read; a progress bar only where somebody looks
at it.
"""

from __future__ import annotations

import gc
import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from throttle import Throttle, ThrottleError, policies
from throttle.cli import fail, missing
from throttle.cli.flags import POLICY_HELP
from throttle.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from throttle.replay.notes import Notes

INTERRUPTED = 130
_KINDS = 3

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...", help="Logs, gzipped or not, in any order; - is standard input.", show_default=False
    ),
]
PolicyName = Annotated[str, typer.Option(metavar="POLICY", help=f"The policy to try: {POLICY_HELP}.")]
Memory = Annotated[str, typer.Option(metavar="SIZE", help="Memory of the guard, as '64 MiB'.")]
Form = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="FORMAT", help="postfix, exim, jsonl or csv.", show_default="by how each file begins"
    ),
]
Year = Annotated[
    int | None,
    typer.Option(
        min=1970, max=9999, help="Year of the first line, where dates have none.", show_default="the latest that fits"
    ),
]
SuffixList = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A fresher Public Suffix List.", show_default="the one of tldextract"),
]
Learn = Annotated[
    Path | None,
    typer.Option(
        metavar="STATE",
        help="Write what a guard would know at the end, for `Throttle(learned=STATE)`.",
        show_default=False,
    ),
]
Learned = Annotated[
    Path | None,
    typer.Option(metavar="STATE", help="Begin with what an earlier --learn wrote.", show_default=False),
]
Top = Annotated[int, typer.Option(min=1, max=1000, help="How many keys of each kind.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")]

HELP = (
    "Play a log through a policy, with the log's own times: what would have been refused, and which numbers fit.\n\n"
    "A log is Postfix's or Exim's main log, or has a transaction a line, as a JSON object or in CSV: the fields of "
    "Envelope, and time. Lines of Postfix and Exim may come from syslog, from journalctl (short, short-precise, "
    "short-iso or json), from busybox, in RFC 5424 or from Docker's json-file. Exit code: 0 when there is a report; "
    "2 when an option is wrong, a file cannot be read, or the files contain no transaction."
)
# Typer shows the lines after a line with \b as they stand.
EXAMPLE = """For each format:

\b
throttle replay /var/log/exim4/mainlog*
journalctl -u 'postfix*' -o json --all | throttle replay -
journalctl -u exim4 -o short-precise | throttle replay --format exim -
docker inspect -f '{{.LogPath}}' postfix | xargs throttle replay
throttle replay transactions.jsonl --policy policy.toml
throttle replay transactions.csv --json

Example: throttle replay /var/log/mail.log* --learn known.jsonl.gz"""


def command(
    files: Files,
    *,
    policy: PolicyName = "inbound",
    memory: Memory = "16 MiB",
    form: Form = None,
    year: Year = None,
    suffix_list: SuffixList = None,
    learn: Learn = None,
    learned: Learned = None,
    top: Top = 10,
    as_json: AsJson = False,
) -> None:
    """Replays files."""
    try:
        from throttle.replay.learning import write
        from throttle.replay.notes import Notes
        from throttle.replay.reading import FORMATS, Log
        from throttle.replay.report import report
        from throttle.replay.run import Replay
        from throttle.replay.tables import show
    except ModuleNotFoundError as error:
        missing(error, "replay", "cli")
    if form is not None and form not in FORMATS:
        fail(f"--format: found {form}; allowed: {', '.join(FORMATS)}")
    if files.count("-") > 1:
        fail("-: found twice; allowed: standard input once")
    if learn is not None:
        _check_learn(learn)
    notes, now = Notes(), time.time()
    try:
        log = Log(files, notes, now=now, form=form, year=year)
        clock = (lambda: log.begins) if learned else None  # what was learned is as old as it was then
        replay = Replay(
            Throttle(policies.load(policy), memory=memory, suffix_list=suffix_list, learned=learned, clock=clock)
        )
    except OSError as error:
        fail(f"{error.filename or policy}: {error.strerror or error}")
    except (ThrottleError, ValueError) as error:
        fail(error)
    try:
        with _progress(log.bytes) as progress, _without_collector():
            for transaction in log.transactions(progress):
                replay.add(transaction)
        replay.close()
        if not replay.transactions:
            fail(_nothing(notes, log.why_empty()))
        told = report(replay, notes, top)
        if learn is not None:
            try:
                told["learned"] = {"file": str(learn), "elements": write(learn, replay.until, replay.remembered)}
            except OSError as error:  # it names the unfinished file
                fail(f"--learn {learn}: {error.strerror or error}")
    except OSError as error:
        fail(f"{error.filename}: {error.strerror or error}")
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    _print(told, show, as_json=as_json)


def _check_learn(file: Path) -> None:
    """Fails before the replay if the file cannot be written after it."""
    try:
        if not file.absolute().parent.is_dir():
            fail(f"--learn {file}: there is no directory {file.parent}")
        if file.is_dir():
            fail(f"--learn {file}: is a directory; allowed: a file")
    except OSError as error:
        fail(f"--learn {file}: {error.strerror or error}")


def _nothing(notes: Notes, guess: str) -> str:
    """Says that there was no transaction, and what there was."""
    found = [f"{count:,} {kind}" for kind, count in notes.passed_over.most_common(_KINDS)]
    if notes.first_broken is not None:
        first = notes.first_broken
        found.append(
            f"{notes.broken:,} lines that could not be read, the first of them line {first.line} of {first.file}: "
            f"{first.why}: {first.text}"
        )
    names = ", ".join(notes.files)
    if not notes.lines and not found:
        return f"found no transaction in {names}, which {'is' if len(notes.files) == 1 else 'are'} empty"
    among = f" ({'; '.join(found)})" if found else ""
    return f"found no transaction in {notes.lines:,} lines of {names}{among}. {guess}"


def _print(told: dict[str, Any], show: Callable[[dict[str, Any], Any], None], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:  # else rich has read it
        console = Console(width=200)
    show(told, console)
    if "learned" in told:
        learned = told["learned"]
        console.print(Text(printable(f"{learned['elements']:,} known elements are in {learned['file']}")))


@contextmanager
def _progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """Bytes that were read, on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=total)
        yield lambda bytes_read: bar.advance(task, bytes_read)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Nothing here makes cycles, and looking for them in millions of keys takes a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
