"""The table that `make attacks` prints over all seeds, and the page that quotes it; no attack is played here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from attack_table import PAGE, Outcome, in_order, missing, quoted, read, table

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "| attack | admitted, at most | innocents refused, at most |\n| --- | --- | --- |\n"


def rows(*outcomes: Outcome) -> list[str]:
    return table(outcomes).partition(HEAD)[2].splitlines()


def test_each_cell_is_the_largest_figure_of_all_seeds() -> None:
    outcomes = [
        Outcome("flood", 90, 10_000, lost={"printers": (2, 31), "bounces": (1, 70)}, seed="12"),
        Outcome("flood", 80, 10_000, lost={"printers": (9, 33)}, seed="13"),
        Outcome("flood", 95, 10_000, lost={}, seed="14"),
    ]
    assert table(outcomes).startswith("The largest figures under the seeds 12, 13 and 14:\n\n" + HEAD)
    assert rows(*outcomes) == ["| flood | 0.9 % | printers: 9 of 33 |"]


def test_variants_share_a_row_when_their_figures_are_alike() -> None:
    assert rows(
        Outcome("null sender: 1 network", 5_400, 40_000, lost={}),
        Outcome("null sender: 10 networks", 40_000, 40_000, lost={}),
        Outcome("null sender: 200 networks", 40_000, 40_000, lost={}),
    ) == ["| null sender: 1 network | 13.5 % | 0 |", "| null sender: 10 networks; 200 networks | 100 % | 0 |"]


def test_a_cell_says_what_is_counted_and_only_all_reads_as_all() -> None:
    assert Outcome("", 39_999, 40_000).gain() == "99.9 %"
    assert Outcome("", 1_000, 4_000, "guesses").gain() == "1,000 of 4,000 guesses"
    assert Outcome("", 190, unit="MB").gain() == "190 MB"
    assert (Outcome("").gain(), Outcome("").loss()) == ("", "")


def test_a_cell_names_the_kinds_of_innocents_that_lost_most() -> None:
    lost = {"a": (1, 9), "b": (3, 9), "none": (0, 100), "c": (2, 9)}
    assert Outcome("", lost=lost).loss() == "b: 3 of 9 and c: 2 of 9 and a: 1 of 9"
    lost |= {"d": (4, 9), "e": (1, 9)}
    assert Outcome("", lost=lost).loss() == "11 of 145 (d: 4 of 9; b: 3 of 9; c: 2 of 9; 2 other kinds)"


def test_a_name_cannot_break_the_table() -> None:
    assert rows(Outcome("a|b <c> *d*", 1, 1)) == ["| a\\|b \\<c> \\*d\\* | 100 % |  |"]


def test_an_attack_without_an_outcome_under_one_seed_is_told() -> None:
    outcomes = [Outcome("one", seed="9"), Outcome("one", seed="10"), Outcome("two", seed="10")]
    assert missing(outcomes) == ["two: no outcome under seed 9"]


def test_outcomes_are_in_the_order_of_the_tests_whatever_process_ran_them(tmp_path: Path) -> None:
    lines = [{"place": f"a.py:{line}", "outcome": {"name": str(line)}} for line in (20, 3, 100)]
    assert [outcome.name for outcome in in_order(lines)] == ["3", "20", "100"]
    file = tmp_path / "outcomes"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert read(file) == in_order(lines)


def test_the_page_quotes_a_table_of_this_form() -> None:
    text = quoted(PAGE.read_text(encoding="utf-8"))
    assert text.startswith("The largest figures under the seeds 12, 13 and 14:\n\n" + HEAD)
    assert all(row.count(" | ") == 2 for row in text.partition(HEAD)[2].splitlines())
