"""The player of a result: one sound and one position, with the tracks to compare; and pieces that play as they come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from speechssl.app.markup import element, html


@dataclass(frozen=True)
class Track:
    """One of the sounds that a person compares.

    Args:
        label: what the button says.
        path: of the recording; the service has to serve it.
        apart: whether it has other words, so that it begins at its own start.
    """

    label: str
    path: Path
    apart: bool = False


def player(tracks: Sequence[Track]) -> Markup:
    """A player that begins with the first track, where a stream of the same sound has come to."""
    made = address(tracks[0].path)
    buttons = [
        element("button", one.label, type="button", data_address=address(one.path), aria_pressed=str(not at).lower(),
                **({"data_apart": "yes"} if one.apart else {}))
        for at, one in enumerate(tracks)
    ]  # fmt: skip
    sound = element("audio", controls="", src=made, aria_label="result")
    choice = html('<div class="tracks" role="group" aria-label="Listen to">{}</div>', html("").join(buttons))
    return html('<div class="player" data-made="{}">{}{}</div>', made, sound, choice if len(tracks) > 1 else "")


def sample(path: Path | None, name: str) -> Markup:
    """A recording of a voice, to hear before it is chosen; nothing if none is kept."""
    if path is None:
        return html("")
    return element(
        "audio", class_="sample", controls="", preload="none", src=address(path), aria_label=f"how {name} sounds"
    )


def pieces(paths: Sequence[Path], sample_rate: int) -> Markup:
    """Pieces of one sound: the browser plays those that it has not played, without a gap."""
    listed = json.dumps([address(path) for path in paths])
    return html('<div class="live" data-rate="{}" data-pieces="{}"></div>', sample_rate, listed)


def address(path: Path) -> str:
    """Where the page finds a file of this service, below its own address."""
    return f"gradio_api/file={quote(str(path))}"
