"""Linear probes on pooled features: how much of the speaker is left in each block, with MFCC beside it.

    python recipes/ssl_pretraining/probe.py cache RUN --audio DATA --output probe.json

RUN may also be a log-mel encoder file (``speechssl/models/tiny/encoder.safetensors``).
Every utterance is the mean and the deviation of its frames. *Speaker*: logistic regression among the LibriSpeech
speakers with eight utterances or more, two thirds of the utterances of each to train, the rest to test. *Sex*: among
all LibriSpeech speakers, five folds by speaker. The corpus at hand does not name the sex, so it is read off the median
F0 of the first utterance, above or below 165 Hz; speakers within 10 Hz of that are left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batches import read_index
from evaluate import layers_of, mfcc
from export import averaged_network
from network import make_network, speed_up

from speechssl import errors

MOST = 24  # utterances a speaker
LEAST = 8  # utterances of a speaker, to be told from others
SECONDS = 15.0  # of an utterance, from its start
F0_SECONDS = 5.0  # that tell the sex
BORDER, MARGIN = 165.0, 10.0  # Hz


def pooled(layers: list[np.ndarray]) -> np.ndarray:
    """(layers, 2 D) mean and deviation over time."""
    return np.stack([np.concatenate([layer.mean(0), layer.std(0)]) for layer in layers])


def probe(features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, seed: int) -> float:
    """Accuracy of a linear classifier on what it was not trained on; by groups, if given, in five folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, C=0.1))
    if groups is None:
        splits: Any = StratifiedShuffleSplit(n_splits=3, test_size=1 / 3, random_state=seed)
    else:
        splits = StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=seed)
    return float(cross_val_score(model, features, labels, groups=groups, cv=splits).mean())


def median_f0(path: Path) -> float:
    """Hz, of what is voiced."""
    from speechssl import audio
    from speechssl.signals import Waveform

    waveform = audio.read_mono(path, 16_000)
    contour = audio.f0(Waveform(waveform.samples[: int(F0_SECONDS * 16_000)], 16_000)).numpy()
    return float(np.median(contour[contour > 0])) if (contour > 0).any() else float("nan")


def chosen(cache: Path, corpus: str, most: int) -> dict[str, list[dict[str, Any]]]:
    """Rows by speaker, at most ``most`` each."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in read_index(cache):
        if row["corpus"] == corpus and len(rows.setdefault(row["speaker"], [])) < most and row["frames"] > 200:
            rows[row["speaker"]].append(row)
    return {speaker: items for speaker, items in rows.items() if items}


def check_enough(rows: dict[str, list[dict[str, Any]]], sexes: dict[str, int]) -> None:
    """End in one line if the speakers are too few for the folds of ``probe``."""
    often, high = sum(len(items) >= LEAST for items in rows.values()), sum(sexes.values())
    if often < 2 or min(high, len(sexes) - high) < 5:
        raise SystemExit(
            f"{often} speakers with {LEAST} utterances (2 needed), {high} high and {len(sexes) - high} low voices "
            "(5 of each needed); prepare more recordings"
        )


def measure(
    function: Callable[[np.ndarray], list[np.ndarray]],
    rows: dict[str, list[dict[str, Any]]],
    mel: np.ndarray,
    sexes: dict[str, int],
    seed: int,
    seconds: float,
) -> list[dict[str, float]]:
    """Both accuracies for every layer ``function`` gives."""
    speakers = [speaker for speaker, items in rows.items() for _ in items]
    vectors = []
    for row in (row for items in rows.values() for row in items):
        frames = min(row["frames"], round(100 * seconds))
        vectors.append(pooled(function(np.asarray(mel[row["start"] : row["start"] + frames], np.float32))))
    features = np.stack(vectors)  # (N, layers, 2 D)
    ids = np.unique(speakers, return_inverse=True)[1]
    often = np.isin(ids, np.flatnonzero(np.bincount(ids) >= LEAST))
    known = np.array([speaker in sexes for speaker in speakers])
    sex = np.array([sexes.get(speaker, 0) for speaker in speakers])
    return [
        {
            "speaker": round(probe(features[often, i], ids[often], None, seed), 4),
            "sex": round(probe(features[known, i], sex[known], ids[known], seed), 4),
            "speakers": len(np.unique(ids[often])),
            "sexed_speakers": len(sexes),
        }
        for i in range(features.shape[1])
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--audio", type=Path, required=True, help="folder the paths of the cache are relative to")
    parser.add_argument("--corpus", default="librispeech")
    parser.add_argument("--most", type=int, default=MOST, help="utterances a speaker")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of an utterance")
    parser.add_argument("--no-untrained", action="store_true", help="leave out the network with random weights")
    parser.add_argument("--output", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    errors.require_for_recipe("sklearn")
    torch.set_num_threads(args.threads)
    rows, mel = chosen(args.cache, args.corpus, args.most), np.load(args.cache / "mel.npy", mmap_mode="r")
    pitches = {speaker: median_f0(args.audio / items[0]["path"]) for speaker, items in rows.items()}
    sexes = {speaker: int(hertz > BORDER) for speaker, hertz in pitches.items() if abs(hertz - BORDER) > MARGIN}
    check_enough(rows, sexes)
    torch.manual_seed(args.seed)
    networks = {"trained": averaged_network(args.run)}
    if not args.no_untrained:
        networks["untrained"] = make_network("tiny").eval()
    report = {"mfcc": measure(lambda part: [mfcc(part)], rows, mel, sexes, args.seed, args.seconds)}
    for name, network in networks.items():
        layers = partial(layers_of, speed_up(network))
        report[name] = measure(layers, rows, mel, sexes, args.seed, args.seconds)
        print(json.dumps({name: report[name]}), flush=True)
    text = json.dumps(report, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    errors.run_recipe(main)
