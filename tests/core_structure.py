"""The structure of the Rust core: no dependency cycle, and no more files and lines than agreed.

    .venv/bin/python tests/core_structure.py            # cycles, files and lines
    .venv/bin/python tests/core_structure.py --cycles   # only cycles, as `make lint` does

It reads the paths in the source: `use` declarations, and paths such as `super::name` or `store::Verdict` in the code.
A path leads to the file that defines its item, through all re-exports; so `use crate::store::Verdict` leads to the file
with `enum Verdict`, not to the `mod.rs` that names it. A `mod.rs` does not depend on what it only re-exports.
Code for tests (`#[cfg(test)]`) counts as lines, but not as a dependency. Calls of methods cannot be seen.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CORE = Path(__file__).resolve().parents[1] / "rust" / "core" / "src"
MOST_FILES = 70
MOST_LINES = 11_000

#: A module or an item: the names on the way to it from the crate's root.
Name = tuple[str, ...]
#: For each file, the files it depends on, each with the path that says so.
Graph = dict[str, dict[str, str]]

TEXT_OR_COMMENT = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?r(?P<hashes>\#*)".*?"(?P=hashes)|b?"(?:\\.|[^"\\])*"|b?'(?:\\.[^']*|[^'\\])'""", re.DOTALL
)
TEST_ONLY = re.compile(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?")
USE = re.compile(r"\b(?P<public>pub(?:\([^)]*\))?\s+)?use\s+(?P<tree>[^;]+);")
VISIBLE = re.compile(r"\bpub\(in [\w:]+\)")
CHILD = re.compile(r"^\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;", re.MULTILINE)
ITEM = re.compile(
    r"^(?:pub(?:\([^)]*\))?\s+)?(?:default\s+|unsafe\s+|async\s+|const\s+|extern\s+)*"
    r"(?:struct|enum|trait|fn|const|static|type|union|macro_rules!)\s+(?:mut\s+)?(\w+)",
    re.MULTILINE,
)
PATH = re.compile(r"(?<![\w:])(?:r#)?([A-Za-z_]\w*)((?:\s*::\s*[A-Za-z_]\w*)+)")


class Import(NamedTuple):
    """One name that a `use` declaration brings into a module."""

    alias: str
    target: Name
    public: bool


class Module:
    """One file: its items, the names it imports, and the rest of its code."""

    def __init__(self, name: Name, file: str, source: str) -> None:
        self.name, self.file = name, file
        code = without_tests(TEXT_OR_COMMENT.sub(blank, source))
        self.imports = [
            imported for use in USE.finditer(code) for imported in imports(use["tree"], bool(use["public"]))
        ]
        # `pub(in crate::store)` and `mod name;` name a module, but use nothing of it
        self.code = CHILD.sub("", VISIBLE.sub("", USE.sub("", code)))
        self.children = set(CHILD.findall(code))
        self.items = set(ITEM.findall(code))
        self.of = {imported.alias: imported for imported in self.imports if imported.alias != "*"}


def blank(match: re.Match[str]) -> str:
    """Keeps a lifetime that looks like a character, and the lines."""
    return "\n" * match[0].count("\n") + (" " if match[0].startswith(("/", "'")) else '""')


def without_tests(code: str) -> str:
    """The code without what is compiled for tests only: up to a `;`, or to the brace that closes the block."""
    while found := TEST_ONLY.search(code):
        depth, end = 0, found.end()
        for end in range(found.end(), len(code)):
            depth += {"{": 1, "}": -1}.get(code[end], 0)
            if depth == 0 and code[end] in ";}":
                break
        code = code[: found.start()] + code[end + 1 :]
    return code


def imports(tree: str, public: bool, before: Name = ()) -> Iterator[Import]:
    """The names of `a::{b, c as d, e::*, self}`, one by one."""
    head, brace, rest = tree.strip().partition("{")
    path = tuple(part.strip() for part in head.split("::") if part.strip())
    if brace:
        for part in split(rest.rstrip().removesuffix("}")):
            yield from imports(part, public, before + path)
        return
    if not path:
        return
    last, _, alias = path[-1].partition(" as ")
    target = before + path[:-1] + (() if last == "self" else (last.strip(),))
    yield Import(alias.strip() or target[-1], target, public)


def split(tree: str) -> Iterator[str]:
    """Parts between the commas outside inner braces."""
    depth, begin = 0, 0
    for at, letter in enumerate(tree):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            yield tree[begin:at]
            begin = at + 1
    yield tree[begin:]


class Crate:
    """All modules of a source directory, found from `lib.rs` by their `mod` declarations."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: dict[Name, Module] = {}
        self.read((), root / "lib.rs")

    def read(self, name: Name, file: Path) -> None:
        module = Module(name, file.relative_to(self.root).as_posix(), file.read_text(encoding="utf-8"))
        self.modules[name] = module
        for child in module.children:
            inside = self.root.joinpath(*name, child)
            self.read((*name, child), next(f for f in (inside.with_suffix(".rs"), inside / "mod.rs") if f.exists()))

    def resolve(self, path: Name, at: Name, seen: frozenset[tuple[Name, Name]] = frozenset()) -> str | None:
        """The file that defines what ``path`` names in the module ``at``; ``None`` if it is not of this crate."""
        if (path, at) in seen:
            return None
        seen |= {(path, at)}
        here, module = path[0], self.modules[at]
        if here == "crate":
            at, path = (), path[1:]
        elif here == "self":
            path = path[1:]
        elif here == "super":
            return self.resolve(("self", *path[1:]), at[:-1], seen)
        if not path:
            return self.modules[at].file
        if path[0] == "super" or (here in {"crate", "self"} and path[0] == "self"):
            return self.resolve(path, at, seen)
        module, first, rest = self.modules[at], path[0], path[1:]
        if first in module.children and (*at, first) in self.modules:
            return self.resolve(("self", *rest), (*at, first), seen)
        if first in module.items:
            return module.file
        if first in module.of and module.of[first].target[0] != first:  # `use memchr::memchr` names a crate first
            return self.resolve((*module.of[first].target, *rest), at, seen)
        for imported in module.imports:
            if imported.alias == "*" and (found := self.resolve((*imported.target[:-1], *path), at, seen)):
                return found
        # An item that no pattern above finds, such as one made by a macro, is looked for in its module.
        return module.file if here in {"crate", "self"} and at else None

    def dependencies(self) -> Graph:
        graph: Graph = {}
        for name, module in self.modules.items():
            edges = graph.setdefault(module.file, {})
            for path in self.paths(module):
                file = self.resolve(path, name)
                if file is not None and file != module.file:
                    edges.setdefault(file, "::".join(path))
        return graph

    def paths(self, module: Module) -> Iterator[Name]:
        for imported in module.imports:
            # what is re-exported is a dependency only if the module's own code names it
            if not imported.public or re.search(rf"\b{re.escape(imported.alias)}\b", module.code):
                yield imported.target[:-1] if imported.alias == "*" else imported.target
        for first, rest in PATH.findall(module.code):
            yield (first, *re.findall(r"\w+", rest))


def by_folder(graph: Graph) -> Graph:
    """The same between the folders directly below the root; a file there stands for itself."""
    folders: Graph = {}
    for file, edges in graph.items():
        own = folders.setdefault(file.partition("/")[0], {})
        for other, path in edges.items():
            if other.partition("/")[0] != file.partition("/")[0]:
                own.setdefault(other.partition("/")[0], f"{file}: {path}")
    return folders


def cycles(graph: Graph) -> list[list[str]]:
    """A shortest cycle through each edge that lies on one; each cycle once, the shortest first."""
    found: dict[frozenset[str], list[str]] = {}
    for begin, edges in graph.items():
        for second in edges:
            if way := shortest(graph, second, begin):
                least = way.index(min(way))
                found.setdefault(frozenset(way), way[least:] + way[:least])
    return sorted(found.values(), key=lambda way: (len(way), way))


def shortest(graph: Graph, begin: str, end: str) -> list[str] | None:
    """The files on a shortest way, ``end`` first and without it at the end."""
    ways: list[list[str]] = [[end, begin]]
    seen = {begin}
    for way in ways:
        for after in graph.get(way[-1], {}):
            if after == end:
                return way
            if after not in seen:
                seen.add(after)
                ways.append([*way, after])
    return None


def lines(files: Iterable[Path]) -> int:
    """Lines of code, without blank ones and those of a comment."""
    code = (line.strip() for file in files for line in file.read_text(encoding="utf-8").splitlines())
    return sum(1 for line in code if line and not line.startswith("//"))


def cycles_of(root: Path) -> list[str]:
    """Each cycle of folders and of files, one line each."""
    graph = Crate(root).dependencies()
    found = []
    for what, of in (("folders", by_folder(graph)), ("files", graph)):
        for way in cycles(of):
            steps = (f"{a} -> {b} ({of[a][b]})" for a, b in zip(way, [*way[1:], way[0]], strict=True))
            found.append(f"cycle of {what}: {', '.join(steps)}")
    return found


def too_large(root: Path) -> list[str]:
    """Whether there are more files or lines than agreed, one line each."""
    files = sorted(root.rglob("*.rs"))
    found = []
    if len(files) > MOST_FILES:
        found.append(f"{len(files)} files; allowed: {MOST_FILES}")
    if (count := lines(files)) > MOST_LINES:
        found.append(f"{count} lines of code without comments and blanks; allowed: {MOST_LINES}")
    return found


def complaints(root: Path) -> list[str]:
    """What is wrong with the structure, one line each."""
    return cycles_of(root) + too_large(root)


def main() -> None:
    found = cycles_of(CORE) if sys.argv[1:] == ["--cycles"] else complaints(CORE)
    for complaint in found:
        print(complaint)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
