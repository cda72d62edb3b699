"""Trial lists: read the formats in use, write a balanced one for a folder of speakers."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechssl import checkpoints
from speechssl.audio import lists, search
from speechssl.checkpoints import foreign
from speechssl.checkpoints.names import some
from speechssl.errors import InputError
from speechssl.verification.logistic import PRIOR

LABELS = {"1": True, "0": False, "target": True, "nontarget": False, "true": True, "false": False}
# names of the three columns of a CSV, and of the two that may be there
COLUMNS = (("enrolment", "enrollment", "enrol", "enroll"), ("test",), ("label", "target", "is_target"))
SPEAKER_COLUMNS = ("enrolment_speaker", "test_speaker")
ROOT = "# root:"  # begins a list whose paths are relative to another folder than its own
LONGEST_LINE = 100_000  # characters
LISTED = 20  # faults named in one message
FALSE_ALARMS = 30  # that a rate should rest on: it is then within 30 % of the true one with 90 % confidence
MOST_TRIALS = 200_000  # of different speakers that are drawn for a calibration, for time and memory


@dataclass(frozen=True)
class Trial:
    """Two recordings, and whether one speaker speaks in both. Paths as the list has them, relative to an audio root.

    Args:
        speakers: of both sides, where the list says; None: the paths say (``speaker_of``).
    """

    enrolment: str
    test: str
    is_target: bool
    speakers: tuple[str, str] | None = None

    @property
    def sides(self) -> tuple[str, str]:
        """The speakers of both sides."""
        return self.speakers or (speaker_of(self.enrolment), speaker_of(self.test))


def read_trials(path: str | Path) -> list[Trial]:
    """Read a trial list.

    Args:
        path: lines ``1 a.wav b.wav`` (VoxCeleb), ``a b target`` (Kaldi), the same with commas in a CSV, or a table
            (commas, semicolons, tabs) whose header has ``enrolment`` (or ``enrollment``), ``test`` and ``label``, and
            may have ``enrolment_speaker`` and ``test_speaker``. Empty lines and lines that begin with # are passed
            over.
    Raises:
        InputError: missing, empty, or malformed lines: all of them are named, with file and line number.
    """
    path = Path(path)
    numbered = _numbered_lines(path, "a trial list or a folder of speakers", "1 a.wav b.wav")
    delimiter = _delimiter(numbered[0][1])
    rows = (
        _csv_rows(numbered, delimiter)
        if delimiter
        else [(number, _plain(_words(path, line))) for number, line in numbered]
    )
    trials, faults = [], []
    for number, row in rows:
        if row is None:
            faults.append(f"{path}:{number}: {dict(numbered)[number].strip()[:80]!r}")
        else:
            trials.append(row)
    if faults:
        _refuse(faults, "malformed trial lines; '1 a.wav b.wav', 'a.wav b.wav target' or CSV needed")
    return trials


def read_enrolments(path: str | Path) -> dict[str, list[str]]:
    """Recordings by the name that stands for them on the enrolment side of trials.

    Args:
        path: lines ``NAME a.wav b.wav ...``, as Kaldi's ``spk2utt``; empty lines and those that begin with # are passed
            over.
    Raises:
        InputError: missing, empty, or lines without a recording or with a name that was there before; all are named.
    """
    path = Path(path)
    found: dict[str, list[str]] = {}
    faults = []
    for number, line in _numbered_lines(path, "a list of enrolments", "NAME a.wav b.wav"):
        name, *files = line.split()
        if not files or name in found:
            faults.append(f"{path}:{number}: {line.strip()[:80]!r}")
        found[name] = files
    if faults:
        _refuse(faults, "malformed enrolment lines; 'NAME a.wav b.wav ...' needed, each name once")
    return found


def read_pairs(path: str | Path) -> list[tuple[str, str]]:
    """Files of the pairs in a list: an enrolment recording and a test recording each.

    Args:
        path: a table or JSON lines with the columns ``enrolment`` and ``test``, or lines ``a.wav b.wav``, with a tab
            (in a CSV, a comma or semicolon) between the paths if they hold spaces; labels of a trial list are passed
            over. Paths are relative to the list's folder.
    Raises:
        InputError: missing, empty, or malformed lines; with file and line number.
    """
    path = Path(path)
    numbered = _numbered_lines(path, "a list of pairs", "a.wav b.wav")
    if path.suffix.lower() in lists.JSON_LINES or _delimiter(numbered[0][1]):
        found = [
            (number, [_cell(row, COLUMNS[0]), _cell(row, COLUMNS[1])])
            for number, row in lists.table(path, [*COLUMNS[0], *COLUMNS[1]])
        ]
    else:
        found = [(number, _without_label(_words(path, line))) for number, line in numbered]
    faults = [f"{path}:{number}" for number, sides in found if len(sides) != 2 or not all(sides)]
    if faults or not found:
        _refuse(faults or [str(path)], "malformed pairs; 'a.wav b.wav' or columns 'enrolment' and 'test' needed")
    folder = lists.folder_of(path)
    return [(lists.located(folder, one)[1], lists.located(folder, two)[1]) for _, (one, two) in found]


def _cell(row: dict[str, object], names: tuple[str, ...]) -> str:
    return next((str(row[name]).strip() for name in names if row.get(name)), "")


def _words(path: Path, line: str) -> list[str]:
    """What a line without named columns holds; in a table, commas and semicolons stand between its words, too."""
    between = "\t,;" if path.suffix.lower() in lists.TABLES else "\t"
    mark = next((one for one in between if one in line.strip()), "")
    return [cell.strip() for cell in next(csv.reader([line], delimiter=mark))] if mark else line.split()


def _without_label(words: list[str]) -> list[str]:
    if len(words) == 3 and words[0].lower() in LABELS:
        return words[1:]
    return words[:2] if len(words) == 3 and words[2].lower() in LABELS else words


def root_of(path: str | Path) -> Path:
    """The folder that paths of a trial list are relative to: that of its first line ``# root: ...``, else its own."""
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline()
    except (OSError, UnicodeDecodeError):
        return path.parent  # whoever reads the list says what is wrong
    return path.parent / first.removeprefix(ROOT).strip() if first.startswith(ROOT) else path.parent


