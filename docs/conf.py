"""How the site is built: Sphinx over Markdown, the API read from the stubs without importing anything.

It fetches nothing: no inventories of other projects, no fonts, no scripts from elsewhere. Warnings are errors:
see `make docs`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]

project = "throttle"
author = "the throttle authors"
copyright = author
release = version = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["workspace"]["package"]["version"]

extensions = ["myst_parser", "autoapi.extension", "sphinx.ext.napoleon"]
exclude_patterns = ["pictures"]
html_theme = "furo"
html_title = f"throttle {release}"
html_show_copyright = False
html_show_sphinx = False

myst_heading_anchors = 3
suppress_warnings = ["autoapi.python_import_resolution"]  # the stubs import from modules that the reference leaves out

# The stubs are the reference; what lies beside them is not public, or is told on a page of its own.
autoapi_dirs = [str(ROOT / "python" / "throttle")]
autoapi_file_patterns = ["*.pyi", "*.py"]
autoapi_ignore = ["*/cli/*", "*/demo/*", "*/bench/*", "*/policies/*", "*/__main__.py"]
autoapi_generate_api_docs = False
autoapi_add_toctree_entry = False
autoapi_keep_files = False
autoapi_options = ["members", "undoc-members"]
autodoc_member_order = "bysource"
add_module_names = False

#: Where types come from: in a signature their own names say enough.
MODULES = re.compile(r"\b(?:collections\.abc|os|throttle\.types|throttle|typing)\.(?=[A-Z])")


def signature(
    app: Sphinx, what: str, name: str, found: Any, options: Any, args: str | None, returns: str | None
) -> tuple[str, str]:
    """The signature in short names; of a class from `__new__`, where that says it: AutoAPI looks at `__init__` only."""
    makers = [child for child in getattr(found, "children", ()) if child.short_name == "__new__"]
    if makers:
        args = f"({makers[0].args.removeprefix('cls').removeprefix(', ')})"
    return MODULES.sub("", args or ""), MODULES.sub("", returns or "")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    from pygments.lexers.special import TextLexer

    app.add_lexer("csv", TextLexer)  # Pygments has none of this name, and an unknown language is a warning
    app.connect("autodoc-process-signature", signature)
