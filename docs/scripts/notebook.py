"""The tutorial on units as a notebook: its Python as cells of code, its commands after ``!``, the rest as text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "tutorials" / "units.md"
ADDRESS = "tutorials/units.ipynb"


def notebook() -> str:
    """The notebook as JSON (nbformat 4.5)."""
    cells = []
    for number, part in enumerate(
        re.split(r"^(```\w+\n.*?^```)\n", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    ):
        found = re.fullmatch(r"```(\w+)\n(.*?)```", part, flags=re.S)
        if found and found[1] in ("python", "sh"):
            lines = [f"!{line}" if found[1] == "sh" and line.strip() else line for line in found[2].splitlines()]
            cells.append(_cell(number, "code", "\n".join(lines), execution_count=None, outputs=[]))
        elif part.strip():
            cells.append(_cell(number, "markdown", part.strip()))
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _cell(number: int, kind: str, source: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"cell-{number}",
        "cell_type": kind,
        "metadata": {},
        "source": source.splitlines(keepends=True),
        **more,
    }