def write_trials(path: str | Path, trials: Iterable[Trial], *, root: str | Path | None = None) -> Path:
    """Write VoxCeleb-style lines ``1 a.wav b.wav``; as CSV, with the speakers, where the path ends in ``.csv``.

    Args:
        path: of the list.
        trials: their paths are relative to ``root``.
        root: folder of the recordings, which the list names unless it lies there; None for the list's own.
    Raises:
        InputError: a path with a space, which the first format cannot hold.
    """
    path = Path(path)
    place = "." if root is None else os.path.relpath(Path(root).resolve(), path.resolve().parent).replace(os.sep, "/")
    if path.suffix.lower() == ".csv":
        lines = _csv_lines(trials, place)
    else:
        lines = [*([] if place == "." else [f"{ROOT} {place}\n"]), *_plain_lines(trials)]
    checkpoints.write_text(path, "".join(lines))
    return path


def _csv_lines(trials: Iterable[Trial], root: str) -> list[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["enrolment", "test", "label", *SPEAKER_COLUMNS])
    for trial in trials:
        paths = [one if root == "." else f"{root}/{one}" for one in (trial.enrolment, trial.test)]
        writer.writerow([*paths, int(trial.is_target), *trial.sides])
    return [text.getvalue()]


def _plain_lines(trials: Iterable[Trial]) -> list[str]:
    lines = []
    for trial in trials:
        if any(len(side.split()) != 1 for side in (trial.enrolment, trial.test)):
            raise InputError(f"{trial.enrolment!r} or {trial.test!r} holds a space; rename it, or write a .csv")
        lines.append(f"{int(trial.is_target)} {trial.enrolment} {trial.test}\n")
    return lines


def write_scores(path: str | Path, trials: Sequence[Trial], scores: Iterable[float]) -> Path:
    """Write the score of each trial: a table with labels if the path ends in .csv, else ``enrolment test score``."""
    path = Path(path)
    text = io.StringIO()
    if path.suffix.lower() == ".csv":
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["enrolment", "test", "label", "score"])
    else:
        writer = csv.writer(text, lineterminator="\n", delimiter=" ", quoting=csv.QUOTE_MINIMAL)
    for trial, score in zip(trials, scores, strict=True):
        label = [int(trial.is_target)] if path.suffix.lower() == ".csv" else []
        writer.writerow([trial.enrolment, trial.test, *label, f"{score:.6f}"])
    checkpoints.write_text(path, text.getvalue())
    return path


def speaker_of(recording: str) -> str:
    """The speaker a path names: its first folder, else the file name up to the first - or _."""
    parts = Path(recording).parts
    parts = tuple(part for part in parts if part not in (".", "/"))
    if len(parts) > 1:
        return parts[0]
    return parts[0].replace("_", "-").split("-")[0].split(".")[0]


