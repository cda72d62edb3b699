"""Subtitles (SubRip and WebVTT): written for words with their times, and read as cues."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechssl.checkpoints import atomic_path
from speechssl.errors import InputError
from speechssl.synthesis.normalise import ENDS
from speechssl.synthesis.synthesizer import TimedWord

WIDTH = 42  # characters of a line, as television has them
LINES = 2  # on the screen
LASTS = 7.0  # seconds on the screen at most
_HELD = "a an the of to and or in on at for with der die das ein eine und oder im am"
HELD = frozenset(_HELD.split())  # words that no line ends with
FORMATS = (".srt", ".vtt")
LONGEST_GAP = 1800.0  # seconds from the beginning of one cue to that of the next: silence takes memory too
_TIME = r"(?:(\d{1,3}):)?([0-5]?\d):([0-5]?\d)[,.](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_MARKS = re.compile(r"</?[a-zA-Z][^<>\n]*>|<[\d:.]+>|\{\\[^{}\n]*\}")  # <i>, <v Ada>, <00:01.000>, {\an8}


@dataclass(frozen=True)
class Cue:
    """What is said at one time.

    Args:
        number: as the file gives it, else from 1 on.
        start, end: seconds.
        text: on one line, without marks such as ``<i>``.
    """

    number: int
    start: float
    end: float
    text: str


def are_in(text: str) -> bool:
    """Whether a text is subtitles: its first lines say so, or have times."""
    lines = [line for line in text.lstrip("\ufeff").splitlines() if line.strip()][:2]
    return any("-->" in line for line in lines) or bool(lines and lines[0].startswith("WEBVTT"))


def read(text: str, name: str = "subtitles") -> list[Cue]:
    """The cues of subtitles; those without a letter or a digit, such as ``♪``, are left out.

    Args:
        text: SubRip or WebVTT.
        name: of the file, for errors.
    Raises:
        InputError: no cues, times that cannot be read, or cues that are not in order; the message names the cue.

    Example:
        >>> read("1\\n00:00:01,000 --> 00:00:02,500\\n<i>Good morning.</i>")
        [Cue(number=1, start=1.0, end=2.5, text='Good morning.')]
    """
    cues: list[Cue] = []
    count, before = 0, 0.0
    for block in re.split(r"\n(?:[ \t]*\n)+", "\n".join(text.lstrip("\ufeff").splitlines()).strip("\n")):
        lines = block.strip().split("\n")
        if re.match(r"(WEBVTT|NOTE|STYLE|REGION)\b", lines[0]) or not block.strip():
            continue
        count += 1
        cue = _cue(lines, count, name)
        if not before <= cue.start <= before + LONGEST_GAP:
            wrong = "begins before the cue before it; sort the cues by time"
            wrong = (
                wrong if cue.start < before else f"begins more than {LONGEST_GAP / 60:.0f} minutes after the one before"
            )
            raise InputError(f"{name}, cue {cue.number}: {clock(cue.start)} {wrong}")
        before = cue.start
        cues += [cue] if any(map(str.isalnum, cue.text)) else []
    if not cues:
        raise InputError(f"{name} has no cue with text; times such as 00:00:01,000 --> 00:00:02,500 and a text needed")
    return cues


def _cue(lines: Sequence[str], count: int, name: str) -> Cue:
    number = int(lines[0]) if re.fullmatch(r"\s*\d{1,9}\s*", lines[0], re.ASCII) else count
    times = next((line for line in lines[:2] if "-->" in line), lines[min(1, len(lines) - 1)])
    found = _TIMES.fullmatch(times)
    if found is None:
        raise InputError(
            f"{name}, cue {number}: {times.strip()[:60]!r} is no line of times; 00:00:01,000 --> 00:00:02,500 needed"
        )
    start, end = (
        int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(part.ljust(3, "0")) / 1000
        for hours, minutes, seconds, part in (found.groups()[:4], found.groups()[4:])
    )
    if end <= start:
        raise InputError(f"{name}, cue {number}: it ends at {clock(end)}, not after it begins ({clock(start)})")
    said = _MARKS.sub("", " ".join(lines[lines.index(times) + 1 :]))
    return Cue(number, start, end, " ".join(said.split()))


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
        for number, shown in enumerate(screens(words), start=1):
            span = f"{clock(shown[0].start, point)} --> {clock(shown[-1].end, point)}"
            text = "\n".join(" ".join(word.text for word in line) for line in broken(shown))
            # an arrow in the text would be read as times
            file.write(f"{number}\n{span}\n{text.replace('-->', '→')}\n\n")


def screens(words: Iterable[TimedWord]) -> Iterator[Sequence[TimedWord]]:
    """Words that are shown together: of one sentence, two lines at most, parted at clauses where there are some.

    Args:
        words: in order; ``after`` says where sentences and clauses end.
    """
    sentence: list[TimedWord] = []
    for word in words:
        sentence += _short_enough(word)
        if word.after in ENDS:
            yield from _parted(sentence)
            sentence = []
    if sentence:
        yield from _parted(sentence)


def _parted(words: Sequence[TimedWord]) -> Iterator[Sequence[TimedWord]]:
    while not _fits(words):
        room = max(1, next(n for n in range(len(words), 0, -1) if n == 1 or _fits(words[:n])))
        # a clause that leaves a line at least half used; of the other places the last but a word alone on the next
        clauses = [n for n in range(1, room + 1) if words[n - 1].after and _width(words[:n]) >= WIDTH / 2]
        others = [n for n in range(1, room + 1) if not _is_held(words, n) and len(words) - n != 1]
        cut = max(clauses or others or [room])
        yield words[:cut]
        words = words[cut:]
    yield words


def broken(words: Sequence[TimedWord]) -> list[Sequence[TimedWord]]:
    """The lines of a screen: one if it is enough, else two of similar width, parted at a clause if they can be."""
    places = [n for n in range(1, len(words)) if _width(words[:n]) <= WIDTH and _width(words[n:]) <= WIDTH]
    if _width(words) <= WIDTH or not places:
        return [words]

    def cost(n: int) -> float:
        uneven = abs(_width(words[:n]) - _width(words[n:]))
        return uneven - (WIDTH / 2 if words[n - 1].after else 0) + (10 * WIDTH if _is_held(words, n) else 0)

    best = min(places, key=cost)
    return [words[:best], words[best:]]


def _fits(words: Sequence[TimedWord]) -> bool:
    short = len(words) == 1 or words[-1].end - words[0].start <= LASTS
    return short and (_width(words) <= WIDTH or len(broken(words)) == LINES)


def _width(words: Sequence[TimedWord]) -> int:
    return sum(len(word.text) + 1 for word in words) - 1


def _is_held(words: Sequence[TimedWord], n: int) -> bool:
    """Whether words n - 1 and n belong together: an abbreviation or an article and what follows."""
    before = words[n - 1]
    return (before.text.endswith(".") and not before.after) or before.text.lower() in HELD


def _short_enough(word: TimedWord) -> Iterator[TimedWord]:
    """A word, or the parts of one that is longer than a line, each with its share of the time."""
    count = -(-len(word.text) // WIDTH) or 1
    step = (word.end - word.start) / count
    for i in range(count):
        last = i == count - 1
        text = word.text[i * WIDTH : (i + 1) * WIDTH]
        yield TimedWord(text, word.start + i * step, word.start + (i + 1) * step, word.after if last else "")


def clock(seconds: float, point: str = ",") -> str:
    """``00:01:02,345``."""
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"
