"""The check of the core's structure finds cycles, and only cycles, in small source trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import core_structure

if TYPE_CHECKING:
    from pathlib import Path

#: `plan` needs `store`, and `engine` needs both.
TREE = {
    "lib.rs": "pub mod engine;\npub mod plan;\npub mod store;\npub use engine::Engine;\n",
    "engine.rs": "use crate::{plan::Plan, store};\npub struct Engine(Plan, store::Verdict);\n",
    "plan.rs": "use crate::store::Verdict;\npub struct Plan(Verdict);\n",
    "store/mod.rs": "mod gcra;\nmod verdict;\npub use gcra::Gcra;\npub use verdict::Verdict;\n",
    "store/gcra.rs": "use super::Verdict;\npub struct Gcra(Verdict);\n",
    "store/verdict.rs": "pub enum Verdict { Admit, Refuse }\n",
}


def complaints(root: Path, changed: dict[str, str]) -> list[str]:
    for name, source in (TREE | changed).items():
        file = root / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(source)
    return core_structure.complaints(root)


def test_a_re_export_of_a_module_is_no_dependency(tmp_path: Path) -> None:
    assert complaints(tmp_path, {}) == []


@pytest.mark.parametrize(
    ("file", "more", "complaint"),
    [
        (
            "store/verdict.rs",
            "use super::gcra::Gcra;\n",
            (
                "cycle of files: store/gcra.rs -> store/verdict.rs (super::Verdict), "
                "store/verdict.rs -> store/gcra.rs (super::gcra::Gcra)"
            ),
        ),
        (
            "store/verdict.rs",
            "fn f() { crate::store::Gcra::new(); }\n",
            (
                "cycle of files: store/gcra.rs -> store/verdict.rs (super::Verdict), "
                "store/verdict.rs -> store/gcra.rs (crate::store::Gcra::new)"
            ),
        ),
        (
            "store/gcra.rs",
            "use super::{mean, Verdict as V};\n",
            "cycle of files: store/gcra.rs -> store/mod.rs (super::mean), store/mod.rs -> store/gcra.rs (gcra::Gcra)",
        ),
        (
            "store/gcra.rs",
            "use crate::plan;\nfn f() -> plan::Plan {}\n",
            (
                "cycle of folders: plan.rs -> store (plan.rs: crate::store::Verdict), "
                "store -> plan.rs (store/gcra.rs: crate::plan)"
            ),
        ),
    ],
)
def test_a_cycle_is_found_by_the_files_that_define_what_is_named(
    file: str, more: str, complaint: str, tmp_path: Path
) -> None:
    found = complaints(tmp_path, {file: TREE[file] + more} | ({"store/mod.rs": OWN_CODE} if "mean" in more else {}))
    assert found == [complaint]


#: A `mod.rs` whose own code names what it re-exports.
OWN_CODE = TREE["store/mod.rs"] + "pub fn mean(one: &Gcra) -> u64 { 0 }\n"


@pytest.mark.parametrize(
    "harmless",
    [
        "// use super::gcra::Gcra;\n",
        '/// [`super::gcra::Gcra`]\nconst A: &str = "super::gcra::Gcra";\n',
        "#[cfg(test)]\nmod tests {\n    use super::super::gcra::Gcra;\n    fn f() { loop {} }\n}\n",
        "use std::collections::HashMap;\nfn f<'a>(x: &'a str) -> char { '{' }\n",
    ],
)
def test_comments_texts_and_tests_are_no_dependencies(harmless: str, tmp_path: Path) -> None:
    assert complaints(tmp_path, {"store/verdict.rs": TREE["store/verdict.rs"] + harmless}) == []


def test_files_and_lines_are_counted_without_comments_and_blanks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_structure, "MOST_FILES", 5)
    monkeypatch.setattr(core_structure, "MOST_LINES", 14)
    found = complaints(tmp_path, {"plan.rs": TREE["plan.rs"] + "\n    // words\n/// words\n"})
    assert found == ["6 files; allowed: 5", "15 lines of code without comments and blanks; allowed: 14"]