def session_of(recording: str) -> str:
    """What was recorded in one go: the folder a file lies in, two levels or more below the root; else unknown."""
    parts = Path(recording).parts
    return "/".join(parts[:-1]) if len(parts) > 2 else ""


def find_recordings(folder: str | Path) -> dict[str, list[str]]:
    """Recordings of a folder ``speaker/**/file`` by speaker, paths relative to it, sorted.

    Raises:
        InputError: no such folder, or fewer than two speakers with recordings.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; one folder a speaker needed inside it")
    found: dict[str, list[str]] = {}
    for file in search.below(folder):
        relative = file.relative_to(folder)
        if search.is_recording(file) and len(relative.parts) > 1:
            found.setdefault(relative.parts[0], []).append(relative.as_posix())
    if len(found) < 2:
        raise InputError(f"{folder} holds recordings of {len(found)} speaker(s) in folders of their own; two needed")
    return found


def make_trials(
    recordings: dict[str, list[str]],
    *,
    per_speaker: int = 50,
    others: int = 0,
    seed: int = 0,
    other_sessions: bool = False,
) -> list[Trial]:
    """A balanced list: of every speaker up to so many target trials, and as many non-target ones.

    Args:
        recordings: paths by speaker.
        per_speaker: target trials of each speaker at most; all pairs if there are fewer.
        others: non-target trials at least, as far as there are so many, where a low rate of false alarms is asked for.
        seed: of the draw; the same seed gives the same list.
        other_sessions: no target trial within one session (``session_of``), which a recording setup can give away.
    Raises:
        InputError: fewer than two speakers, or nobody with two recordings that may be paired.
    """
    if len(recordings) < 2:
        raise InputError(f"{len(recordings)} speaker(s); two needed for trials of different speakers")
    rng = np.random.default_rng(seed)
    trials: list[Trial] = []
    for speaker in sorted(recordings):
        pairs = _pairs(sorted(recordings[speaker]), other_sessions)
        order = rng.permutation(len(pairs))[:per_speaker]
        trials += [Trial(pairs[number][0], pairs[number][1], True) for number in order]
    if not trials:
        instead = ", or leave out --other-sessions" if other_sessions else ""
        raise InputError(f"no speaker has two recordings that may be paired; give more recordings{instead}")
    return trials + _others(recordings, max(len(trials), others), rng)


def others_for(false_alarm: float | None) -> int:
    """Trials of different speakers that a threshold for this rate should rest on; None: for the prior of the fit.

    Source: the rule of 30 (Doddington et al. 2000, "The NIST speaker recognition evaluation", section 3).
    """
    return min(MOST_TRIALS, math.ceil(FALSE_ALARMS / (PRIOR if false_alarm is None else false_alarm)))


def cannot_promise(false_alarm: float | None, trials: Sequence[Trial]) -> str | None:
    """What trials do not show about a rate of false alarms, and what to do; None if they do."""
    others = sum(not trial.is_target for trial in trials)
    if false_alarm is None or others >= others_for(false_alarm):
        return None
    speakers = len({name for trial in trials for name in trial.sides})
    shown = FALSE_ALARMS / others
    return (
        f"a false-alarm rate of {100 * false_alarm:g} % is not promised: it rests on {false_alarm * others:.1f} of the "
        f"{others} trials of different speakers that {speakers} speakers make; rates from {100 * shown:.2g} % up rest "
        f"on {FALSE_ALARMS}. Give recordings of more speakers, or ask for a higher rate"
    )


def all_pairs(recordings: dict[str, list[str]]) -> list[Trial]:
    """Every pair of different recordings, paths by speaker: the whole of what a set can say."""
    files = [(name, file) for name in sorted(recordings) for file in sorted(recordings[name])]
    return [
        Trial(one, two, name == other, (name, other))
        for place, (name, one) in enumerate(files)
        for other, two in files[place + 1 :]
    ]


def recordings_of(trials: Sequence[Trial]) -> dict[str, str]:
    """The speaker of every recording in a list, by path."""
    return {
        path: name for trial in trials for path, name in zip((trial.enrolment, trial.test), trial.sides, strict=True)
    }


def files_of(trials: Sequence[Trial], enrolments: dict[str, list[str]] | None = None) -> list[str]:
    """Every recording that trials need, once; an enrolment not named in ``enrolments`` is a recording itself."""
    known = enrolments or {}
    sides = {file for name in {trial.enrolment for trial in trials} for file in known.get(name, [name])}
    return sorted(sides | {trial.test for trial in trials})


def check_audio(trials: Sequence[Trial], root: str | Path, enrolments: dict[str, list[str]] | None = None) -> None:
    """Make sure that every recording is there; ``enrolments`` as ``read_enrolments`` gives them.

    Raises:
        InputError: some are missing; all of them are named.
    """
    names = files_of(trials, enrolments)
    missing = [name for name in names if not (Path(root) / name).is_file()]
    if missing:
        # all of them, however many: whoever has to fetch them wants the whole list
        _refuse(missing, f"of {len(names)} recordings are missing under {root}", most=len(missing))


def _numbered_lines(path: Path, what: str, example: str) -> list[tuple[int, str]]:
    """Lines with their numbers from 1, without the empty ones and the remarks."""
    if not path.exists():
        raise InputError(f"{path} does not exist; {what} needed: check the path")
    try:
        lines = foreign.read_text(path).splitlines()
    except InputError as error:
        raise InputError(f"{error} ({what} needed)") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and line[0] != "#"]
    if too_long := [number for number, line in numbered if len(line) > LONGEST_LINE]:
        raise InputError(f"{path}:{too_long[0]} is longer than {LONGEST_LINE} characters; {what} needed")
    if not numbered:
        raise InputError(f"{path} holds nothing; lines such as '{example}' needed")
    return numbered


def _refuse(faults: list[str], what: str, *, most: int = LISTED) -> None:
    raise InputError(f"{len(faults)} {what}: {some(faults, most)}")


def _plain(words: list[str]) -> Trial | None:
    if len(words) != 3:
        return None
    if words[0].lower() in LABELS and words[2].lower() not in LABELS:
        return Trial(words[1], words[2], LABELS[words[0].lower()])
    if words[2].lower() in LABELS:
        return Trial(words[0], words[1], LABELS[words[2].lower()])
    return None


def _delimiter(heading: str) -> str:
    """What stands between the columns of a table with a column ``test``; empty for other lists."""
    for delimiter in ",;\t":
        names = [name.strip().lower() for name in next(csv.reader([heading], delimiter=delimiter))]
        if len(names) > 1 and "test" in names:
            return delimiter
    return ""


def _csv_rows(numbered: list[tuple[int, str]], delimiter: str) -> list[tuple[int, Trial | None]]:
    heading = [name.strip().lower() for name in next(csv.reader([numbered[0][1]], delimiter=delimiter))]
    first, second, label = (next((heading.index(name) for name in names if name in heading), None) for names in COLUMNS)
    if first is None or second is None or label is None:
        return [(numbered[0][0], None)]
    named = [heading.index(name) for name in SPEAKER_COLUMNS if name in heading]
    rows: list[tuple[int, Trial | None]] = []
    for number, line in numbered[1:]:
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
        good = len(cells) == len(heading) and cells[label].lower() in LABELS and cells[first] and cells[second]
        if not good:
            rows.append((number, None))
            continue
        speakers = (cells[named[0]], cells[named[1]]) if len(named) == 2 else None
        rows.append((number, Trial(cells[first], cells[second], LABELS[cells[label].lower()], speakers)))
    return rows


def _pairs(files: list[str], other_sessions: bool) -> list[tuple[str, str]]:
    pairs = [(one, two) for place, one in enumerate(files) for two in files[place + 1 :]]
    if not other_sessions:
        return pairs
    return [(one, two) for one, two in pairs if session_of(one) != session_of(two)]


def _others(recordings: dict[str, list[str]], count: int, rng: np.random.Generator) -> list[Trial]:
    """``count`` different non-target trials, or all there are; the speakers of both sides drawn evenly."""
    speakers = sorted(recordings)
    sizes = [len(recordings[speaker]) for speaker in speakers]
    possible = (sum(sizes) ** 2 - sum(size**2 for size in sizes)) // 2
    if 2 * count > possible:  # nearly all, which a draw would be long about
        every = [trial for trial in all_pairs(recordings) if not trial.is_target]
        return [Trial(every[i].enrolment, every[i].test, False) for i in rng.permutation(possible)[:count]]
    found: dict[tuple[str, str], Trial] = {}
    while len(found) < count:
        sides = rng.choice(len(speakers), size=2, replace=False)
        files = [recordings[speakers[side]] for side in sides]
        one, two = (side[int(rng.integers(len(side)))] for side in files)
        found.setdefault((min(one, two), max(one, two)), Trial(one, two, False))
    return list(found.values())
