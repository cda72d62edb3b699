"""Write a run's averaged network as a text model, and a voice of its speaker beside it.

    python recipes/ssl_tts/export.py cache runs/tts --output synthesizer.safetensors \\
        --voice recordings/*.wav

The voice (keys and values as float16, no audio) is what interpolations below 1 start from.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import load_file
from train import Utterances, make_network

from speechssl import errors, voices
from speechssl.conversion.bundles import load_bundle
from speechssl.synthesis import model as models
from speechssl.synthesis.model import TextModel


def averaged(cache: Path, run: Path) -> tuple[TextModel, dict[str, object]]:
    """The text model of a run, and what is known of its training."""
    config = json.loads((run / "config.json").read_text())
    data = Utterances(cache, "train", 1, 0)
    network = make_network(data, config["size"])
    tensors = load_file(run / "last" / "average.safetensors")
    network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in tensors.items()})
    facts = data.facts
    model = TextModel(
        network, data.symbols, origin=facts["origin"], frame_rate=facts["frame_rate"], language=facts["language"]
    )
    steps = json.loads((run / "last" / "state.json").read_text())["step"]
    minutes = sum(row["frames"] for row in data.rows) / facts["frame_rate"] / 60
    return model, {"recipe": "recipes/ssl_tts", "config": config, "steps": steps, "minutes": round(minutes, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--name", default="tiny-kathleen")
    parser.add_argument("--licence", default="MIT")
    parser.add_argument("--data", default="", help="what it was trained on, and its licence")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--voice", type=Path, nargs="*", default=[], help="recordings of the speaker")
    args = parser.parse_args()
    model, provenance = averaged(args.cache, args.run)
    provenance["data"] = args.data
    models.save(args.output, model, {"name": args.name, "licence": args.licence, "provenance": provenance})
    facts = {"output": str(args.output), "parameters": sum(p.numel() for p in model.network.parameters())}
    if args.voice:
        beside = args.output.with_name(f"{args.output.stem}-voice.safetensors")
        voice = load_bundle(args.model).matching_set(args.voice, name=args.name, keep_silence=True)
        voices.save(beside, voice)
        facts |= {"voice": str(beside), "voice_seconds": round(voice.seconds, 1)}
    print(json.dumps(facts))


if __name__ == "__main__":
    errors.run_recipe(main)
