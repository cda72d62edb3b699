"""Write what the site shows and nobody types: pages of commands, endpoints and models, sounds, pictures, the notebook,
and the numbers within the pages.

    python docs/scripts/generate.py [--output build/docs]

``make docs`` runs this before mkdocs; everything comes from the package and its bundled clips.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import commands
import endpoints
import hooks
import models
import notebook
import sounds

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "docs", help="folder to write to")
    output: Path = parser.parse_args().output
    shutil.rmtree(output, ignore_errors=True)
    for address, text in {
        **commands.pages(),
        endpoints.ADDRESS: endpoints.page(),
        models.ADDRESS: models.page(),
        notebook.ADDRESS: notebook.notebook(),
    }.items():
        path = output / address
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    sounds.write(output / sounds.FOLDER)
    for path in hooks.update():
        print(f"{path.relative_to(ROOT)}: numbers brought up to date")


if __name__ == "__main__":
    main()
