"""Any-to-any conversion pairs over a folder of speakers or a manifest: a pure function of the files and the seed."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from speechssl import audio
from speechssl.training import manifests

SOURCE_SECONDS = (3.0, 12.0)
SCORED = 2  # recordings of the target and of the source kept out of the matching set, to score against
MOST_SCORED = 10  # of the target, where it has recordings left: an error rate needs many pairs of real ones


@dataclass(frozen=True)
class Recording:
    """One file of one speaker; ``text`` is empty where unknown."""

    path: Path
    speaker: str
    seconds: float
    text: str


@dataclass(frozen=True)
class Pair:
    """One conversion: a source recording, the target's references, and recordings to score against."""

    name: str
    source: Recording
    target: str
    references: tuple[Path, ...]
    target_refs: tuple[Path, ...]
    source_refs: tuple[Path, ...]


def from_folder(folder: Path) -> list[Recording]:
    """Recordings of a folder ``speaker/**/file``; a ``.txt`` beside a file is its text."""
    import soundfile

    recordings = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in audio.SUFFIXES):
        text = path.with_suffix(".txt")
        words = text.read_text().strip() if text.exists() else ""
        speaker = path.relative_to(folder).parts[0]
        recordings.append(Recording(path, speaker, soundfile.info(path).duration, words))
    return recordings


def from_manifest(manifest: Path, *, corpus: str, split: str) -> list[Recording]:
    """Rows of a CSV (path, corpus, speaker, seconds, text, split) of one split; several corpora with commas."""
    rows = manifests.rows(manifest, needed=(*manifests.COLUMNS, "seconds", "text"))
    kept = [row for row in rows if row["corpus"] in corpus.split(",") and row["split"] == split]
    return [Recording(manifest.parent / r["path"], r["speaker"], float(r["seconds"]), r["text"]) for r in kept]


def with_enough(recordings: list[Recording]) -> list[Recording]:
    """The recordings of speakers who have enough of them to convert, to retrieve from and to score against."""
    counts = Counter(recording.speaker for recording in recordings)
    sources = {r.speaker for r in recordings if SOURCE_SECONDS[0] <= r.seconds <= SOURCE_SECONDS[1]}
    return [r for r in recordings if counts[r.speaker] >= SCORED + 2 and r.speaker in sources]


def make_pairs(
    recordings: list[Recording], *, reference_seconds: float, per_pair: int = 1, seed: int = 0
) -> list[Pair]:
    """``per_pair`` sources for every ordered pair of speakers.

    Args:
        reference_seconds: matching set of a target: its recordings in seeded order until this is reached.
    Raises:
        SystemExit: fewer than two speakers, or a speaker with too few recordings.
    """
    rng = np.random.default_rng(seed)
    by_speaker: dict[str, list[Recording]] = {}
    for recording in recordings:
        by_speaker.setdefault(recording.speaker, []).append(recording)
    for speaker, items in by_speaker.items():
        by_speaker[speaker] = [items[i] for i in rng.permutation(len(items))]
    if len(by_speaker) < 2 or any(len(items) < SCORED + 2 for items in by_speaker.values()):
        raise SystemExit(f"{len(by_speaker)} speakers; at least 2 with {SCORED + 2} recordings each needed")
    scored = {speaker: items[:SCORED] for speaker, items in by_speaker.items()}
    rest = {speaker: items[SCORED:] for speaker, items in by_speaker.items()}
    references = {speaker: _until(items, reference_seconds) for speaker, items in rest.items()}
    # the end of the list first, so that sources are rarely in a matching set of their own speaker
    sources = {
        s: [r for r in items[::-1] if SOURCE_SECONDS[0] <= r.seconds <= SOURCE_SECONDS[1]] for s, items in rest.items()
    }
    pairs, used = [], dict.fromkeys(by_speaker, 0)
    for source, target in itertools.permutations(sorted(by_speaker), 2):
        for _ in range(per_pair):
            if not sources[source]:
                raise SystemExit(
                    f"speaker {source}: no recording of {SOURCE_SECONDS[0]}-{SOURCE_SECONDS[1]} s to convert"
                )
            chosen = sources[source][used[source] % len(sources[source])]
            used[source] += 1
            pairs.append(
                Pair(
                    f"{source}-{target}-{chosen.path.stem}",
                    chosen,
                    target,
                    tuple(r.path for r in references[target]),
                    tuple(r.path for r in scored[target]),
                    tuple(r.path for r in scored[source] if r is not chosen),
                )
            )
    return _with_more_to_score(pairs, rest)


def _with_more_to_score(pairs: list[Pair], rest: dict[str, list[Recording]]) -> list[Pair]:
    """The same pairs, scored also against what neither converts nor is converted."""
    taken = {path for pair in pairs for path in (pair.source.path, *pair.references)}
    left = {speaker: tuple(r.path for r in items if r.path not in taken) for speaker, items in rest.items()}
    return [replace(pair, target_refs=(*pair.target_refs, *left[pair.target])[:MOST_SCORED]) for pair in pairs]


def _until(items: list[Recording], seconds: float) -> list[Recording]:
    total, kept = 0.0, []
    for item in items:
        if total >= seconds:
            break
        kept.append(item)
        total += item.seconds
    return kept
