"""Subtitles (SubRip and WebVTT) of words with their times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from speechssl.checkpoints import atomic_path
from speechssl.errors import InputError
from speechssl.synthesis.synthesizer import TimedWord

WIDTH = 42  # characters of a line, as television has them
LASTS = 6.0  # seconds of a line at most
FORMATS = (".srt", ".vtt")


def check_format(path: str | Path) -> Path:
    """The path, if its suffix is one of subtitles.

    Raises:
        InputError: it does not.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise InputError(f"cannot write subtitles to {path}; a name that ends in {' or '.join(FORMATS)} needed")
    return Path(path)


def write(path: str | Path, words: Iterable[TimedWord]) -> None:
    """Write the subtitles of a text, whole or not at all.

    Args:
        path: ends in .srt or .vtt.
        words: in order.
    Raises:
        InputError: another extension.
        CheckpointError: the place cannot be written to.
    """
    target = check_format(path)
    web = target.suffix.lower() == ".vtt"
    point = "." if web else ","
    with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("WEBVTT\n\n" if web else "")
        for number, line in enumerate(lines(words), start=1):
            span = f"{clock(line[0].start, point)} --> {clock(line[-1].end, point)}"
            text = " ".join(word.text for word in line)
            # an arrow in the text would be read as times
            file.write(f"{number}\n{span}\n{text.replace('-->', '→')}\n\n")


def lines(words: Iterable[TimedWord]) -> Iterator[Sequence[TimedWord]]:
    """Words that are shown together: until a sentence ends, the line is full or has lasted long enough."""
    line: list[TimedWord] = []
    for word in words:
        width = sum(len(one.text) + 1 for one in line) + len(word.text)
        if line and (width > WIDTH or word.end - line[0].start > LASTS or line[-1].text.endswith((".", "!", "?"))):
            yield line
            line = []
        line.append(word)
    if line:
        yield line


def clock(seconds: float, point: str = ",") -> str:
    """``00:01:02,345``."""
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"
