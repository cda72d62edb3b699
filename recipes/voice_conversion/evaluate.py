"""Any-to-any conversion over a folder of speakers, judged by independent models; every system in one table.

A system is ``MODEL[@VOCODER][:CONVERTER][:OPTION=VALUE...]``: ``tiny``, ``tiny@world:uniform``, ``tiny:shift:k=32``,
``tiny:tempo=target``.
``source`` (the recordings as they are), ``target`` (another recording of the target) and ``copy[@VOCODER]`` (analysis
and synthesis with tiny's keys and values, without conversion) stand beside them. The judges are a folder with
``judge.py`` and its own environment; without ``--judge`` the conversions are only written.

    python recipes/voice_conversion/evaluate.py --manifest manifest.csv --corpus librispeech --split dev \\
        --systems source,copy,tiny:uniform,tiny --judge JUDGE --output runs/evaluation
    python recipes/voice_conversion/evaluate.py --manifest manifest.csv --split hard --corpus vctk --condition room ...
    ... --condition room --reference-condition room --keep-echo    # in a room both, and as they were recorded
    python recipes/voice_conversion/evaluate.py --manifest manifest.csv --corpus librispeech,rhasspy_kerstin \\
        --sources kerstin --per-pair 4 --systems tiny --judge JUDGE --only phone --output runs/german
    python recipes/voice_conversion/evaluate.py --folder SPEAKERS --systems tiny --output runs/evaluation
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import judge
import numpy as np
import pictures
import torch
from conditions import CONDITIONS, degraded, lost_frames
from pairs import Pair, from_folder, from_manifest, make_pairs, with_enough
from rich.progress import track

from speechssl import audio, errors
from speechssl.audio import reverberation
from speechssl.conversion.bundles import load_bundle
from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.signals import Waveform


def parse_system(text: str) -> tuple[str, dict[str, Any]]:
    """Model and the options of ``VoiceConverter.convert``."""
    model, *rest = text.split(":")
    options: dict[str, Any] = {"converter": rest[0]} if rest and "=" not in rest[0] else {}
    for item in rest:
        if "=" in item:
            name, value = item.split("=")
            options[name] = _value(value)
    return model, options


def _value(text: str) -> Any:
    """A number, or what is written."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def load(model: str) -> VoiceConverter:
    """The bundle of ``MODEL`` or ``MODEL@VOCODER``; ``copy`` is done with tiny."""
    name, _, vocoder = model.partition("@")
    return load_bundle("tiny" if name == "copy" else name, vocoder=vocoder or None)


def convert_all(
    system: str,
    pairs: list[Pair],
    folder: Path,
    models: dict[str, VoiceConverter],
    condition: str = "clean",
    of_references: str = "clean",
) -> dict[str, Any]:
    """Write every conversion of one system of the sources in a condition, with references in one.

    Returns:
        Paths by pair, the speed in times real time, and the mean share of lost frames.
    """
    model, options = parse_system(system)
    folder.mkdir(parents=True, exist_ok=True)
    outputs: dict[str, Path] = {}
    voices: dict[str, Any] = {}
    heard = spent = 0.0
    lost = []
    for pair in track(pairs, description=system):
        outputs[pair.name] = folder / f"{pair.name}.wav"
        if model == "source":
            recorded = degraded(pair.source.path, condition, folder / "sources")
            audio.write(outputs[pair.name], within_range(audio.read(recorded)))
            continue
        if model == "target":
            audio.write(outputs[pair.name], within_range(audio.read(pair.references[0])))
            continue
        if model.startswith("copy"):
            audio.write(outputs[pair.name], copied(models[model], pair.source.path))
            continue
        converter = models[model]
        if pair.target not in voices:
            heard_as = [degraded(path, of_references, folder / "references") for path in pair.references]
            voices[pair.target] = converter.matching_set(heard_as, name=pair.target)
        source = degraded(pair.source.path, condition, folder / "sources")
        start = time.perf_counter()
        result = converter.convert(source, voices[pair.target], **options)
        spent, heard = spent + time.perf_counter() - start, heard + pair.source.seconds
        lost.append(lost_frames(audio.read(pair.source.path), result.waveform))
        audio.write(outputs[pair.name], result.waveform)
    speed = round(heard / spent, 1) if spent else None
    return {"outputs": outputs, "speed": speed, "lost_frames": [round(float(np.mean(lost)), 4)] if lost else None}


