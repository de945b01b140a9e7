"""The tests with new seeds, again and again, until the time is over or one fails.

    .venv/bin/python tests/soak.py [--for SECONDS] [--seed SEED] [ARGUMENTS OF PYTEST ...]

Each round draws one seed and has three parts: the Rust tests, the Python tests, and the Python tests that take
minutes (marked `soak`). Each part gets an equal share of the time that is left, and what one does not need goes to
those behind it. The Python tests run in another order under each seed, so that short soaks do not repeat the same
tests. A test that has begun runs to its end, so the tests of minutes begin only in a share of two minutes or more.
`make soak` installs and builds what is needed first.
It exits with 1 at the first failure, and then its last line is the command that repeats it. A property test of the
Rust core also writes its failing case into a file of regressions: commit that file with the mend.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORE = ["--locked", "--workspace", "--exclude", "throttle-python"]
RUST, PYTHON, SOAK = PARTS = ("Rust", "Python", "Python, minutes each")
#: Those of mail servers, too, where root and Postfix are there; elsewhere they are skipped.
MARKS = {PYTHON: ["-m", "not soak"], SOAK: ["-m", "soak"]}
LEAST_SOAK_SECONDS = 120.0
#: Exit codes of pytest: all passed, a test failed, stopped from within, no test ran.
PASSED, STOPPED, NONE_RAN = 0, 2, 5


def rust_tests() -> list[str]:
    if shutil.which("cargo-nextest"):
        return ["cargo", "nextest", "run", *CORE, "--status-level", "fail", "--final-status-level", "fail"]
    return ["cargo", "test", *CORE, "--all-targets", "--quiet"]


def failed_tests(part: str) -> list[str]:
    """What pytest remembers of the run before. Each of these draws the same numbers when it runs alone."""
    remembered = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
    return ["-m", "", *json.loads(remembered.read_text())] if remembered.exists() else MARKS[part]


def run(command: list[str], environment: dict[str, str], seconds: float | None = None) -> int | None:
    """Runs a command in the root of the repository. Returns its exit code, or ``None`` if the time was over first."""
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:  # cargo's children too
            os.killpg(process.pid, 15)
            process.wait()


def fail(seed: int, name: str, command: list[str]) -> None:
    print(f"\nfailed under seed {seed}; to repeat it:\n{name}={seed} {shlex.join(command)}", flush=True)
    sys.exit(1)


def soak(part: str, seed: int, seconds: float, arguments: list[str]) -> None:
    """Runs one part under a seed for that time at most, or ends the process at a failure."""
    until = time.time() + seconds
    if part == RUST:
        command = rust_tests()
        if run(command, {"PROPTEST_RNG_SEED": str(seed)}, seconds) not in {PASSED, None}:
            fail(seed, "PROPTEST_RNG_SEED", command)
        return
    command = [".venv/bin/python", "-m", "pytest"]
    environment = {"THROTTLE_SEED": str(seed), "THROTTLE_SOAK_UNTIL": str(until)}
    code = run([*command, *MARKS[part], "--cache-clear", "-x", "-q", *arguments], environment)
    if code not in {PASSED, NONE_RAN} and not (code == STOPPED and time.time() >= until):
        fail(seed, "THROTTLE_SEED", [*command, *failed_tests(part)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--for", dest="seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, help="of the first round; later rounds draw theirs")
    asked, arguments = parser.parse_known_args()
    until, rounds, seed = time.time() + asked.seconds, 0, asked.seed
    spent = dict.fromkeys(PARTS, 0.0)
    parts = [part for part in PARTS if part != SOAK or asked.seconds / len(PARTS) >= LEAST_SOAK_SECONDS]
    while time.time() < until:
        seed = random.SystemRandom().getrandbits(32) if rounds or seed is None else seed
        for number, part in enumerate(parts):
            started = time.time()
            share = (until - started) / (len(parts) - number)
            if share < (LEAST_SOAK_SECONDS if part == SOAK else 0):
                continue
            print(f"\nround {rounds + 1}, seed {seed}: {part}, at most {share:.0f} s", flush=True)
            soak(part, seed, share, arguments)
            spent[part] += time.time() - started
        rounds += 1
    print(f"\nno failure in {asked.seconds:.0f} s; the last seed of {rounds} was {seed}")
    print("spent: " + "; ".join(f"{part} {seconds:.0f} s" for part, seconds in spent.items()))
    if not spent[SOAK]:
        print(f"no time for the tests that take minutes: say FOR={len(PARTS) * LEAST_SOAK_SECONDS:.0f} or more")


if __name__ == "__main__":
    main()
