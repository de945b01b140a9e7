"""No line of code or comment is longer than 120 columns, in Rust, Python and stubs.

    .venv/bin/python tests/long_lines.py

rustfmt and ruff break code, but neither breaks a comment, a text or an attribute.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = 120
SUFFIXES = {".rs", ".py", ".pyi"}
#: What is read, from the root of the repository.
PLACES = ("benches", "docs", "python", "rust", "tests")
#: What is left out: what was built and what fuzzing found.
EXCEPT: tuple[str, ...] = ("rust/fuzz/target", "rust/fuzz/corpus")


def too_long(root: Path) -> list[str]:
    """`file:line` and the columns of each line that is too long."""
    files = (file for place in PLACES for file in sorted((root / place).rglob("*")) if file.suffix in SUFFIXES)
    return [
        f"{name}:{number}: {len(line)} columns; allowed: {COLUMNS}"
        for file in files
        if not (name := file.relative_to(root).as_posix()).startswith(tuple(f"{place}/" for place in EXCEPT))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > COLUMNS
    ]


def main() -> None:
    found = too_long(ROOT)
    for line in found:
        print(line)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
