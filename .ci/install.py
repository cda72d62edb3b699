"""Install exactly the locked versions, each file checked against its hash, and speechssl itself from this folder.

    python .ci/install.py         what the package needs
    python .ci/install.py --dev   and what the tests need

The Python that runs this is the one installed into. `make demo` and `make test` call it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A build that fetched its own tools would fetch today's: what build.txt names is used instead.
LOCKED = ("--require-hashes", "--no-deps", "--no-build-isolation", "--use-pep517")


def pip(*arguments: str, quiet: bool = False) -> bool:
    """Whether ``pip install`` went through; ``quiet``: without its words on why not."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, cwd=ROOT, stderr=subprocess.DEVNULL if quiet else None).returncode == 0


def install(name: str, *, quiet: bool = False) -> bool:
    return pip(*LOCKED, "--requirement", f"requirements/{name}.txt", quiet=quiet)


def install_torch() -> bool:
    """The CPU-only build where pip is set up to find it, else the ordinary one, on Linux with its CUDA libraries."""
    return install("torch-cpu", quiet=True) or install("torch")


def main() -> int:
    name = "dev" if "--dev" in sys.argv[1:] else "package"
    print(f"Installing the versions of requirements/{name}.txt; the first time takes minutes.", flush=True)
    done = install("build") and install_torch() and install(name)
    return 0 if done and pip("--no-deps", "--no-build-isolation", "--editable", ".") else 1


if __name__ == "__main__":
    sys.exit(main())
