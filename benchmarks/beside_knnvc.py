"""Ours beside kNN-VC's own code on the same random weights: encode, match and vocode, medians and ratios of one run.

    git clone https://github.com/bshall/knn-vc
    python benchmarks/beside_knnvc.py --repository knn-vc            medians of 5 runs on 2 threads
    python benchmarks/beside_knnvc.py --repository knn-vc --precision auto

WavLM-Large to layer 6 and HiFi-GAN v1 with the configuration of that repository. Both sides read the same weights, and
how far the results are apart is printed. The methods take turns. Without ``--repository`` nothing is measured.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

import speechssl
from speechssl.conversion.retrieval import nearest
from speechssl.signals import Features, Waveform

LAYER, DIM, NEIGHBOURS = 6, 1024, 4
# the part of WavLM-Large's published configuration that differs from the defaults of its code
LARGE = {
    "extractor_mode": "layer_norm",
    "encoder_layers": 24,
    "encoder_embed_dim": DIM,
    "encoder_ffn_embed_dim": 4096,
    "encoder_attention_heads": 16,
    "layer_norm_first": True,
    "normalize": True,
    "relative_position_embedding": True,
    "max_distance": 800,
    "gru_rel_pos": True,
}
MINUTE = 6  # recordings of 10 s
FLOORS = {"encode 10 s": 2.5, "encode 60 s": 2.5, "match": 1.0, "vocode 10 s": 1.8}


class Theirs:
    """The networks and the distance of a checkout of kNN-VC, with random weights in evaluation mode."""

    def __init__(self, repository: Path) -> None:
        if not (repository / "matcher.py").is_file():
            raise SystemExit(f"{repository} is no checkout of https://github.com/bshall/knn-vc: it has no matcher.py")
        sys.path.insert(0, str(repository))
        wavlm, models, utils = map(importlib.import_module, ("wavlm.WavLM", "hifigan.models", "hifigan.utils"))
        self.distances: Callable[[Tensor, Tensor], Tensor] = _matcher().fast_cosine_dist
        settings = json.loads((repository / "hifigan" / "config_v1_wavlm.json").read_text())
        torch.manual_seed(0)
        self.config = wavlm.WavLMConfig(LARGE)
        self.encoder = wavlm.WavLM(self.config).eval()
        self.generator = models.Generator(utils.AttrDict(settings)).eval()

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Both in their published layout."""
        encoder, vocoder = folder / "WavLM-Large.pt", folder / "g_random.pt"
        torch.save({"cfg": vars(self.config), "model": self.encoder.state_dict()}, encoder)
        torch.save({"generator": self.generator.state_dict()}, vocoder)
        self.generator.remove_weight_norm()
        return encoder, vocoder

    def encode(self, samples: Tensor) -> Tensor:
        """Frames (N, 1024)."""
        found: Tensor = self.encoder.extract_features(samples[None], output_layer=LAYER, ret_layer_results=False)[0][0]
        return found


def _matcher() -> Any:
    """Its module, which imports torchaudio and uses nothing of it for what is measured here."""
    absent: dict[str, Any] = {}
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        names = ("torchaudio", "torchaudio.transforms", "torchaudio.sox_effects")
        absent = {name: types.ModuleType(name) for name in names}
        absent["torchaudio.sox_effects"].apply_effects_tensor = None
        absent["torchaudio"].transforms = absent["torchaudio.transforms"]
    with mock.patch.dict(sys.modules, absent):
        return importlib.import_module("matcher")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=None, help="checkout of kNN-VC")
    parser.add_argument("--precision", default="float32", help="of our encoder: float32, bfloat16 or auto")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.repository is None:
        print("skipped: give --repository, a checkout of https://github.com/bshall/knn-vc")
        return
    torch.set_num_threads(args.threads)
    theirs = Theirs(args.repository)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        paths = theirs.save(Path(folder))
        encoder = speechssl.load_encoder(paths[0], layer=LAYER, normalise=False, precision=args.precision)
        vocoder = speechssl.load_vocoder(paths[1])
        tasks, apart = _tasks(theirs, encoder, vocoder)
        medians = _medians(tasks, args.runs)
    print(f"medians of {args.runs} runs; {args.threads} threads; our encoder in {args.precision}")
    print(f"{'':14s} {'theirs, s':>10s} {'ours, s':>10s} {'ratio':>8s} {'floor':>6s}")
    for name, (one, two) in medians.items():
        print(f"{name:14s} {one:10.3f} {two:10.3f} {one / two:7.2f}x {FLOORS[name]:5.1f}x")
    print(", ".join(f"{name} apart by {value:.1e}" for name, value in apart.items()))
    print(json.dumps({"precision": args.precision, "threads": args.threads, "medians": medians, "apart": apart}))


def _tasks(theirs: Theirs, encoder: Any, vocoder: Any) -> tuple[dict[str, tuple[Any, Any]], dict[str, float]]:
    """Theirs and ours by what they do, and how far their results are apart."""
    generator = torch.Generator().manual_seed(0)
    waveform = Waveform(0.1 * torch.randn(160_000, generator=generator), 16_000)
    mixture = torch.randn(40, DIM, generator=generator)
    # frames that lie in few directions, as those of speech do
    queries, keys = (
        torch.randn(count, 40, generator=generator) @ mixture + 0.5 * torch.randn(count, DIM, generator=generator)
        for count in (500, 3000)
    )
    frames = Features(queries, 50.0, encoder.origin)
    tasks = {
        "encode 10 s": (lambda: theirs.encode(waveform.samples), lambda: encoder.encode(waveform)),
        "encode 60 s": (
            lambda: [theirs.encode(waveform.samples) for _ in range(MINUTE)],
            lambda: [encoder.encode(waveform) for _ in range(MINUTE)],
        ),
        "match": (
            lambda: theirs.distances(queries, keys).topk(NEIGHBOURS, largest=False, dim=-1),
            lambda: nearest(queries, keys, k=NEIGHBOURS),
        ),
        "vocode 10 s": (lambda: theirs.generator(queries[None]), lambda: vocoder.vocode(frames)),
    }
    found, wanted = encoder.encode(waveform).frames, theirs.encode(waveform.samples)
    sound, other = vocoder.vocode(frames).samples, theirs.generator(queries[None])[0, 0]
    length = min(len(sound), len(other))
    apart = {
        "features": float((found - wanted).abs().max() / wanted.abs().max()),
        "neighbours": float((tasks["match"][0]().indices != tasks["match"][1]().indices).float().mean()),
        "samples": float((sound[:length] - other[:length]).abs().max()),
    }
    return tasks, apart


def _medians(tasks: dict[str, tuple[Any, Any]], runs: int) -> dict[str, tuple[float, float]]:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(runs):
        for name, pair in tasks.items():
            times[name].append((seconds(pair[0]), seconds(pair[1])))
    return {
        name: (statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs))
        for name, pairs in times.items()
    }


def seconds(call: Callable[[], object]) -> float:
    """By the clock."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
