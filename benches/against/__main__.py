"""Times this build against another commit: a process for each, and a batch of one, then a batch of the other.

    make against COMMIT=615e29b                        the source tree against that commit
    make against COMMIT=615e29b WHEEL=dist/x.whl       a wheel against that commit
    make against COMMIT=615e29b ARGS='--json peek'     only cases with "peek" in their names, as one JSON object

The other commit is built as `pip install .` would build it, below target/against, and once only.
The cases come from this tree (`cases.py`), so both builds do the same work under the same policy.
A ratio is the median of the ratios of all rounds, because neighbouring batches share what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BUILDS = ROOT / "target" / "against"
INBOUND = ROOT / "benches" / "inbound-1.toml"


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Runs a command of the set-up; what it prints goes to standard error."""
    subprocess.run([str(part) for part in command], cwd=cwd, check=True, stdout=sys.stderr)


def read(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def environment(folder: Path, *packages: str | Path) -> Path:
    """The interpreter of a virtual environment in ``folder`` with these packages installed."""
    python = folder / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", folder)
    run(python, "-m", "pip", "install", "--quiet", "--force-reinstall", *packages)
    return python


def built_from(commit: str) -> Path:
    """The interpreter of an environment with that commit, which is built unless it has been built before."""
    folder = BUILDS / commit
    python, done, tree = folder / "venv" / "bin" / "python", folder / "done", folder / "tree"
    if not done.exists():
        sys.stderr.write(f"against: building {commit[:9]}; it takes some minutes\n")
        tree.mkdir(parents=True, exist_ok=True)
        run("git", "archive", "--output", folder / "tree.tar", commit)
        run("tar", "-xf", folder / "tree.tar", "-C", tree)
        environment(folder / "venv", tree)
        done.touch()
    return python


@dataclass
class Case:
    """Nanoseconds a call of each batch, in this build and in the other."""

    name: str
    here: list[float] = field(default_factory=list)
    there: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float | str]:
        ratios = [here / there for here, there in zip(self.here, self.there, strict=True)]
        return {
            "case": self.name,
            "here_ns": statistics.median(self.here),
            "there_ns": statistics.median(self.there),
            "ratio": statistics.median(ratios),
        }


class Worker:
    """A process that times batches with one build."""

    def __init__(self, python: Path) -> None:
        # -I: nothing of the tree or of the caller's environment may take the place of what is installed.
        command = [str(python), "-I", str(HERE / "cases.py"), str(INBOUND)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def batch(self, name: str) -> float:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"against: {name}: the process ended with {self._process.wait()}")
        return float(answer)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def measure(case: Case, here: Worker, there: Worker, rounds: int) -> None:
    """Times both builds in turn; every second round the other one begins."""
    sides = [(here, case.here), (there, case.there)]
    for number in range(rounds):
        for worker, times in sides if number % 2 else reversed(sides):
            times.append(worker.batch(case.name))


def main() -> None:
    parser = argparse.ArgumentParser(prog="against", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commit", required=True, help="what is timed against")
    parser.add_argument("--wheel", type=Path, help="time this wheel instead of the source tree")
    parser.add_argument("--rounds", type=int, default=15, help="batches of each case and build (default: 15)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("words", nargs="*", metavar="WORD", help="time only cases whose names contain one of these")
    options = parser.parse_args()
    commit = read("git", "rev-parse", "--verify", f"{options.commit}^{{commit}}")
    here = environment(BUILDS / "wheel", options.wheel.resolve()) if options.wheel else Path(sys.executable)
    there = built_from(commit)
    names = read(str(here), "-I", str(HERE / "cases.py"), str(INBOUND), "--list").splitlines()
    cases = [Case(name) for name in names if not options.words or any(word in name for word in options.words)]
    if not options.json:
        print(f"{options.wheel or 'the source tree'} against {commit[:9]}; {options.rounds} rounds; ns a call")
        print(f"{'here':>10} {'there':>10} {'ratio':>7}   case", flush=True)
    for case in cases:
        # New processes for each case, so that the memory of one case does not slow the next.
        workers = Worker(here), Worker(there)
        measure(case, *workers, options.rounds)
        for worker in workers:
            worker.close()
        if not options.json:
            row = case.figures()
            print(f"{row['here_ns']:10,.1f} {row['there_ns']:10,.1f} {row['ratio']:7.3f}   {case.name}", flush=True)
    if options.json:
        here_name = str(options.wheel) if options.wheel else read("git", "describe", "--always", "--dirty")
        json.dump(
            {"here": here_name, "there": commit, "rounds": options.rounds, "cases": [c.figures() for c in cases]},
            sys.stdout,
            indent=1,
        )
        print()


if __name__ == "__main__":
    main()
