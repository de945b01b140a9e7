"""The import of `throttle` gives all names of one build or says what to install.

Each case runs in an interpreter of its own, on a copy of the package whose compiled module is replaced.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import throttle


def import_with(core: str | None, folder: Path) -> str:
    """What the interpreter says on `import throttle` when `_core.py` holds `core`, or when there is none."""
    package = folder / "throttle"
    package.mkdir()
    shutil.copy(Path(throttle.__file__), package / "__init__.py")
    if core is not None:
        (package / "_core.py").write_text(core)
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import throttle"
    return (
        subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
        .stderr.strip()
        .splitlines()[-1]
    )


def test_every_public_name_is_there() -> None:
    assert [name for name in throttle.__all__ if not hasattr(throttle, name)] == []


@pytest.mark.parametrize(
    ("core", "told"),
    [
        (None, "cannot be loaded"),
        ("raise ImportError('undefined symbol: PyFoo')", "undefined symbol: PyFoo"),
        ("Throttle = object", "of another build or another project"),
    ],
    ids=["missing", "broken", "alien"],
)
def test_import_says_what_to_install(core: str | None, told: str, tmp_path: Path) -> None:
    said = import_with(core, tmp_path)
    assert said.startswith("ImportError: throttle: ")
    assert told in said
    assert "pip install --force-reinstall mailthrottle" in said
