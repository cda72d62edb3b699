"""``speechssl demo``: a bundled recording in another bundled voice, offline, and how near it came."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from speechssl.cli import batch, terminal
from speechssl.cli.options import Json, Model


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write.")] = Path("demo"),
    source: Annotated[str, typer.Option("--source", help="Bundled voice that speaks.")] = "ada",
    target: Annotated[str, typer.Option("--target", help="Bundled voice that is wanted.")] = "eric",
    model: Model = "tiny",
    json: Json = False,
) -> None:
    """Convert a recording that ships with the package to another voice that does, and say how near it came."""
    from speechssl import audio
    from speechssl.conversion.bundles import load_bundle
    from speechssl.voices.clips import clip

    spoken, reference = clip(source, "sentence"), clip(target, "reference")
    terminal.remark(f"{source} says: {spoken.text!r}")
    system = load_bundle(model)
    voice = system.matching_set([reference.path], name=target)
    result = system.convert(spoken.path, voice)
    batch.make_folder(output)
    path = output / f"{source}-as-{target}.wav"
    audio.write(path, result.waveform)
    facts = {"output": str(path), "converter": result.converter, **_nearness(result.waveform, source, target)}
    if json:
        terminal.emit(facts)
    else:
        print(_sentence(facts, source, target))


def _nearness(converted: Any, source: str, target: str) -> dict[str, float]:
    """Distances to a recording of the target that the conversion has not seen."""
    from speechssl import audio
    from speechssl.voices import similarity
    from speechssl.voices.clips import clip

    unseen = similarity.voice_statistics(audio.read(clip(target, "sentence").path))
    before = similarity.voice_statistics(audio.read(clip(source, "sentence").path))
    after = similarity.voice_statistics(converted)
    return {
        "timbre_distance_before": round(similarity.timbre_distance(before, unseen), 3),
        "timbre_distance_after": round(similarity.timbre_distance(after, unseen), 3),
        "pitch_gap_before": round(similarity.pitch_gap(before, unseen), 2),
        "pitch_gap_after": round(similarity.pitch_gap(after, unseen), 2),
    }


def _sentence(facts: dict[str, Any], source: str, target: str) -> str:
    return (
        f"{facts['output']}: {source}'s words in {target}'s voice. Distance to a recording of {target} that was not "
        f"used: timbre {facts['timbre_distance_before']:.3f} -> {facts['timbre_distance_after']:.3f} (Bhattacharyya, "
        f"long-term mel-cepstra), pitch {facts['pitch_gap_before']:.1f} -> {facts['pitch_gap_after']:.1f} semitones "
        "(0 is equal)."
    )
