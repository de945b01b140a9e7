"""Every block of the README and of the pages under docs/ is run, in order, as a reader would,
and what it states is compared.
"""

from __future__ import annotations

import contextlib
import gc
import io
import math
import os
import re
import shlex
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import pytest

from pages import PAGES, README, ROOT, Block, blocks
from throttle import Policy, PolicyError, Throttle
from throttle._replay import replies

if TYPE_CHECKING:
    from pathlib import Path

#: Blocks that say why they are not run. One more is a decision, made here.
NOT_RUN = 5

#: What the site's generator reads, and nobody runs.
DIRECTIVES = ("{toctree}", "{eval-rst}")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def of(page: Path, language: str) -> list[Block]:
    return [block for block in blocks(page) if block.language == language and block.not_run is None]


@every_page
def test_its_blocks_do_in_order_what_stands_below_them(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reader, one directory: what a program writes, a command reads, and the other way about."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page):
        if "file" in block.marks:  # run, if at all, by a command of the page
            (tmp_path / block.marks["file"]).write_text(block.text, encoding="utf-8")
        elif block.language == "python" and block.not_run is None:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile("\n" * block.line + block.text, page.name, "exec"), namespace)
            assert out.getvalue() == block.prints or block.prints is None, str(block)
        elif block.language == "console" and block.not_run is None:
            obey(block, tmp_path)
    with warnings.catch_warnings():  # a server that is never run: nobody closes its event loop
        warnings.simplefilter("ignore", ResourceWarning)
        namespace.clear()
        gc.collect()


def obey(block: Block, directory: Path) -> None:
    """Each command of a block says what stands below it; a line `…` is any lines."""
    steps = re.findall(r"^\$ ([^\n]*)\n((?:(?!\$ )[^\n]*\n)*)", block.text, re.MULTILINE)
    assert steps, f"{block}: no command"
    for command, expected in steps:
        printed = said(shlex.split(command), directory)
        pattern = r"(?:.*\n)*".join(re.escape(lines) for lines in expected.split("…\n"))
        assert re.fullmatch(pattern, printed), f"{block}: {command}\n{printed}"


@every_page
def test_its_policies_are_right_or_wrong_as_they_say(page: Path) -> None:
    for block in of(page, "toml"):
        if "wrong" in block.marks:
            with pytest.raises(PolicyError):
                Policy.parse(block.text, file=str(block))
        else:
            Throttle(Policy.parse(block.text, file=str(block)))


def said(command: list[str], directory: Path) -> str:
    """What one of our own commands prints, standard error included; of pytest without the time that it took."""
    program, *arguments = command
    assert program in ("throttle", "pytest"), f"{program}: say why it is not run"
    plain = ["-p", "no:cacheprovider", "-W", "error"] if program == "pytest" else []
    done = subprocess.run(
        [sys.executable, "-m", program, *plain, *arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "COLUMNS"},
    )
    return re.sub(r" in [0-9.]+s$", "", re.sub(r"^\.+ .*\n", "", done.stdout, flags=re.MULTILINE), flags=re.MULTILINE)


def test_the_readmes_file_that_extends_says_only_what_is_different() -> None:
    extended, stated = (Policy.parse(block.text) for block in of(README, "toml"))
    assert [limit.name for limit in stated.limits] == ["org-fan-out", "account-pace", "all-open"]
    assert [limit.name for limit in extended.limits] == [limit.name for limit in Policy.builtin().limits]
    pair = next(limit for limit in extended.limits if limit.name == "pair-pace")
    assert (pair.fields["rate"], pair.fields["burst"]) == ("4500/minute", 30_000)
    assert list(pair.fields["quota"]) == ["salesforce.com"]


def test_the_readme_says_what_the_default_policy_takes_and_needs() -> None:
    with pytest.raises(PolicyError) as caught:
        Throttle(memory="1 MiB")
    needed = int(re.findall(r"at least (\d+) bytes", caught.value.allowed)[0])
    limits = len(Policy.builtin().limits)
    told = f"{limits} limits, which take 16 MiB and need at least {math.ceil(needed / 1e5) / 10} MB."
    assert told in README.read_text(encoding="utf-8")


