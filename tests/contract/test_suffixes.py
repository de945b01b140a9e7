"""The suffix list is found without the network, without importing tldextract, and its absence is explained."""

import subprocess
import sys
from pathlib import Path

import pytest

from throttle import ThrottleError, suffixes


def test_bundled_list_has_both_sections() -> None:
    lines = suffixes.read().splitlines()
    assert lines.index("com") < lines.index("github.io")
    assert lines.index("github.io") > lines.index("// ===BEGIN PRIVATE DOMAINS===")


def test_reading_the_bundled_list_does_not_import_tldextract() -> None:
    code = "import sys; from throttle import suffixes; suffixes.read(); sys.exit('tldextract' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_list_of_the_operator_is_read_instead(tmp_path: Path) -> None:
    own = tmp_path / "list.dat"
    own.write_text("".join(f"// {section}\n" for section in suffixes.SECTIONS) + "例え.テスト\n", encoding="utf-8")
    assert suffixes.read(own).endswith("例え.テスト\n")
    assert suffixes.read(str(own)) == suffixes.read(own)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"\xff// ===BEGIN ICANN DOMAINS===", "not UTF-8 at byte 0"),
        (b"<html>404</html>", "===BEGIN ICANN DOMAINS==="),
        (b"// ===BEGIN ICANN DOMAINS===\ncom\n", "===BEGIN PRIVATE DOMAINS==="),
    ],
    ids=["missing", "bytes", "web page", "half a list"],
)
def test_wrong_list_is_named_and_explained(content: bytes | None, told: str, tmp_path: Path) -> None:
    own = tmp_path / "list.dat"
    if content is not None:
        own.write_bytes(content)
    with pytest.raises(ThrottleError) as caught:
        suffixes.read(own)
    assert str(own) in str(caught.value)
    assert told in str(caught.value)


def test_missing_tldextract_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "tldextract", raising=False)
    with pytest.raises(ThrottleError, match="not installed"):
        suffixes.read()


def test_tldextract_without_its_snapshot_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tldextract").mkdir()
    (tmp_path / "tldextract" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "tldextract", raising=False)
    with pytest.raises(ThrottleError, match="came without its suffix list"):
        suffixes.read()
