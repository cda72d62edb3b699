"""Subtitles (SubRip and WebVTT) of words with their times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
