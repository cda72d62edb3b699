"""A text as passages: who says them, and the silence after them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from speechssl.app.handlers.targets import plain
from speechssl.app.refusals import Refused

LONGEST_PAUSE = 30.0  # seconds
_MARK = re.compile(r"\[pause(?=[\s\]])[^\]]*\]", re.IGNORECASE)
_PAUSE = re.compile(r"\[pause\s+(\d+(?:\.\d+)?)\s*s?\]", re.IGNORECASE)
_SPEAKER = re.compile(r"^[ \t]*([^:\n]{1,64}?)[ \t]*:[ \t]*", re.MULTILINE)


@dataclass(frozen=True)
class Passage:
    """Something that one voice says.

    Args:
        text: what is said.
        voice: name of a stored or bundled voice; empty for the voice that was chosen for the text.
        pause: seconds of silence after it.
        lead: seconds of silence before it.
    """

    text: str
    voice: str = ""
    pause: float = 0.0
    lead: float = 0.0


def passages(text: str, names: Iterable[str]) -> list[Passage]:
    """Take a text apart.

    A line that begins with the name of a voice and a colon, ``eric: Good morning.``, is said by this voice, and so are
    the lines after it up to the next name. ``[pause 0.5]`` is half a second of silence.

    Args:
        text: any.
        names: of the voices, as ``targets.names`` gives them; capitals do not matter, and of two voices of one name
            the first speaks.
    Raises:
        Refused: a pause that says no time, one longer than ``LONGEST_PAUSE``, or nothing but pauses, for the field
            ``text``.
    """
    known = _known(names)
    found: list[Passage] = []
    voice, begin = "", 0
    for match in _SPEAKER.finditer(text):
        if match[1].casefold() in known:
            found += _paused(text[begin : match.start()], voice)
            voice, begin = known[match[1].casefold()], match.end()
    found += _paused(text[begin:], voice)
    return _without_empty(found)


def remarks(text: str, names: Iterable[str]) -> tuple[str, ...]:
    """A remark on each name of nobody that begins a line of a text in which voices are named, for it is read aloud."""
    known, said = _known(names), [match[1] for match in _SPEAKER.finditer(text)]
    if not any(name.casefold() in known for name in said):
        return ()
    strange = dict.fromkeys(name for name in said if name.casefold() not in known and len(name.split()) == 1)
    return tuple(f"“{name}:” is read aloud: no voice has this name" for name in strange)


def _known(names: Iterable[str]) -> dict[str, str]:
    """Voices by their names in small letters."""
    known: dict[str, str] = {}
    for name in names:
        known.setdefault(plain(name).casefold(), name)
    return known


def _paused(text: str, voice: str) -> list[Passage]:
    parts = _PAUSE.split(text)
    if wrong := next((mark for part in parts[::2] for mark in _MARK.findall(part)), ""):
        raise Refused("text", f"{wrong} is no pause; [pause 0.5] is half a second")
    pauses = [float(one) for one in parts[1::2]]
    if any(pause > LONGEST_PAUSE for pause in pauses):
        raise Refused("text", f"a pause of {max(pauses):g} s; at most {LONGEST_PAUSE:.0f} s")
    return [Passage(part, voice, pause) for part, pause in zip(parts[::2], [*pauses, 0.0], strict=True)]


def _without_empty(found: list[Passage]) -> list[Passage]:
    """Only passages with something to say; pauses of the others go to the one before, or to the first."""
    kept: list[Passage] = []
    lead = 0.0
    for one in found:
        if any(letter.isalnum() for letter in one.text):
            kept.append(one)
        elif kept:
            kept[-1] = replace(kept[-1], pause=kept[-1].pause + one.pause)
        else:
            lead += one.pause
    if lead and not kept:
        raise Refused("text", "Write what is to be said; there are only pauses.")
    return [replace(kept[0], lead=lead), *kept[1:]] if kept else []
