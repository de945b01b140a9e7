"""Instructions of the hot path, counted by callgrind, beside the last recorded line: more than five per cent more is a
failure.

    make instructions                   count and compare
    make instructions ARGS=--record     count, and append a line for each policy to benches/instructions.jsonl

Wall time on a shared machine says nothing about five per cent; instructions are the same from run to run.
They depend on the compiler and on the architecture, so a line is compared with lines of the same two and of the same
policy only; where there is none, it is recorded.

Two policies are counted. `inbound-1` never changes, so its lines compare over all versions. `inbound` is the built-in
policy of today: a check under it has bounds of its own, in terms of the same check under `inbound-1`. A bound that is
exceeded is a failure; recording a line does not excuse it.

Of a check of a known sender under `inbound`, a rate takes about 430 instructions: 155 before the lock, or 65 where
another rate counts the same key, 130 to consult and 140 to charge. A look-up in a seen set takes 155 before the lock
and 240 under it, and each fan-out over it 65 more.
What brought it down lately, and what was dropped:

* Limits on reports are skipped until the server reports something: -310.
* Rates are asked by key, each key is made once, and one test finds out that none of them has a quota for it: -190.
  Fan-outs are asked by look-up: -160.
* One hash for identities that nearly always have the same value: -117.
* A rate that fits and has no slot writes no answer. An empty second line is not searched: -100, a new sender -220.
* Sets of limits say what a check charges, for each set of stages: -73.
* An answer keeps the bucket of its fan-out, where it was found three times: a new sender -300.
* `net-pace`, `client-pace` and `pair-rcpt-pace` count proven mail only: claimed mail was counted in them and in tighter
  limits on the same keys. -860 for claimed mail.
* The spot of a key is found once for all its tables: -65.
* Dropped, by estimate: the entries of fan-outs are made under the lock, and only when an element may be new. A known
  sender would take 450 less and a new one more, and a request would be written under the lock.
* Dropped, measured: functions of their own to charge, and to consult a slot: +56 and +71, though the loop around them
  spills fewer registers.
* Not tried: rates with the same key in the same two lines, each with slots of its own. It would save about 200 for
  each of two rates, and nothing under `inbound-1`. But all of them would need one clock, and their memory, and a
  reload that changes one of them, would no longer be those of one limit.

It needs nothing but valgrind and cargo. Invariant: a path that has vanished or is new is told, never passed over.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HISTORY = ROOT / "benches" / "instructions.jsonl"

#: How much more than the recorded line is too much.
GROWTH = 0.05

#: The policies that are counted, by the name in their lines. Paths of the second one begin with its name and a colon.
FIRST, BUILT_IN = "inbound-1", "inbound"
POLICIES = {
    FIRST: ROOT / "benches" / "inbound-1.toml",
    BUILT_IN: ROOT / "python" / "throttle" / "policies" / "inbound.toml",
}

#: A check under `inbound` takes at most this many times the instructions of the same check under `inbound-1`,
TIMES = 1.6
#: and at most this many instructions more for each limit that it has more.
PER_LIMIT = 350

#: A check under `inbound` whose message may be sampled for `diagnose`, as one of ten thousand in its minute and as one
#: of 120, takes at most this many times the instructions of one that is not sampled.
SAMPLED = {
    "check, known sender, sampled": "check, known sender",
    "check, known sender, two a second, sampled": "check, known sender, two a second",
}
SAMPLED_TIMES = 1.03

#: To count a refused check for the metrics takes at most this part of its instructions. To count an admitted one takes
#: one addition.
COUNTING, REFUSED = "count_refusals, within check, refused", "check, refused"
COUNTING_PART = 0.01

FAILED = 1
CANNOT = 2


@dataclass(frozen=True)
class Line:
    """One record: instructions a call, by path, and what they were counted with."""

    date: str
    version: str
    #: The commit that it was counted on, with changes if there were any.
    on: str
    rustc: str
    machine: str
    counts: dict[str, float]
    policy: str = FIRST

    def is_like(self, other: Line) -> bool:
        """Whether the two may be compared."""
        return (self.rustc, self.machine, self.policy) == (other.rustc, other.machine, other.policy)


def said(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def fail(message: str, code: int) -> int:
    sys.stderr.write(f"instructions: {message}\n")
    return code


def build() -> str:
    """The benchmark's executable, built as every other benchmark is."""
    command = (
        "cargo bench --locked -p throttle-core --bench instructions --no-run --message-format=json-render-diagnostics"
    )
    built = [json.loads(line) for line in said(*command.split()).splitlines()]
    (executable,) = (one["executable"] for one in built if one.get("target", {}).get("name") == "instructions")
    return str(executable)


