"""Labelled recordings, and which of them train a probe and which test it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechssl import audio, errors
from speechssl.errors import InputError
from speechssl.units.encoding.manifest import Entry, entries

Numbers = NDArray[np.int64]
FOLDER = "folder"
TEST_SHARES = (0.2, 0.3, 0.4, 0.5)  # of the groups, tried in this order
DRAWS = 50  # of each share


@dataclass(frozen=True)
class Labelled:
    """One recording.

    Args:
        path: as it was given.
        file: to read.
        label: its class.
        group: what must not be on both sides of the split, mostly the speaker; empty if unknown.
        part: ``train`` or ``test`` where a manifest says so; empty if it does not.
    """

    path: str
    file: str
    label: str
    group: str = ""
    part: str = ""


def read(given: Sequence[str | Path], label: str = FOLDER, *, speaker: str = "", split: str = "") -> list[Labelled]:
    """Recordings with their labels, in a fixed order.

    Args:
        given: files, folders and manifests; see ``units.encoding.manifest.entries``.
        label: ``folder`` for the name of a recording's folder, the name of a column of the manifest, or a regular
            expression with one group, which is searched in the path.
        speaker: the same, for who must not be on both sides of the split; empty for the column ``speaker`` of a
            manifest if it has one, unless that is the label.
        split: column that says ``train`` or ``test``; empty for the column ``split`` if there is one. Recordings of
            other parts (``dev``) are left out.
    Raises:
        InputError: no such column, a recording without label or in no folder, or no recordings.
    """
    found = entries(given)
    columns = {name for one in found for name in one.extra}
    speaker = speaker or ("speaker" if "speaker" in columns and label != "speaker" else "")
    split = split or ("split" if "split" in columns else "")
    return [
        Labelled(
            one.path,
            one.file,
            _value(one, label, "label", columns),
            _value(one, speaker, "speaker", columns) if speaker else "",
            _value(one, split, "split", columns) if split else "",
        )
        for one in found
    ]


def _value(entry: Entry, wanted: str, what: str, columns: set[str]) -> str:
    if wanted == FOLDER and FOLDER not in entry.extra:
        name = Path(entry.path).parent.name
        if not name:
            raise InputError(f"{entry.path} lies in no subfolder; put each {what} in its own, or name a column")
        return name
    if "(" in wanted:
        return _searched(entry.path, wanted, what)
    if wanted not in entry.extra:
        there = f"columns there: {', '.join(sorted(columns))}" if columns else "a folder has none; a manifest has"
        raise InputError(f"{entry.path} has no column {wanted!r} for the {what}; {there}")
    value = str(entry.extra[wanted]).strip()
    if not value:
        raise InputError(f"{entry.path} has an empty {wanted!r}; a {what} needed, or leave the recording out")
    return value


def _searched(path: str, pattern: str, what: str) -> str:
    try:
        found = re.search(pattern, path)
        if found and found.groups():
            return str(found[1])
    except re.error as error:
        raise InputError(f"{pattern!r} is no regular expression ({error}); one with a group needed") from error
    raise InputError(
        f"{path} gives no {what} with {pattern!r}; a regular expression with one group that matches needed"
    )


def divide(recordings: Sequence[Labelled], *, seed: int = 0) -> tuple[Numbers, Numbers]:
    """Numbers of the recordings to train on and of those to test on.

    The manifest's own split is kept. Without one, a fifth of the speakers is drawn for the test, or more until every
    class is on both sides; without speakers, a fifth of the recordings of each class.

    Raises:
        InputError: one class, a class with fewer than two speakers or recordings, or one that is in the test only.
    """
    names = [one.label for one in recordings]
    labels = np.array(names)
    if len(set(names)) < 2:
        raise InputError(f"all recordings have one label, {names[0]!r}; two classes or more needed")
    if any(one.part for one in recordings):
        train, test = _given_parts(recordings)
        if unseen := sorted({names[number] for number in test} - {names[number] for number in train}):
            raise InputError(f"the class {unseen[0]!r} is in the test alone; every class needs recordings to train on")
        if len(set(labels[train])) < 2:
            raise InputError(f"all recordings to train on have one label, {names[train[0]]!r}; two classes needed")
        return train, test
    return draw(labels, [one.group for one in recordings], seed=seed)


def divide_texts(recordings: Sequence[Labelled], minutes: float, *, seed: int = 0) -> tuple[Numbers, Numbers]:
    """As ``divide`` for recordings whose labels are texts; the training has so many minutes at most, drawn by the seed.

    Raises:
        InputError: no recordings of one side, fewer than two speakers, or none to train on that fits the minutes.
    """
    if any(one.part for one in recordings):
        train, test = _given_parts(recordings)
    else:
        train, test = draw(np.array(["text"] * len(recordings)), [one.group for one in recordings], seed=seed)
    kept, seconds = [], 0.0
    for number in np.random.default_rng(seed).permutation(train).tolist():
        more = float(audio.info(recordings[number].file).seconds)
        if seconds + more <= 60 * minutes:
            kept.append(number)
            seconds += more
    if not kept:
        raise InputError(f"no recording to train on is shorter than {minutes:g} minutes; give more minutes")
    return np.sort(kept), test


def _given_parts(recordings: Sequence[Labelled]) -> tuple[Numbers, Numbers]:
    parts = np.array([one.part for one in recordings])
    found = {part: np.flatnonzero(parts == part) for part in ("train", "test")}
    for part, members in found.items():
        if not len(members):
            raise InputError(
                f"no recording is of the part {part!r} (parts there: {', '.join(sorted(set(parts) - {''}))}); "
                "both train and test needed, or --split with another column"
            )
    return found["train"], found["test"]


def draw(labels: NDArray[np.str_], groups: Sequence[str], *, seed: int = 0) -> tuple[Numbers, Numbers]:
    """A split with every class on both sides and no group on both.

    Args:
        labels: (N,) classes.
        groups: (N,) speakers; all empty if they are unknown.
        seed: of the draw.
    Raises:
        InputError: a class of fewer than two groups or recordings, or groups that cannot be divided so.
    """
    errors.require("sklearn", purpose="probing", extra="probing")
    from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit

    what = "speaker" if any(groups) else "recording"
    names = np.array(groups if any(groups) else [str(number) for number in range(len(labels))])
    counts = Counter(label for label, _ in set(zip(labels.tolist(), names.tolist(), strict=True)))
    label, fewest = min(counts.items(), key=lambda item: (item[1], item[0]))
    if fewest < 2:
        raise InputError(f"the class {label!r} has {fewest} {what}; two or more needed, one of them to test on")
    for share in TEST_SHARES:
        if not any(groups):
            size = max(share, len(counts) / len(labels))
            train, test = next(StratifiedShuffleSplit(1, test_size=size, random_state=seed).split(labels, labels))
            return train, test
        for train, test in GroupShuffleSplit(DRAWS, test_size=share, random_state=seed).split(labels, groups=names):
            if set(labels[train]) == set(labels[test]) == set(counts):
                return train, test
    raise InputError(
        f"no division of {len(set(names))} speakers has every class on both sides; give more speakers for each class, "
        "or a manifest with a column 'split'"
    )


def fewer(recordings: Sequence[Labelled], train: Numbers, count: int, *, seed: int = 0) -> Numbers:
    """``count`` of the numbers in ``train``, as evenly over the classes as they allow.

    Raises:
        InputError: fewer than one for each class.
    """
    classes = sorted({recordings[number].label for number in train})
    if count < len(classes):
        raise InputError(f"{count} labels for {len(classes)} classes; one for each class or more needed")
    shuffled = np.random.default_rng(seed).permutation(train)
    turns: Counter[str] = Counter()
    ranked = []
    for number in shuffled.tolist():
        label = recordings[number].label
        ranked.append((turns[label], number))
        turns[label] += 1
    # the first of each class, then the second of each
    return np.sort([number for _, number in sorted(ranked, key=lambda pair: pair[0])[:count]])
