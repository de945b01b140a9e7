"""The tests with new seeds, again and again, until the time is over or one fails.

    .venv/bin/python tests/soak.py [--for SECONDS] [--seed SEED] [ARGUMENTS OF PYTEST ...]

Each round draws one seed for the Rust tests and the Python tests. It begins with the Rust tests, which take about a
minute; the Python tests run in another order under each seed, so that short soaks do not repeat the same tests.
`make soak` builds what is needed first.
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
#: Those of mail servers, too, where root and Postfix are there; elsewhere they are skipped.
EVERY_TEST = ["-m", ""]
#: Exit codes of pytest: all passed, a test failed, stopped from within, no test ran.
PASSED, STOPPED, NONE_RAN = 0, 2, 5


def rust_tests() -> list[str]:
    if shutil.which("cargo-nextest"):
        return ["cargo", "nextest", "run", *CORE, "--status-level", "fail", "--final-status-level", "fail"]
    return ["cargo", "test", *CORE, "--all-targets", "--quiet"]


def failed_tests() -> list[str]:
    """What pytest remembers of the run before. Each of these draws the same numbers when it runs alone."""
    remembered = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
    return list(json.loads(remembered.read_text())) if remembered.exists() else EVERY_TEST


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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--for", dest="seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, help="of the first round; later rounds draw theirs")
    asked, arguments = parser.parse_known_args()
    until, rounds, seed = time.time() + asked.seconds, 0, asked.seed
    while time.time() < until:
        seed = random.SystemRandom().getrandbits(32) if rounds or seed is None else seed
        print(f"\nround {rounds + 1}, seed {seed}, {until - time.time():.0f} s left", flush=True)
        command = rust_tests()
        if run(command, {"PROPTEST_RNG_SEED": str(seed)}, until - time.time()) not in {PASSED, None}:
            fail(seed, "PROPTEST_RNG_SEED", command)
        if time.time() < until:
            command = [".venv/bin/python", "-m", "pytest"]
            environment = {"THROTTLE_SEED": str(seed), "THROTTLE_SOAK_UNTIL": str(until)}
            code = run([*command, *EVERY_TEST, "--cache-clear", "-x", "-q", *arguments], environment)
            if code not in {PASSED, NONE_RAN} and not (code == STOPPED and time.time() >= until):
                fail(seed, "THROTTLE_SEED", [*command, *failed_tests()])
        rounds += 1
    print(f"\nno failure in {asked.seconds:.0f} s; the last seed of {rounds} was {seed}")


if __name__ == "__main__":
    main()
