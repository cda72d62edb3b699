"""The pages of the site, and the scripts that write the generated ones."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "docs" / "scripts"
HOOKS = runpy.run_path(str(SCRIPTS / "hooks.py"))
COMMANDS = runpy.run_path(str(SCRIPTS / "commands.py"))
COMMAND_PAGES: dict[str, str] = COMMANDS["pages"]()
ENDPOINTS = runpy.run_path(str(SCRIPTS / "endpoints.py"))
SOUNDS = runpy.run_path(str(SCRIPTS / "sounds.py"))
# pages by their address under docs/; README and CONTRIBUTING beside them
PAGES = {
    path.relative_to(ROOT / "docs").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs").rglob("*.md"))
}
READ_FIRST = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")}
GENERATED = {
    *COMMAND_PAGES,
    "reference/endpoints.md",
    "reference/model-files.md",
    "tutorials/units.ipynb",
    *(f"{SOUNDS['FOLDER']}/{name}" for name in SOUNDS["files"]()),
    *HOOKS["outside"](),
}


@dataclass(frozen=True)
class Block:
    """A fenced block: what its first line names, and its lines."""

    language: str
    text: str


def blocks(text: str, *languages: str) -> list[Block]:
    """The fenced blocks of a page, in order; of these languages only, where any are named."""
    found = re.findall(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```", text, flags=re.MULTILINE | re.DOTALL)
    return [Block(language, body) for _, language, body in found if not languages or language in languages]


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)


def settings() -> dict[str, Any]:
    """mkdocs.yml."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return found


def in_navigation(entries: list[Any] | None = None) -> Iterator[str]:
    """The pages that mkdocs.yml lists, and the words that stand for generated ones."""
    for entry in settings()["nav"] if entries is None else entries:
        for value in entry.values() if isinstance(entry, dict) else (entry,):
            if isinstance(value, list):
                yield from in_navigation(value)
            else:
                yield value
