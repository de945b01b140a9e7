"""The table of what each attack gains and what innocents lose by it, over all seeds.

    .venv/bin/python tests/attack_table.py FILE [--write]

FILE has a line of JSON for each outcome of each seed, which tests/adversarial/conftest.py appends. `make attacks` runs
the attacks and then prints this table; --write puts it into docs/algorithms.md, which quotes it.

It knows no attack. Invariant: a cell is the largest figure of all seeds, never a mean.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAGE = Path(__file__).resolve().parents[1] / "docs" / "algorithms.md"
START, END = "<!-- adversaries:start -->\n", "<!-- adversaries:end -->\n"
MESSAGES = "messages"
#: Behind the name of an attack and before that of a variant. Variants with the same figures share a row.
COLON = ": "
#: A cell names at most so many kinds of innocents.
NAMED_KINDS = 3


@dataclass(frozen=True)
class Outcome:
    """What one attack got under one seed, and who lost by it."""

    #: The attack, or the attack and a variant of it: "null sender: 10 networks".
    name: str
    #: `None`: the attacker sends nothing that could be counted.
    admitted: int | None = None
    #: `None`: the attacker tries for as long as anything is admitted.
    sent: int | None = None
    #: What the two numbers count.
    unit: str = MESSAGES
    #: By kind of innocent: how many were refused, and how many there were, also where none was refused. `None`: nobody
    #: else was there.
    lost: dict[str, tuple[int, int]] | None = None
    seed: str = ""

    @property
    def share(self) -> float:
        """What orders the outcomes of several seeds."""
        return (self.admitted or 0) / (self.sent or 1)

    @property
    def refused(self) -> int:
        """Innocents that were refused, of whatever kind."""
        return sum(refused for refused, _ in (self.lost or {}).values())

    def gain(self) -> str:
        """The cell of what was admitted."""
        if self.admitted is None:
            return ""
        if self.sent is None:
            return f"{self.admitted:,} {self.unit}"
        if self.unit != MESSAGES:
            return f"{self.admitted:,} of {self.sent:,} {self.unit}"
        # Only what is all reads as all.
        percent = 100 * self.share
        return f"{percent if self.admitted == self.sent else min(percent, 99.9):.1f}".removesuffix(".0") + " %"

    def loss(self) -> str:
        """The cell of innocents that were refused."""
        if self.lost is None:
            return ""
        most_first = sorted(self.lost.items(), key=lambda item: (-item[1][0], item[0]))
        kinds = [f"{kind}: {refused:,} of {of:,}" for kind, (refused, of) in most_first if refused]
        if len(kinds) <= NAMED_KINDS:
            return " and ".join(kinds) or "0"
        innocents = sum(of for _, of in self.lost.values())
        worst = "; ".join(kinds[:NAMED_KINDS])
        return f"{self.refused:,} of {innocents:,} ({worst}; {len(kinds) - NAMED_KINDS} other kinds)"


def seeds_of(outcomes: Iterable[Outcome]) -> list[str]:
    return sorted({outcome.seed for outcome in outcomes}, key=lambda seed: (len(seed), seed))


def table(outcomes: Sequence[Outcome]) -> str:
    """A row for each attack, and more than one where its variants differ; in the order of the outcomes."""
    cases: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        cases[outcome.name].append(outcome)
    rows: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, of_seeds in cases.items():
        attack, _, variant = name.partition(COLON)
        gain = max(of_seeds, key=lambda outcome: outcome.share).gain()
        loss = max(of_seeds, key=lambda outcome: outcome.refused).loss()
        rows[attack, gain, loss].append(variant)
    lines = [
        f"The largest figures under {seeds_in_words(seeds_of(outcomes))}:",
        "",
        "| attack | admitted, at most | innocents refused, at most |",
        "| --- | --- | --- |",
    ]
    for (attack, gain, loss), variants in rows.items():
        whole = attack + COLON + "; ".join(variants) if any(variants) else attack
        lines.append(f"| {' | '.join(map(escaped, (whole, gain, loss)))} |")
    return "\n".join(lines) + "\n"


def seeds_in_words(seeds: list[str]) -> str:
    """Seeds as a sentence names them."""
    if len(seeds) < 2:
        return f"seed {''.join(seeds)}"
    return f"the seeds {', '.join(seeds[:-1])} and {seeds[-1]}"


def escaped(cell: str) -> str:
    """Text that Markdown leaves as it is."""
    for sign in "\\|<*_`[":
        cell = cell.replace(sign, f"\\{sign}")
    return cell


def in_order(lines: Iterable[dict[str, Any]]) -> list[Outcome]:
    """The outcomes of such lines in the order of the tests; numbers in a test's name are ordered as numbers."""

    def natural(line: dict[str, Any]) -> list[tuple[str, int]]:
        return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", line["place"])]

    return [Outcome(**line["outcome"]) for line in sorted(lines, key=natural)]


def read(file: Path) -> list[Outcome]:
    """The outcomes of a file."""
    return in_order(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())


def missing(outcomes: Sequence[Outcome]) -> list[str]:
    """Attacks without an outcome under one of the seeds: a test failed before it had one."""
    seeds, having = seeds_of(outcomes), {(outcome.name, outcome.seed) for outcome in outcomes}
    names = dict.fromkeys(outcome.name for outcome in outcomes)
    return [f"{name}: no outcome under seed {seed}" for name in names for seed in seeds if (name, seed) not in having]


def quoted(page: str) -> str:
    """The table that a page quotes."""
    return page.partition(START)[2].partition(END)[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="the outcomes, a line of JSON each")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    arguments = parser.parse_args()
    outcomes = read(arguments.file)
    made, page = table(outcomes), PAGE.read_text(encoding="utf-8")
    print(f"\n{made}", end="", flush=True)
    for line in missing(outcomes):
        print(f"attacks: {line}", file=sys.stderr)
    if arguments.write:
        before, _, behind = page.partition(START)
        PAGE.write_text(f"{before}{START}{made}{END}{behind.partition(END)[2]}", encoding="utf-8")
    elif quoted(page) != made:
        print("attacks: docs/algorithms.md quotes another table; make attacks DOCS=write puts in this", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