def within_range(waveform: Waveform) -> Waveform:
    """The recording, softer where lossy decoding went beyond full scale."""
    return replace(waveform, samples=waveform.samples / waveform.samples.abs().max().clamp(min=1.0))


def copied(converter: VoiceConverter, path: Path) -> Waveform:
    """Analysis and synthesis of a recording with the values and the vocoder of a converter."""
    source = converter.source(path)
    if source.values is None:
        raise ValueError(f"{path}: encoded without values")
    spoken = converter.vocoder.vocode(source.values, f0=source.f0, keys=source.keys)
    return audio.set_loudness(spoken, audio.loudness(source.waveform))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--folder", type=Path)
    where.add_argument("--manifest", type=Path)
    parser.add_argument("--corpus", default="librispeech", help="one, or several with commas")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--systems", default="source,copy,tiny:uniform,tiny")
    parser.add_argument("--reference-seconds", type=float, default=60.0)
    parser.add_argument("--per-pair", type=int, default=1)
    parser.add_argument("--sources", default=None, help="only conversions of these speakers, commas between")
    parser.add_argument("--limit", type=int, default=None, help="only so many pairs, evenly drawn")
    parser.add_argument(
        "--condition", default="clean", choices=CONDITIONS, help="of the sources; judged against the dry"
    )
    parser.add_argument("--reference-condition", default="clean", choices=CONDITIONS, help="of the references")
    parser.add_argument("--keep-echo", action="store_true", help="leave the echo of rooms in, to see what it costs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--judge", type=Path, default=None)
    parser.add_argument("--only", default="speaker,asr,phone,quality,prosody,copy")
    parser.add_argument("--pictures", type=int, default=0, help="spectrograms of so many conversions")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def chosen(args: argparse.Namespace) -> list[Pair]:
    """The pairs that are asked for."""
    if args.folder:
        recordings = from_folder(args.folder)
    else:
        recordings = from_manifest(args.manifest, corpus=args.corpus, split=args.split)
    kept = with_enough(recordings)
    if left_out := sorted({r.speaker for r in recordings} - {r.speaker for r in kept}):
        print(f"left out, with too few recordings: {', '.join(left_out)}", flush=True)
    pairs = make_pairs(kept, reference_seconds=args.reference_seconds, per_pair=args.per_pair, seed=args.seed)
    if args.sources:
        pairs = [pair for pair in pairs if pair.source.speaker in args.sources.split(",")]
        if not pairs:
            raise SystemExit(
                f"--sources {args.sources}: none of the speakers {', '.join(sorted({r.speaker for r in kept}))}"
            )
    if args.limit:
        pairs = pairs[:: max(1, len(pairs) // args.limit)][: args.limit]
    return pairs


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    as_recorded = mock.patch.object(reverberation, "dry", lambda waveform: waveform)
    with as_recorded if args.keep_echo else contextlib.nullcontext():
        evaluate(args, chosen(args))


def evaluate(args: argparse.Namespace, pairs: list[Pair]) -> None:
    """Convert the pairs with every system, judge, and print the table."""
    systems = args.systems.split(",")
    names = dict.fromkeys(parse_system(system)[0] for system in systems)
    models = {name: load(name) for name in names if name not in ("source", "target")}
    results: dict[str, dict[str, Any]] = {}
    written: dict[str, dict[str, Path]] = {}
    for system in systems:
        folder = args.output / re.sub(r"[^\w.=-]", "-", system)
        made = convert_all(system, pairs, folder, models, args.condition, args.reference_condition)
        results[system] = {"speed": made["speed"], "lost_frames": made["lost_frames"]}
        if args.judge:
            results[system] |= judge.run(
                args.judge, pairs, made["outputs"], folder, only=args.only, copies=system.startswith("copy")
            )
        written[system] = made["outputs"]
        (args.output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    for pair in pairs[: args.pictures]:
        shown = {
            system: outputs[pair.name] for system, outputs in written.items() if system not in ("source", "target")
        }
        pictures.draw(pair, shown, args.output / "pictures" / f"{pair.name}.png")
    print(judge.table(results) if args.judge else json.dumps(results))


if __name__ == "__main__":
    errors.run_recipe(main)
