"""The page of the models: the table of bundles, and the files in the package as their headers describe them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speechssl import BUNDLES, checkpoints

ADDRESS = "reference/model-files.md"
HEAD = """# Model files

What stands behind each model name and what each file in the package holds, read from the table of bundles and from the
headers of the files. [Models](models.md) says how good they are.
"""
NAMES = ("name", "layer", "vocoder", "download", "licence", "published by")
FILES = ("file", "kind", "size", "numbers in it", "frames or samples", "language", "licence", "recipe")


def page() -> str:
    """Markdown: one row a bundle, one row a file."""
    bundles = [
        (f"`{one.name}`", one.layer or "of its file", one.vocoder, _download(one), one.licence, one.source)
        for one in BUNDLES.values()
    ]
    files = [row(path) for path in sorted(checkpoints.PACKAGED.rglob("*.safetensors"))]
    lines = [HEAD, "## Names for `--model`", "", *_table(NAMES, bundles), "", "## Files in the package", ""]
    return "\n".join([*lines, *_table(FILES, files), ""])


def row(path: Path) -> tuple[object, ...]:
    """The cells of one file; empty where its header does not say."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        numbers = sum(_product(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    facts = checkpoints.peek(path)
    size = path.stat().st_size
    made = facts.get("provenance")
    return (
        f"`{path.relative_to(checkpoints.PACKAGED).as_posix()}`",
        facts["kind"],
        f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB",
        f"{numbers / 1e6:.2f} M" if numbers >= 1e4 else numbers,
        _rate(facts),
        facts.get("language", ""),
        facts.get("licence", ""),
        made.get("recipe", "") if isinstance(made, dict) else "",
    )


def _rate(facts: dict[str, Any]) -> str:
    heard = facts.get("input") or {}
    samples = heard.get("sampling_rate") or heard.get("sample_rate")
    if samples:
        return f"hears {samples} Hz"
    return f"{facts['frame_rate']:g} a second" if "frame_rate" in facts else ""


def _download(bundle: Any) -> str:
    return "none: in the package" if bundle.megabytes == 0 else f"{bundle.megabytes} MB, once"


def _product(shape: list[int]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


def _table(heading: tuple[str, ...], rows: list[tuple[object, ...]]) -> list[str]:
    lines = [heading, ("---",) * len(heading), *rows]
    return [
        "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in line) + " |" for line in lines
    ]
