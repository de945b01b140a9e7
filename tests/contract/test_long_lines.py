"""The check of line lengths names each line that is too long, and counts characters, not bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import long_lines

if TYPE_CHECKING:
    from pathlib import Path


def test_a_line_past_the_last_column_is_named(tmp_path: Path) -> None:
    for place in (*long_lines.PLACES, *long_lines.EXCEPT):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "a.md").write_text("x" * 200)
    fits, too_long = "é" * 119 + "\n", "//" + "é" * 119 + "\n"
    (tmp_path / "rust" / "fits.rs").write_text(fits)
    (tmp_path / "rust" / "long.rs").write_text(fits + too_long + fits)
    (tmp_path / "tests" / "long.py").write_text(too_long)
    (tmp_path / long_lines.EXCEPT[0] / "left_out.rs").write_text(too_long)
    assert long_lines.too_long(tmp_path) == [
        "rust/long.rs:2: 121 columns; allowed: 120",
        "tests/long.py:1: 121 columns; allowed: 120",
    ]
