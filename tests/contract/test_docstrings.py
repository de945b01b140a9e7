"""`help()` shows what the stub says: the docstrings of the compiled module are those of `_core.pyi`."""

from __future__ import annotations

import ast
import doctest
import inspect
import pydoc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import throttle
from throttle import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

STUB = Path(throttle.__file__).with_name("_core.pyi")


def documented() -> Iterator[tuple[str, object, str | None]]:
    """Yields each public class and member: its name, the object, and the docstring of the stub."""
    for of_class in ast.parse(STUB.read_text(encoding="utf-8")).body:
        if not isinstance(of_class, ast.ClassDef):
            continue
        compiled = getattr(_core, of_class.name)
        yield of_class.name, compiled, ast.get_docstring(of_class)
        for node, after in zip(of_class.body, [*of_class.body[1:], None], strict=True):
            if isinstance(node, ast.FunctionDef):
                name, text = node.name, ast.get_docstring(node)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                name, text = node.target.id, text_of(after)
            else:
                continue
            if not name.startswith("_"):
                yield f"{of_class.name}.{name}", getattr(compiled, name), text


def text_of(node: ast.stmt | None) -> str | None:
    """Returns the docstring that stands behind an attribute."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return inspect.cleandoc(node.value.value)
    return None


@pytest.mark.parametrize(("name", "compiled", "text"), [pytest.param(*row, id=row[0]) for row in documented()])
def test_a_public_name_has_the_docstring_of_the_stub(name: str, compiled: object, text: str | None) -> None:
    assert text, f"{STUB.name} says nothing of {name}"
    assert inspect.getdoc(compiled) == text


EXAMPLES = [(name, text) for name, _, text in documented() if text and ">>>" in text]


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example_prints_what_stands_below_it(name: str, text: str) -> None:
    names = {public: getattr(throttle, public) for public in throttle.__all__}
    example = doctest.DocTestParser().get_doctest(text, names, name, str(STUB), 0)
    printed: list[str] = []
    assert doctest.DocTestRunner(verbose=False).run(example, out=printed.append).failed == 0, "".join(printed)


def test_every_public_name_of_the_module_is_in_the_stub() -> None:
    told = {name for name, _, _ in documented()}
    classes = [getattr(_core, name) for name in _core.__all__ if isinstance(getattr(_core, name), type)]
    of_module = [of for of in classes if of.__module__ != "throttle.errors"]
    assert {of.__name__ for of in of_module} <= told
    members = {f"{of.__name__}.{name}" for of in of_module for name in vars(of) if not name.startswith("_")}
    assert members <= told


def test_help_shows_signatures_and_docstrings() -> None:
    shown = pydoc.plain(pydoc.render_doc(throttle.Throttle))
    for line in (
        "class Throttle(builtins.object)",
        (
            "Throttle(policy=None, *, memory=None, max_open=None, clock=None, seed=None, suffix_list=None, "
            "learned=None, sample=False)"
        ),
        "check(self, /, envelope, *, stage=None, now=None)",
        "Asks every limit, then charges all of them if all agree, and none otherwise.",
        "block(self, /, identity, value, *, seconds=None)",
    ):
        assert line in shown


def test_the_signature_of_a_limit_has_the_fields_of_a_policy_file() -> None:
    parameters = inspect.signature(throttle.Limit).parameters
    assert len(parameters) == 26
    assert '"name"' in throttle.Policy.schema()
    assert all(f'"{name}"' in throttle.Policy.schema() for name in parameters)


def test_the_counting_helpers_of_replay_are_no_part_of_the_public_module() -> None:
    for name in ("Counts", "Rows", "Seen", "Texts", "_replay"):
        assert not hasattr(_core, name)
    assert not hasattr(throttle.Throttle, "_values")
    assert sys.modules["throttle._replay"].__name__
