"""What mkdocs adds to docs/: generated pages, the pages of results, numbers read from them, links out of docs/.

A number stands between two comments, ``<!-- = FILE :: ROW :: COLUMN -->5.4<!-- = -->``, so that a code host shows it,
too; ``make docs`` writes it anew, and a test compares it. FILE is ``benchmarks``, a folder of recipes/ (its RESULTS.md)
or a path in the repository. ROW is the content of one cell of a row of its tables, or of several joined by `` & ``;
COLUMN is a heading, its first letters and a star, or empty for the last one; ``, as %`` after it makes percent of a
share. In a JSON file, ROW is the way to the value (``trained.5.speaker``), and ``%`` as COLUMN writes a share as
percent. Of a folder, ``megabytes`` as ROW is the size of all files in it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS, GENERATED = ROOT / "docs", ROOT / "build" / "docs"
REPOSITORY = "https://github.com/speechssl/speechssl/blob/main/"
NUMBER = re.compile(r"(<!-- = ([^:>]+?) :: (.+?) :: (.*?) ?-->)[^<]*(<!-- = -->)")
PICTURE = re.compile(r"\]\(((?![a-z]+:)[^)#\s]+\.png)\)")
LINK = re.compile(r"(\]\()((?:\.\./)[^)#\s]*)([^)]*\))")


# ---- numbers


def results_file(name: str) -> Path:
    """The file that a number names."""
    if name == "benchmarks":
        return ROOT / "benchmarks" / "README.md"
    recipe = ROOT / "recipes" / name / "RESULTS.md"
    return recipe if recipe.exists() else ROOT / name


def cell(name: str, row: str, column: str = "") -> str:
    """One cell of the tables of a results file; ValueError where there is none, or where several differ."""
    if row == "megabytes":
        return megabytes(ROOT / name)
    if name.endswith(".json"):
        return _of_json(name, row, column)
    wanted, percent = column.removesuffix(", as %"), column.endswith(", as %")
    found, heading = set(), []
    for line in results_file(name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            heading = []
            continue
        cells = [_plain(one) for one in re.split(r"(?<!\\)\|", line)[1:-1]]
        heading = heading or cells
        place = _place(heading, wanted)
        if set(row.split(" & ")) <= set(cells) and place is not None:
            found.add(cells[place])
    if len(found) != 1:
        raise ValueError(f"{name}: {len(found)} cells in row {row!r}, column {column!r}; one needed")
    value = found.pop()
    return f"{100 * float(value):.1f}" if percent else value


def _place(heading: list[str], column: str) -> int | None:
    """Which column a heading names; the last one if none is named."""
    if not column:
        return len(heading) - 1
    start = column.removesuffix("*")
    places = [i for i, one in enumerate(heading) if one == column or (start != column and one.startswith(start))]
    return places[0] if len(places) == 1 else None


def megabytes(folder: Path) -> str:
    """The size of all files in a folder, in whole megabytes (a million bytes); ValueError where there is none."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    if not sizes:
        raise ValueError(f"{folder}: no files")
    return str(round(sum(sizes) / 1e6))


def _of_json(name: str, way: str, form: str) -> str:
    value = json.loads((ROOT / name).read_text(encoding="utf-8"))
    for step in way.split("."):
        value = value[int(step) if isinstance(value, list) else step]
    return f"{100 * value:.1f}" if form == "%" else str(value)


def with_numbers(text: str) -> str:
    """A page with each number as its results file has it."""
    return NUMBER.sub(lambda match: match[1] + cell(*match.groups()[1:4]) + match[5], text)


def update() -> list[Path]:
    """Write the numbers of all pages anew; returns the pages that changed."""
    changed = []
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (now := with_numbers(text)) != text:
            path.write_text(now, encoding="utf-8")
            changed.append(path)
    return changed


def _plain(text: str) -> str:
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text.replace("*", "").replace("`", "")).strip()


# ---- pages that stand elsewhere in the repository


def outside() -> dict[str, Path]:
    """Files of the repository that are pages of the site, by their address in it."""
    found = {f"results/{path.parent.name}.md": path for path in sorted(ROOT.glob("recipes/*/RESULTS.md"))}
    names = {"changelog": "CHANGELOG.md", "security": "SECURITY.md", "contributing": "CONTRIBUTING.md"}
    return {
        **found,
        "results/benchmarks.md": ROOT / "benchmarks" / "README.md",
        **{f"project/{name}.md": ROOT / path for name, path in names.items()},
    }


def relinked(text: str, place: Path, address: str) -> str:
    """A page with its links out of docs/ mended: to another page of the site, else to the repository."""
    pages = {path: page for page, path in outside().items()}
    up = "../" * address.count("/")

    def mended(match: re.Match[str]) -> str:
        target = (place.parent / match[2]).resolve()
        if target.is_relative_to(DOCS):
            inside = target.relative_to(DOCS).as_posix()
            return f"{match[1]}{up}{inside}{match[3]}" if not place.is_relative_to(DOCS) else match[0]
        if target in pages:
            return f"{match[1]}{up}{pages[target]}{match[3]}"
        if target.suffix == ".png" and not place.is_relative_to(DOCS):
            return f"{match[1]}{up}{picture(place, target)}{match[3]}"
        inside = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else match[2]
        return f"{match[1]}{REPOSITORY}{inside}{match[3]}"

    links = LINK if place.is_relative_to(DOCS) else re.compile(r"(\]\()((?![a-z]+:|#)[^)#\s]+)([^)]*\))")
    return links.sub(mended, text)


def picture(place: Path, target: Path) -> str:
    """Where the site holds a picture that a page elsewhere in the repository shows or links."""
    return f"results/pictures/{place.parent.name}-{target.name}"


# ---- mkdocs calls these


def on_config(config: Any) -> Any:
    listed = sorted((GENERATED / "reference/commands").glob("*.md"))
    if not listed:
        raise SystemExit("build/docs has no pages of commands; run `make docs`")
    names = [path.stem for path in listed if path.stem != "index"]
    entries = [{" ".join(name.split("-")): f"reference/commands/{name}.md"} for name in names]
    _filled(config["nav"], "COMMANDS", ["reference/commands/index.md", *entries])
    _filled(config["nav"], "RESULTS", [page for page in outside() if page.startswith("results/")])
    return config


def _filled(entries: list[Any], name: str, pages: list[Any]) -> None:
    for entry in entries:
        for title, value in entry.items() if isinstance(entry, dict) else ():
            if value == name:
                entry[title] = pages
            elif isinstance(value, list):
                _filled(value, name, pages)


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for path in sorted(path for path in GENERATED.rglob("*") if path.is_file()):
        files.append(File.generated(config, path.relative_to(GENERATED).as_posix(), abs_src_path=str(path)))
    for address, path in outside().items():
        text = path.read_text(encoding="utf-8")
        files.append(File.generated(config, address, content=relinked(text, path, address)))
        for name in sorted(set(PICTURE.findall(text))):
            target = (path.parent / name).resolve()
            files.append(File.generated(config, picture(path, target), abs_src_path=str(target)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    address = page.file.src_uri
    place = DOCS / address
    return relinked(markdown, place, address) if place.exists() else markdown


def on_post_page(output: str, page: Any, config: Any) -> str:
    """The dialog of the search has a name for screen readers."""
    return output.replace('class="md-search" data-md-component="search" role="dialog"',
                          'class="md-search" data-md-component="search" role="dialog" aria-label="Search"')  # fmt: skip
