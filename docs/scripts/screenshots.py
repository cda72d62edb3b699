"""Pictures of the page for README and the site, from its own examples.

    python docs/scripts/screenshots.py docs/assets    takes a minute, and needs a Chromium

They show what the page says on the day; renew them when its words or its look change.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

COLOURS = 128  # of the files, which are a third as large then
WIDTH = 1280


def converted(page: Any) -> None:
    """An example of the tab Convert, with its details."""
    page.get_by_role("button", name="Ada as Eric").click()
    page.locator("#convert-status .finished").wait_for()
    page.locator("#convert-details button").first.click()


def verified(page: Any) -> None:
    """An example of the tab Verify."""
    page.get_by_role("tab", name="Verify").click()
    page.get_by_role("button", name="Example: two speakers").click()
    page.locator("#verify-chart svg").wait_for()


def units(page: Any) -> None:
    """The example of the tab Units."""
    page.get_by_role("tab", name="Units").click()
    page.get_by_role("button", name="Example: Cleo says a sentence").click()
    page.locator("#units-picture svg").wait_for()


# name -> what is done, and the height of the window
PICTURES: dict[str, tuple[Callable[[Any], None], int]] = {
    "convert": (converted, 1280), "verify": (verified, 800), "units": (units, 880),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the pictures are written, as app-NAME.png")
    parser.add_argument("--chromium", default=None, help="the program, where it is not Playwright's own")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "speechssl", "app", "--port", "0"]
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_env(home)) as app,
        sync_playwright() as tool,
    ):
        assert app.stdout is not None
        address = next(found[0] for line in app.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        try:
            browser = tool.chromium.launch(executable_path=args.chromium)
            for name, (act, height) in PICTURES.items():
                page = browser.new_page(viewport={"width": WIDTH, "height": height}, locale="en-US")
                page.set_default_timeout(60_000)
                page.goto(address)
                page.locator("#convert-go").wait_for()
                act(page)
                page.wait_for_timeout(2000)  # what unfolds, unfolds
                _write(args.folder / f"app-{name}.png", page.screenshot())
                page.close()
            browser.close()
        finally:
            app.terminate()  # or its end would be waited for


def _env(home: str) -> dict[str, str]:
    """Nothing of the person who runs it is in the pictures."""
    return {**os.environ, "HOME": home, "XDG_DATA_HOME": home, "XDG_CACHE_HOME": home}


def _write(path: Path, picture: bytes) -> None:
    from PIL import Image

    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
