"""Second-speaker suspicion of the reference report: how often it is wrong, how often it finds one; and its fit.

    python -m benchmarks.reference_report --data ../shared/data          false alarms and hits on speakers held out
    python -m benchmarks.reference_report --data ../shared/data --fit    first make models/second_speaker.safetensors

``--data`` is a folder with ``manifest.csv`` (path, corpus, speaker, seconds, split). Fitted on the LibriSpeech
speakers of the train split, each also heard through another microphone (random equaliser of +-6 dB, noise at 20 to
45 dB) so that the directions found tell speakers and not channels apart. The limits are the 98th percentile of what one
speaker reaches, on speakers that the directions were not fitted on; in half of those sets some pieces changed
microphone. Measured on speakers of the other splits: one speaker as recorded, one speaker half of whose speech changed
microphone, and two speakers of the same corpus, half or a quarter of the speech being the second one's. Then sets of
three recordings, of people of every split but ``train``, that the speaker embedder compares.
"""

from __future__ import annotations

import argparse
import collections
import csv
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.signal import firwin2, lfilter

from speechssl import audio, checkpoints
from speechssl.audio import activity
from speechssl.voices import second_speaker

Floats = NDArray[np.float64]
# speaker -> pieces of 2 s in order of recording, each as recorded and through another microphone: (n, 2, traits)
Speakers = dict[tuple[str, str], Floats]

SECONDS = 24  # of each fitted speaker, but for the first MANY with more: those calibrate long references
LONG_SECONDS, MANY = 70, 15
DIMENSIONS = 10  # of 40; 6 find less, 16 gain nothing
COUNTS = (2, 3, 4, 6, 8, 12, 16, 32)  # pieces in a set
FALSE_ALARMS = 0.02
HELD_OUT = {"librispeech": "dev", "an4": "test", "cmu_arctic": "dev", "rhasspy_kathleen": "dev",
            "rhasspy_kerstin": "dev", "ljspeech": "test"}  # fmt: skip