def test_what_is_not_run_says_why() -> None:
    unrun = [block for page in PAGES for block in blocks(page) if block.not_run is not None]
    for block in unrun:
        print(f"{block}: {block.not_run}")
        assert block.not_run, str(block)
    assert len(unrun) == NOT_RUN, [str(block) for block in unrun]
    for page in PAGES:
        known = {"python", "toml", "console", "csv", "cfg", *DIRECTIVES, *([""] if page == README else [])}
        excused = {"not run", "part", "file"}  # files of other programs, which other tests read and run
        strange = [block for block in blocks(page) if block.language not in known and not excused & block.marks.keys()]
        assert not strange, f"neither run nor excused: {[str(block) for block in strange]}"


def test_the_blocks_are_found() -> None:
    """A reader of Markdown that finds nothing would let everything pass."""
    assert len(of(README, "python")) == 7
    assert of(README, "python")[0].prints
    found = [block for page in PAGES for block in blocks(page)]
    assert {"python", "toml", "console"} <= {block.language for block in found}
    assert sum(text.count("\n```\n") for text in [page.read_text("utf-8") for page in PAGES]) >= len(found)


@pytest.mark.parametrize(
    ("heading", "policy"),
    [
        ("Outside limits", "none = 1"),
        ("Fields of a limit", "[[limit]]\nnone = 1"),
        ("Identities", '[[limit]]\nname = "x"\nper = "none"'),
    ],
    ids=["policy", "limit", "identity"],
)
def test_the_reference_has_a_row_for_each_field(heading: str, policy: str) -> None:
    """What the parser says is allowed is what the page tells."""
    text = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    with pytest.raises(PolicyError) as caught:
        Policy.parse(policy)
    allowed = caught.value.allowed.removeprefix("one of ").split(", ")
    assert sorted(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)) == sorted(allowed)


def test_the_page_for_deferred_senders_has_every_built_in_reply_and_no_other() -> None:
    """A sender finds the line that the log shows. What is never said is left out: `out-of-order` has no key and no
    wait, and a block without an end is final.
    """
    text = (ROOT / "docs" / "deferred.md").read_text(encoding="utf-8")
    table = text.split("## Every reply, and what to do\n")[1].split("\n### ")[0]
    cells = [row.split(" | ")[0] for row in table.splitlines() if row.startswith("| `")]
    told = {reply for cell in cells for reply in re.findall(r"`(\d{3} [\d.]+ [^`]+)`", cell)}
    too_much = "NAME asks for more than it can ever have"
    general = next(cell for cell in cells if too_much in cell)
    told |= {f"{codes} {too_much}" for codes in re.findall(r"`(\d{3} [\d.]+)`", general)}
    built_in = {re.sub(r"retry in \d+ s", "retry in N s", reply) for reply in replies("NAME")}
    never = re.compile(r".* comes out of order.*|4.*NAME is blocked")
    built_in = {reply for reply in built_in if not never.fullmatch(reply)}
    final = {reply for reply in built_in if reply.startswith("55") and not reply.startswith("552")}
    assert told == built_in - final
    complaints = {reply.split(" ", 2)[2].partition("; retry")[0] for reply in told}
    assert {reply.split(" ", 2)[2] for reply in final} <= complaints


def test_every_public_name_is_in_the_reference() -> None:
    import throttle
    import throttle.sketch
    import throttle.types

    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\.\. autoapi\w+:: [\w.]*\.(\w+)$", text, re.MULTILINE))
    public = {*throttle.__all__, *throttle.sketch.__all__, *throttle.types.__all__} - {"__version__"}
    assert public <= told, sorted(public - told)


def test_every_page_is_in_the_navigation() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = index.split("{toctree}")[1].split("```")[0].split("\n\n")[1].split()
    assert sorted(listed) == sorted(page.stem for page in PAGES if page not in (README, ROOT / "docs" / "index.md"))
