"""Builds the wheels that are given to others: one for the running Python, and an abi3 one for every other.

    make wheel                         both, in dist
    make wheel ARGS=--without-profile  a plain build, in a quarter of the time

Both are built with a profile: an instrumented build does the work of `training.py`, and the compiler then lays out
the code for that work. This needs `llvm-profdata` of the same release as the compiler, which is a component of rustup.
Without it the wheels are built without a profile, and the first and the last line say so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
WORK = ROOT / "target" / "wheel"
RAW = WORK / "raw"
NO_TOOL = (
    "wheel: llvm-profdata is missing, so the wheels are BUILT WITHOUT A PROFILE and are about a quarter slower.\n"
    "wheel: `rustup component add llvm-tools` installs it; then run make wheel again.\n"
)


def run(*command: str | Path, **variables: str) -> None:
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True, env=os.environ | variables)


def maturin(out: Path, target: str, flags: str, *options: str, **variables: str) -> None:
    """Builds a wheel into ``out``, in a target directory of its own, since other flags would rebuild everything."""
    command: list[str | Path] = [
        Path(sys.executable).with_name("maturin"),
        "build",
        "--release",
        "--interpreter",
        sys.executable,
    ]
    flags = f"{os.environ.get('RUSTFLAGS', '')} {flags}".strip()
    variables |= {"RUSTFLAGS": flags, "CARGO_TARGET_DIR": str(WORK / target)}
    run(*command, "--out", out, *options, **variables)


def profdata() -> Path | None:
    """The compiler's own tool, since the format of profiles differs from release to release."""
    library = subprocess.run(
        ["rustc", "--print", "target-libdir"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    tool = Path(library).parent / "bin" / "llvm-profdata"
    return tool if tool.exists() else None


def profile(tool: Path) -> Path:
    """What an instrumented build did in training, as the compiler reads it."""
    for folder in (RAW, WORK / "dist", WORK / "venv"):
        shutil.rmtree(folder, ignore_errors=True)
    # Build scripts are instrumented too; what they record goes where nothing reads it.
    generate = f"-Cprofile-generate={RAW}"
    maturin(WORK / "dist", "instrumented", generate, LLVM_PROFILE_FILE=str(WORK / "unused" / "%p.profraw"))
    run(sys.executable, "-m", "venv", WORK / "venv")
    python = WORK / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", *(WORK / "dist").glob("*.whl"))
    run(python, "-I", ROOT / "benches" / "training.py", LLVM_PROFILE_FILE=str(RAW / "%p-%m.profraw"))
    merged = WORK / "training.profdata"
    run(tool, "merge", "-o", merged, *RAW.glob("*.profraw"))
    return merged


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--without-profile", action="store_true", help="build as a source build is built")
    options = parser.parse_args()
    tool = None if options.without_profile else profdata()
    is_missing = not (tool or options.without_profile)
    if is_missing:
        sys.stderr.write(NO_TOOL)
    shutil.rmtree(DIST, ignore_errors=True)
    # Cargo does not see that a profile has changed, so nothing of the last build may be reused.
    shutil.rmtree(WORK / "final", ignore_errors=True)
    flags = f"-Cprofile-use={profile(tool)}" if tool else ""
    maturin(DIST, "final", flags)
    maturin(DIST, "final", flags, "--features", "abi3")
    for wheel in sorted(DIST.glob("*.whl")):
        print(f"{wheel.stat().st_size / 1e6:6.2f} MB  {wheel.relative_to(ROOT)}{'  with a profile' if tool else ''}")
    if is_missing:
        sys.stderr.write(NO_TOOL)


if __name__ == "__main__":
    main()