def count(executable: str) -> dict[str, float]:
    """Instructions a call, by path, in a process each, as many at once as there are processors."""
    counts = {}
    calls_of = {path: calls for calls, path in (line.split("\t") for line in said(executable).splitlines())}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        collected_of = zip(calls_of.items(), pool.map(partial(collected, executable), calls_of), strict=True)
    for (path, calls), (total, counting) in collected_of:
        counts[path] = total / int(calls)
        if path.endswith(REFUSED):
            if not counting:
                raise RuntimeError(f"{path}: `count_refusals` in metrics.rs has another name or is inlined")
            counts[path.removesuffix(REFUSED) + COUNTING] = counting / int(calls)
    return counts


def collected(executable: str, path: str) -> tuple[int, int]:
    """All instructions of a path, and those of `count_refusals`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        options = ["--collect-atstart=no", "--toggle-collect=*instructions::counted*", f"--callgrind-out-file={out}"]
        # An environment of its own: variables move the stack, and with it what is aligned.
        bare = {"PATH": os.environ["PATH"]}
        command = ["valgrind", "--tool=callgrind", "--compress-strings=no", *options, executable, path]
        done = subprocess.run(command, env=bare, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{path}: valgrind ended with {done.returncode}: {done.stderr.strip()}")
        lines = out.read_text().splitlines()
    (total,) = (line.split()[1] for line in lines if line.startswith("totals:"))
    if total == "0":
        raise RuntimeError(f"{path}: nothing was counted: `counted` in instructions.rs has another name or is inlined")
    return int(total), of_function(lines, "count_refusals")


def of_function(lines: list[str], name: str) -> int:
    """The instructions of functions whose name contains `name`, and of all that they call.

    In callgrind's format, a line "place instructions" has those of a place in the function. After a line "calls=", it
    has those of the call.
    """
    total, is_within = 0, False
    for line in lines:
        if line.startswith("fn="):
            is_within = name in line
        elif is_within and line and line[0] in "+-*0123456789":
            total += int(line.split()[1])
    return total


def measured(executable: str) -> list[Line]:
    """A line for each policy."""
    packages = json.loads(said("cargo", "metadata", "--locked", "--no-deps", "--format-version=1"))["packages"]
    counts: dict[str, dict[str, float]] = {policy: {} for policy in POLICIES}
    for name, instructions in count(executable).items():
        policy, _, path = name.rpartition(": ")
        counts[policy or FIRST][path] = round(instructions, 1)
    return [
        Line(
            date=time.strftime("%Y-%m-%d", time.gmtime()),
            version=next(package["version"] for package in packages if package["name"] == "throttle-core"),
            on=commit(),
            rustc=said("rustc", "--version"),
            machine=platform.machine(),
            counts=of_policy,
            policy=policy,
        )
        for policy, of_policy in counts.items()
    ]


def commit() -> str:
    try:
        changed = " + changes" if said("git", "status", "--porcelain", "--untracked-files=no") else ""
        return said("git", "log", "-1", "--format=%h %s") + changed
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def recorded() -> list[Line]:
    text = HISTORY.read_text(encoding="utf-8") if HISTORY.exists() else ""
    return [Line(**json.loads(line)) for line in text.splitlines()]


def record(line: Line) -> None:
    with HISTORY.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(line)) + "\n")


def compare(line: Line, last: Line) -> list[str]:
    """Prints both, and returns what grew too much or is on one side only."""
    wrong = []
    print(f"{'now':>10} {'recorded':>10} {'growth':>8}   {last.date}, on {last.on}")
    for path in dict.fromkeys([*last.counts, *line.counts]):
        now, before = line.counts.get(path), last.counts.get(path)
        if now is None or before is None:
            wrong.append(f"{path}: {'no longer counted' if now is None else 'not in the recorded line'}")
            continue
        growth = now / before - 1
        too_much = now > before * (1 + GROWTH)
        print(f"{now:10,.1f} {before:10,.1f} {growth:+8.2%}   {path}{'   TOO MUCH' if too_much else ''}")
        if too_much:
            wrong.append(f"{path}: {growth:+.2%}, at most {GROWTH:+.0%}")
    return wrong


def limits_of(policy: str) -> int:
    return len(tomllib.loads(POLICIES[policy].read_text(encoding="utf-8"))["limit"])


def counted_in_both(built_in: Line, first: Line) -> list[tuple[str, float, float]]:
    """The paths under both policies, with their instructions. A part of a check has a bound of its own."""
    paths = (path for path in built_in.counts if path in first.counts and path != COUNTING)
    return [(path, built_in.counts[path], first.counts[path]) for path in paths]


def exceeded(built_in: Line, first: Line, more: int) -> list[str]:
    """The bounds that a check under the built-in policy exceeds; it has so many limits more than the first one."""
    found = []
    for path, now, was in counted_in_both(built_in, first):
        if now > was * TIMES:
            found.append(f"{path}: {now / was:.2f} × {FIRST}, at most {TIMES} ×")
        if now > was + more * PER_LIMIT:
            found.append(f"{path}: {(now - was) / more:.0f} instructions for each added limit, at most {PER_LIMIT}")
    return found


def compare_policies(built_in: Line, first: Line, more: int) -> list[str]:
    """Prints the checks of both policies, and returns the bounds that are exceeded."""
    print(f"\n{BUILT_IN:>10} {FIRST:>10} {'ratio':>8} {'a limit':>8}   {more} limits more")
    for path, now, was in counted_in_both(built_in, first):
        print(f"{now:10,.1f} {was:10,.1f} {now / was:8.2f} {(now - was) / more:8.0f}   {path}")
    found = exceeded(built_in, first, more)
    for bound in found:
        print(f"SHORT: {bound}")
    return found


def compare_sampled(built_in: Line) -> list[str]:
    """Prints what sampling takes, and returns the bounds that are exceeded."""
    wrong = []
    print()
    for sampled, unsampled in SAMPLED.items():
        now, was = built_in.counts[sampled], built_in.counts[unsampled]
        print(f"{now:10,.1f} {was:10,.1f} {now / was:8.3f}   {sampled}, and without sampling")
        if now > was * SAMPLED_TIMES:
            wrong.append(f"{sampled}: {now / was:.3f} × {unsampled}, at most {SAMPLED_TIMES} ×")
    return wrong


def compare_counting(of_policy: Line) -> list[str]:
    """Prints what counting a refused check takes, and returns the bound if it is exceeded."""
    counting, whole = of_policy.counts[COUNTING], of_policy.counts[REFUSED]
    print(f"{counting:10,.1f} {whole:10,.1f} {counting / whole:8.3f}   {COUNTING}, {of_policy.policy}")
    if counting <= whole * COUNTING_PART:
        return []
    return [f"{of_policy.policy}: {COUNTING}: {counting / whole:.2%} of it, at most {COUNTING_PART:.0%}"]


def last_like(line: Line) -> Line | None:
    """The last recorded line that may be compared."""
    return next((last for last in reversed(recorded()) if line.is_like(last)), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--record", action="store_true", help="append what is counted to the recorded lines")
    parser.add_argument(
        "--json", action="store_true", help="print the lines that would be recorded, and compare nothing"
    )
    arguments = parser.parse_args()
    if not shutil.which("valgrind"):
        return fail("valgrind is not installed: install it (Debian and Ubuntu: apt-get install valgrind)", CANNOT)
    lines = measured(build())
    if arguments.json:
        for line in lines:
            print(json.dumps(asdict(line)))
        return 0
    first, built_in = lines
    print(f"instructions a call; {first.rustc}, {first.machine}, on {first.on}")
    wrong = []
    for line in lines:
        last = last_like(line)
        print(f"\n{line.policy}")
        if last:
            wrong += compare(line, last)
        else:
            for path, instructions in line.counts.items():
                print(f"{instructions:10,.1f}   {path}")
            print(
                f"no line of {line.policy} by {line.rustc} on {line.machine} is recorded: nothing was compared, and "
                f"this one now is; commit it"
            )
        if arguments.record or not last:
            record(line)
            print(f"recorded in {HISTORY.relative_to(ROOT)}")
    short = compare_policies(built_in, first, limits_of(BUILT_IN) - limits_of(FIRST))
    if short:
        return fail("; ".join(short), FAILED)
    parts = compare_sampled(built_in) + compare_counting(first) + compare_counting(built_in)
    if parts:
        return fail("; ".join(parts), FAILED)
    if wrong and not arguments.record:
        return fail("; ".join(wrong) + ". Where it is worth that: make instructions ARGS=--record", FAILED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
