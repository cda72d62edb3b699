"""What cutting long audio into windows does to an encoder's features, for windows of several lengths.

Recordings of each speaker are laid end to end, encoded as one, and compared with the same recordings encoded one by
one. Printed for every length: the cosine of both over frames of speech (mean and 5 % quantile), the share of those
frames that are nearest to themselves among the recordings encoded one by one, neighbour phone accuracy across speakers
(see ``evaluate.py``) from long audio to long audio and with the recordings cut one by one, and processor seconds.
Alignments come from ``align.py``, the cache from ``prepare.py``.

    python recipes/ssl_pretraining/windows.py tiny cache alignments.jsonl --speakers librispeech:dev
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from align import STATES_PER_PHONE
from batches import phone_tracks, read_index
from evaluate import neighbour_accuracy, utterances

from speechssl import audio, encoders, errors
from speechssl.encoders.encoder import SSLEncoder
from speechssl.encoders.windows import Grid
from speechssl.signals import Waveform

HOP = 320  # samples of a frame
WINDOWS = "250:62,500:100,750:187,1000:50,1000:100,1000:250,1100:100,1500:250,3000:250,100000:250"
SPEECH = 25.0  # dB below the 95 % quantile of a recording's levels, down to which a frame counts as speech


@dataclasses.dataclass(frozen=True, eq=False)
class Utterance:
    """One recording in whole frames, its phones (N,) and which of its frames (N,) are speech."""

    samples: torch.Tensor
    phones: np.ndarray
    spoken: np.ndarray

    @property
    def num_frames(self) -> int:
        """Frames that it takes in a longer recording."""
        return len(self.samples) // HOP


def read(root: Path, row: dict[str, Any], states: np.ndarray) -> Utterance:
    """A row of the cache's index, as ``evaluate.utterances`` chooses them."""
    samples = audio.read_mono(root / row["path"], 16_000).samples
    samples = samples[: len(samples) // HOP * HOP]
    track = np.asarray(states[row["start"] : row["start"] + row["frames"]])[1::2]
    levels = 10 * samples.view(-1, HOP).square().mean(1).clamp(min=1e-12).log10()
    spoken = levels > levels.quantile(0.95) - SPEECH
    count = min(len(track), len(spoken))
    phones = np.zeros(len(spoken), int)
    phones[:count] = np.maximum(track[:count] // STATES_PER_PHONE, 0)
    return Utterance(samples, phones, spoken.numpy())


def joined(encoder: SSLEncoder, items: list[Utterance]) -> list[torch.Tensor]:
    """Features (N, D) of each recording, heard as parts of one long recording."""
    frames = encoder.encode(Waveform(torch.cat([item.samples for item in items]), 16_000)).frames
    # the last has a frame less, which would need 80 samples more
    return list(torch.tensor_split(frames, np.cumsum([item.num_frames for item in items])[:-1].tolist()))


def alone(encoder: SSLEncoder, items: list[Utterance]) -> list[torch.Tensor]:
    """The same, each heard by itself."""
    return [encoder.encode(Waveform(item.samples, 16_000)).frames for item in items]


def compare(
    parts: dict[str, list[torch.Tensor]], whole: dict[str, list[torch.Tensor]], items: dict[str, list[Utterance]]
) -> dict[str, float]:
    """Cosines of frames of speech in both, and the share of them that find themselves."""
    cosines, found = [], []
    unit = torch.nn.functional.normalize
    for speaker, utterances_ in items.items():
        counts = [min(len(a), len(b)) for a, b in zip(parts[speaker], whole[speaker], strict=True)]
        cut = torch.cat([a[:n] for a, n in zip(parts[speaker], counts, strict=True)])
        own = torch.cat([b[:n] for b, n in zip(whole[speaker], counts, strict=True)])
        spoken = torch.from_numpy(np.concatenate([i.spoken[:n] for i, n in zip(utterances_, counts, strict=True)]))
        cosines.append(torch.cosine_similarity(cut, own)[spoken])
        found.append(((unit(cut) @ unit(own).T).argmax(1) == torch.arange(len(own)))[spoken])
    cosine = torch.cat(cosines)
    return {
        "cosine": float(cosine.mean()),
        "cosine_5%": float(cosine.quantile(0.05)),
        "find themselves": float(torch.cat(found).float().mean()),
    }


def measure(
    make: Callable[[list[Utterance]], list[torch.Tensor]], items: dict[str, list[Utterance]]
) -> tuple[dict[str, list[torch.Tensor]], float]:
    """Features of every speaker, and the processor seconds they took."""
    start = time.process_time()
    return {speaker: make(utterances_) for speaker, utterances_ in items.items()}, time.process_time() - start


def accuracy(features: dict[str, list[torch.Tensor]], items: dict[str, list[Utterance]]) -> float:
    """Neighbour phone accuracy across speakers."""
    frames = {
        speaker: [(x.numpy(), item.phones[: len(x)]) for x, item in zip(parts, items[speaker], strict=True)]
        for speaker, parts in features.items()
    }
    return neighbour_accuracy(frames)["across"]


def tell(facts: dict[str, float], seconds: float) -> None:
    """One line; the recordings one by one are a window of 0."""
    rounded = {name: round(value, 4) for name, value in facts.items()}
    print(json.dumps(rounded | {"processor s": round(seconds, 1)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", help="any name or file speechssl.load_encoder knows")
    parser.add_argument("cache", type=Path)
    parser.add_argument("alignments", type=Path)
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the manifest, whose paths the cache has")
    parser.add_argument("--speakers", default="librispeech:dev")
    parser.add_argument("--seconds", type=float, default=180, help="of each speaker, end to end")
    parser.add_argument("--windows", default=WINDOWS, help="frames of each and of its context on both sides")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    states = phone_tracks(args.cache, args.alignments)["states"]
    rows = utterances(read_index(args.cache), states, args.speakers, args.seconds)
    items = {speaker: [read(args.root, row, states) for row in chosen] for speaker, chosen in rows.items()}
    encoder = encoders.load(args.encoder, device="cpu")
    whole, seconds = measure(partial(alone, encoder), items)
    tell({"window": 0, "context": 0, "accuracy": accuracy(whole, items)}, seconds)
    for window, context in (map(int, pair.split(":")) for pair in args.windows.split(",")):
        cut = dataclasses.replace(encoder, grid=Grid(window, context))
        parts, seconds = measure(partial(joined, cut), items)
        one_by_one, _ = measure(partial(alone, cut), items)
        facts = compare(parts, whole, items) | {
            "accuracy": accuracy(parts, items),
            "accuracy one by one": accuracy(one_by_one, items),
        }
        tell({"window": window, "context": context} | facts, seconds)


if __name__ == "__main__":
    errors.run_recipe(main)