def other_microphone(samples: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    gains = np.repeat(10 ** (rng.uniform(-6, 6, 6) / 20), [2, 1, 1, 1, 1, 1])
    heard = lfilter(firwin2(129, [0, 0.05, 0.15, 0.3, 0.5, 0.75, 1], gains), 1, samples)
    noise = rng.standard_normal(len(heard)) * heard.std() * 10 ** (-rng.uniform(20, 45) / 20)
    return (heard + noise).astype(np.float32)


def pieces_of(samples: NDArray[np.float32], rng: np.random.Generator) -> Iterator[list[Floats]]:
    """Traits of each piece as recorded and through another microphone; pieces without enough voice are left out."""
    versions = [samples, other_microphone(samples, rng)]
    bands = [activity.band_powers(one) for one in versions]
    active = activity.active_frames(bands[0])
    for start, stop in second_speaker.chunks(active):
        found = [
            second_speaker.traits(one[start * 160 : stop * 160], power[start:stop], active[start:stop])
            for one, power in zip(versions, bands, strict=True)
        ]
        if all(one is not None for one in found):
            yield [one for one in found if one is not None]


def load(data: Path, wanted: dict[str, str], seconds: float, long_seconds: float, many: int) -> Speakers:
    rng = np.random.default_rng(0)
    rows = collections.defaultdict(list)
    with (data / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if wanted.get(row["corpus"]) == row["split"]:
                rows[row["corpus"], row["speaker"]].append(row)
    longest = sorted(rows, key=lambda key: -sum(float(row["seconds"]) for row in rows[key]))[:many]
    speakers: Speakers = {}
    for key, recordings in rows.items():
        limit, total, pieces = long_seconds if key in longest else seconds, 0.0, []
        for row in recordings:
            if total < limit:
                pieces += pieces_of(audio.read_mono(data / row["path"], activity.RATE).samples.numpy(), rng)
                total += float(row["seconds"])
        if len(pieces) >= 2:
            speakers[key] = np.stack([np.stack(one) for one in pieces])
    return speakers


def discriminants(speakers: Speakers) -> Floats:
    """(traits, DIMENSIONS), such that pieces of one speaker have unit covariance (Fisher 1936; Rao 1948)."""
    groups = [pieces.reshape(-1, pieces.shape[-1]) for pieces in speakers.values()]
    everything = np.concatenate(groups)
    within = sum((group - group.mean(0)).T @ (group - group.mean(0)) for group in groups) / len(everything)
    between = sum(len(group) * np.outer(d := group.mean(0) - everything.mean(0), d) for group in groups)
    within += 1e-3 * np.diag(np.diag(within))
    _, vectors = eigh(between / len(everything), within)
    return vectors[:, ::-1][:, :DIMENSIONS].copy()


def one_speaker(
    speakers: Speakers, directions: Floats, count: int, rng: np.random.Generator, changed: float, sets: int = 12
) -> list[float]:
    """Scores of sets of neighbouring pieces of one speaker, the last half through another microphone in a share."""
    scores = []
    for pieces in speakers.values():
        for _ in range(sets if len(pieces) > count else int(len(pieces) == count)):
            start = rng.integers(0, len(pieces) - count + 1)
            chosen = pieces[start : start + count]
            late = np.arange(count) >= count - count // 2
            microphone = (late & (rng.random() < changed)).astype(int)
            scores.append(second_speaker.two_groups(chosen[np.arange(count), microphone] @ directions)[0])
    return scores


def two_speakers(
    speakers: Speakers, directions: Floats, count: int, rng: np.random.Generator, share: float
) -> list[float]:
    scores, second = [], max(1, round(count * share))
    for one, pieces in speakers.items():
        for other, others in speakers.items():
            if one[0] != other[0] or one == other or len(pieces) < count - second or len(others) < second:
                continue
            i, j = rng.integers(0, len(pieces) - count + second + 1), rng.integers(0, len(others) - second + 1)
            chosen = np.concatenate([pieces[i : i + count - second, 0], others[j : j + second, 0]])
            scores.append(second_speaker.two_groups(chosen @ directions)[0])
    return scores


def by_embedder(data: Path, sets: int = 3) -> None:
    """Print how often three recordings of one person, and two with one of somebody else, are told apart."""
    rng, people = random.Random(0), collections.defaultdict(list)
    with (data / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] != "train" and "noise" not in row["corpus"] and 4 < float(row["seconds"]) < 25:
                people[row["corpus"], row["speaker"]].append(data / row["path"])
    counts: collections.Counter[str] = collections.Counter()
    for who in sorted(key for key, files in people.items() if len(files) >= 3):
        others = sorted(key for key in people if key[0] == who[0] and key != who)
        for _ in range(sets):
            chosen = {"one person": rng.sample(people[who], 3)}
            if others:
                chosen["two"] = rng.sample(people[who], 2) + rng.sample(people[rng.choice(others)], 1)
            for kind, files in chosen.items():
                heard = [(str(path), audio.read_mono(path, activity.RATE)) for path in files]
                counts[kind] += 1
                counts[f"{kind}, suspected"] += bool(second_speaker.unlike(heard))
    print("three recordings, by the speaker embedder:", dict(counts))


def limits_of(speakers: Speakers, folds: int = 4) -> Floats:
    """For each of COUNTS, what one speaker exceeds in FALSE_ALARMS of sets, on speakers not fitted on."""
    rng, keys = np.random.default_rng(1), list(speakers)
    scores: list[list[float]] = [[] for _ in COUNTS]
    for fold in range(folds):
        held = {key: speakers[key] for key in keys[fold::folds]}
        directions = discriminants({key: speakers[key] for key in keys if key not in held})
        for found, count in zip(scores, COUNTS, strict=True):
            found += one_speaker(held, directions, count, rng, changed=0.5)
    print("sets for each limit:", dict(zip(COUNTS, map(len, scores), strict=True)))
    return np.array([np.quantile(found, 1 - FALSE_ALARMS) for found in scores])


def fit(data: Path) -> None:
    speakers = load(data, {"librispeech": "train"}, SECONDS, LONG_SECONDS, MANY)
    tensors = {
        "directions": torch.from_numpy(discriminants(speakers)).float(),
        "counts": torch.tensor(COUNTS, dtype=torch.float32),
        "limits": torch.from_numpy(limits_of(speakers)).float(),
    }
    provenance = {
        "made_by": "benchmarks/reference_report.py",
        "data": "LibriSpeech train-clean-5 and train-clean-100 excerpts, (c) 2014 Vassil Panayotov, CC BY 4.0",
        "speakers": len(speakers),
        "pieces": sum(map(len, speakers.values())),
    }
    header = {"kind": "second-speaker", "licence": "CC BY 4.0", "false_alarms": FALSE_ALARMS, "provenance": provenance}
    checkpoints.save(second_speaker.MODEL, tensors, header)
    print(provenance, dict(zip(COUNTS, tensors["limits"].tolist(), strict=True)))


def measure(data: Path) -> None:
    speakers: Speakers = {}
    for corpus, split in HELD_OUT.items():
        speakers |= load(data, {corpus: split}, LONG_SECONDS, LONG_SECONDS, 0)
    print(len(speakers), "speakers,", sum(map(len, speakers.values())), "pieces")
    directions, counts, limits = second_speaker.load_model()
    rng = np.random.default_rng(2)
    print("pieces of 2 s | false alarms | with another microphone | hits, half | hits, a quarter  (sets)")
    for count in COUNTS:
        limit = np.interp(np.log(count), np.log(counts), limits)
        columns = [one_speaker(speakers, directions, count, rng, changed) for changed in (0.0, 1.0)]
        columns += [two_speakers(speakers, directions, count, rng, share) for share in (0.5, 0.25)]
        rates = [f"{np.mean(np.array(found) > limit):.3f} ({len(found)})" if found else "-" for found in columns]
        print(count, "|", " | ".join(rates), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--fit", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.data is None:
        # so that `make bench` goes on where there is no speech beside the package
        print("not run: it needs speech; give --data FOLDER with a manifest.csv")
        return
    if arguments.fit:
        fit(arguments.data)
    measure(arguments.data)
    by_embedder(arguments.data)


if __name__ == "__main__":
    main()
