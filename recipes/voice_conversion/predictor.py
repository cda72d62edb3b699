"""Train the predictor of values, which converters mix with the frames of a voice where they are far.

    python recipes/voice_conversion/predictor.py manifest.csv --run runs/predictor --output predictor.safetensors

Half a minute of each speaker of the split ``train`` becomes a voice; the network learns the values of their keys, each
without the mean of its speaker. The voices and the checkpoints stay in the folder of the run, so that a run that was
stopped goes on when the same command is given again. Prints how much of the variance is left on speakers whom it never
heard: of the map of the voice alone, of the network, and of the network moved to the voice, each fitted on the first
half of a voice and asked for the second.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from pairs import from_manifest
from rich.progress import track
from safetensors.torch import load_file
from torch import Tensor, nn

from speechssl import errors
from speechssl.conversion import predictor
from speechssl.conversion.bundles import load_bundle
from speechssl.conversion.converters import regression
from speechssl.conversion.predictor import PredictorConfig, PredictorNetwork, ValuePredictor
from speechssl.training.loop import Machine, Schedule, fit
from speechssl.voices import files
from speechssl.voices.matching_set import MatchingSet

CORPORA = "librispeech,ljspeech,cmu_arctic,an4"
SHORTEST = 10.0  # seconds of a speaker, of whom less says too little
HELD_OUT = 10  # one speaker of so many is not trained on
DROPOUT, SPEAKERS, FRAMES = 0.1, 16, 32  # a batch: so many frames of so many speakers


class Objective(nn.Module):
    """The mean squared error of the predicted values, in standard deviations."""

    def __init__(self, network: PredictorNetwork) -> None:
        super().__init__()
        self.network = network

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"total": (self.network(batch["keys"]) - batch["values"]).square().mean()}


def chosen(manifest: Path, corpora: str, seconds: float) -> dict[str, list[Path]]:
    """Recordings of each speaker of the split ``train``, in an order that depends on their names only."""
    paths: dict[str, list[Path]] = defaultdict(list)
    length: dict[str, float] = defaultdict(float)
    for corpus in corpora.split(","):
        recordings = from_manifest(manifest, corpus=corpus, split="train")
        recordings.sort(key=lambda one: zlib.crc32(one.path.relative_to(manifest.parent).as_posix().encode()))
        for one in recordings:
            who = f"{corpus}-{one.speaker}"
            if length[who] < seconds:
                paths[who].append(one.path)
                length[who] += one.seconds
    return {who: paths[who] for who in sorted(paths) if length[who] >= SHORTEST}


def voices_of(speakers: dict[str, list[Path]], folder: Path, model: str) -> list[MatchingSet]:
    """The voice of each speaker, from the folder where it is there already."""
    system = load_bundle(model)
    folder.mkdir(parents=True, exist_ok=True)
    for who, paths in track(speakers.items(), description="voices"):
        if not (folder / f"{who}.safetensors").exists():
            files.save(folder / f"{who}.safetensors", system.matching_set(paths, name=who))
    return [files.load(folder / f"{who}.safetensors") for who in speakers]


def made(voices: list[MatchingSet], hidden: int) -> PredictorNetwork:
    """A network before training, with the statistics of the voices."""
    keys = torch.cat([voice.keys[::7].float() for voice in voices])
    network = PredictorNetwork(PredictorConfig(keys.shape[1], voices[0].values.shape[1], hidden), DROPOUT)
    network.centre.copy_(keys.mean(0))
    network.spread.copy_(keys.std())
    around = torch.cat([voice.values.float() - voice.values.float().mean(0) for voice in voices])
    network.scale.copy_(around.std(0))
    return network


def left(voices: list[MatchingSet], network: PredictorNetwork) -> dict[str, float]:
    """Share of the variance of the values, around the mean of the voice, that is left on average."""
    usual = ValuePredictor(network, key_origin="", value_origin="")
    found: dict[str, list[float]] = defaultdict(list)
    for voice in voices:
        half = len(voice) // 2
        keys, values = voice.keys[:half], voice.values[:half].float()
        asked, wanted = voice.keys[half:], voice.values[half:].float() / usual.scale
        mean = values.mean(0) / usual.scale
        around = (wanted - mean).square().mean()
        ways = {
            "map of the voice": regression.Map.of(keys, values)(asked) / usual.scale,
            "network": usual(asked) + mean - usual(keys).mean(0),
            "network, moved to the voice": regression.Map.of(keys, values, usual)(asked) / usual.scale,
        }
        for name, guess in ways.items():
            found[name].append(float((guess - wanted).square().mean() / around))
    return {name: round(float(np.mean(shares)), 4) for name, shares in found.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="CSV with the columns path, corpus, speaker, seconds and split")
    parser.add_argument("--run", type=Path, required=True, help="folder of voices and checkpoints")
    parser.add_argument("--model", default="tiny", help="with the encoder and the values")
    parser.add_argument("--corpora", default=CORPORA, help="with commas between")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each speaker")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--licence", default="MIT")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    voices = voices_of(chosen(args.manifest, args.corpora, args.seconds), args.run / "voices", args.model)
    if len(voices) < 2:
        raise SystemExit(f"{args.manifest}: {len(voices)} speakers of the split 'train' with {SHORTEST:g} s; 2 needed")
    unheard = voices[::HELD_OUT]
    heard = [voice for number, voice in enumerate(voices) if number % HELD_OUT]
    network = made(heard, args.hidden)
    keys, means = [voice.keys for voice in heard], [voice.values.float().mean(0) for voice in heard]

    def batch(step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([args.seed, step])
        asked, wanted = [], []
        for who in rng.integers(len(heard), size=SPEAKERS):
            some = torch.from_numpy(np.sort(rng.integers(len(keys[who]), size=FRAMES)))
            asked.append(keys[who][some].float())
            wanted.append((heard[who].values[some].float() - means[who]) / network.scale)
        return {"keys": torch.cat(asked), "values": torch.cat(wanted)}

    config = {name: getattr(args, name) for name in ("model", "corpora", "seconds", "hidden", "rate")}
    schedule = Schedule(args.steps, warmup=50, rate=args.rate, decay=0.6, weight_decay=0.01, average=0.99)
    fit(Objective(network), batch, schedule, folder=args.run, config=config, seed=args.seed,
        machine=Machine(checkpoint_seconds=60))  # fmt: skip
    state = load_file(args.run / "last" / "average.safetensors")
    network.load_state_dict({name.removeprefix("network."): part for name, part in state.items()})
    facts = {
        "steps": args.steps,
        "speakers": len(heard),
        "held_out_speakers": len(unheard),
        "left": left(unheard, network.eval()),
    }
    key_origin, value_origin = voices[0].key_origin, voices[0].value_origin
    path = predictor.save(
        args.output,
        ValuePredictor(network, key_origin=key_origin, value_origin=value_origin),
        licence=args.licence,
        provenance={"recipe": "recipes/voice_conversion/predictor.py", "config": config, "seed": args.seed, **facts},
    )
    print(json.dumps({"output": str(path), "megabytes": round(path.stat().st_size / 1e6, 2), **facts}))


if __name__ == "__main__":
    errors.run_recipe(main)
