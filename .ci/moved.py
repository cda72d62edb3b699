"""Print the packages of this environment whose versions are not those of requirements/*.txt, or that are not in it."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).parents[1] / "requirements"


def locked() -> dict[str, str]:
    """Name to version, for the Python and the system that run this."""
    versions = {}
    for path in sorted(FOLDER.glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith(("#", " ")):
                wanted = Requirement(line.removesuffix("\\"))
                if wanted.marker is None or wanted.marker.evaluate():
                    versions[canonicalize_name(wanted.name)] = str(wanted.specifier).removeprefix("==")
    return versions


def main() -> None:
    before = locked()
    for found in sorted(importlib.metadata.distributions(), key=lambda found: found.name.lower()):
        name = canonicalize_name(found.name)
        if name not in {"speechssl", "pip"} and before.get(name) != found.version.removesuffix("+cpu"):
            print(f"  {name} {before.get(name, '(not locked)')} -> {found.version}")


if __name__ == "__main__":
    main()
