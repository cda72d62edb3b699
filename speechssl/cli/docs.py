"""``speechssl docs``: where the documentation is, on this machine or on the net."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speechssl.cli import terminal
from speechssl.cli.options import Json, examples
from speechssl.errors import InputError

ADDRESS = "https://speechssl.github.io/speechssl/"
BUILT = Path(__file__).parents[2] / "build" / "site" / "index.html"  # in a copy of the repository, after `make docs`
EXAMPLES = examples("docs", "docs --browser")


def docs(
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the documentation in the browser of this machine.")
    ] = False,
    json: Json = False,
) -> None:
    """Print where the documentation is: the copy that `make docs` built, else the address on the net.

    The help of every command (`--help`) needs neither.
    """
    place = BUILT.as_uri() if BUILT.is_file() else ADDRESS
    terminal.answer({"docs": place, "offline": BUILT.is_file()}, place, json=json)
    if browser:
        import webbrowser

        if not webbrowser.open(place):
            raise InputError(f"--browser: this machine has no browser to open; open {place} in one")
