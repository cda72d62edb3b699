"""Resolve every dependency anew and write requirements/*.txt; `make lock` runs this.

Each file names exact versions with the hashes of all their builds, for Linux, macOS and Windows and for Python 3.10 on:

    dev.txt        the package with all its extras and the tools of the tests, but torch
    docs.txt       what builds the site, in an environment of its own
    package.txt    what the package alone needs, in the same versions, but torch
    torch.txt      torch, and the CUDA libraries that its Linux build asks for
    torch-cpu.txt  its CPU-only build for Linux, which asks for none
    build.txt      what builds the package and the few dependencies that are published as sources alone
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
TORCH = "torch==2.13.0"
# The CPU-only builds are published outside the package index, so the resolver does not see them. These are the hashes
# of those for Linux on x86-64 and Python 3.11, 3.12, 3.13 and 3.14.
CPU_BUILDS = (
    "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
    "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",
    "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",
    "d20fa53ee744502fa4c69818a720b05ca0d37abd055d4f6e66cae155114bc691",
)
# pocketsphinx 5.1 has no wheel for Python 3.10 and 3.12, and 5.0 none for 3.13.
WITH_WHEELS = """
pocketsphinx<5.1 ; python_full_version < '3.11' or python_full_version == '3.12.*'
pocketsphinx>=5.1 ; python_full_version == '3.11.*' or python_full_version >= '3.13'
"""
OF_TORCH = re.compile(r"(torch==|nvidia-|cuda-|triton==)")


def compile_(source: str | Path, constraints: str, *options: str) -> list[str]:
    """The lines of a lock of ``source``: one entry a requirement, its marker and all its hashes."""
    (FOLDER / ".constraints.txt").write_text(constraints, encoding="utf-8")
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", str(source), "--quiet", "--universal", "--no-config"),
        *("--python-version", "3.10", "--generate-hashes", "--no-annotate", "--no-header"),
        *("--constraints", str(FOLDER / ".constraints.txt"), *options),
    ]  # fmt: skip
    try:
        answer = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
    finally:
        (FOLDER / ".constraints.txt").unlink()
    return re.split(r"\n(?=\w)", answer.stdout.strip())


def _extra(name: str) -> list[str]:
    """The requirements that pyproject.toml has under the name of an extra."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.findall(r'^ +"([^"]+)"', text.split(f"\n{name} = [", 1)[1].split("\n]", 1)[0], flags=re.MULTILINE)


def write(name: str, entries: list[str]) -> None:
    text = "\n".join(["# Written by `make lock`; .ci/install.py installs it.", *entries, ""])
    (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")
    print(f"requirements/{name}: {len(entries)} requirements")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    everything = compile_("pyproject.toml", TORCH + WITH_WHEELS, "--extra", "dev")
    pins = "\n".join(entry.split(" \\\n")[0] for entry in everything)
    package = compile_("pyproject.toml", pins)
    (FOLDER / ".docs.in").write_text("\n".join(_extra("docs")), encoding="utf-8")
    try:
        docs = compile_(FOLDER / ".docs.in", pins)
    finally:
        (FOLDER / ".docs.in").unlink()
    (FOLDER / ".build.in").write_text("hatchling\neditables\nsetuptools\n", encoding="utf-8")
    try:
        build = compile_(FOLDER / ".build.in", pins)
    finally:
        (FOLDER / ".build.in").unlink()
    write("dev.txt", [entry for entry in everything if not OF_TORCH.match(entry)])
    write("package.txt", [entry for entry in package if not OF_TORCH.match(entry)])
    write("docs.txt", docs)
    write("torch.txt", [entry for entry in everything if OF_TORCH.match(entry)])
    write("torch-cpu.txt", [" \\\n    --hash=sha256:".join([f"{TORCH}+cpu", *CPU_BUILDS])])
    write("build.txt", build)


if __name__ == "__main__":
    main()
