"""``speechssl demo``: a bundled recording in another bundled voice, offline, and how close the result is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speechssl.cli import batch, outputs, terminal
from speechssl.cli.ledger import Job, Ledger
from speechssl.cli.options import Json, Model, examples
from speechssl.cli.outputs import Overwrite

if TYPE_CHECKING:
    from speechssl.signals import Waveform

EXAMPLES = examples("demo", "demo --source beth --target dan --output demo")


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the result and the two recordings.")
    ] = Path("demo"),
    source: Annotated[
        str, typer.Option("--source", help="Bundled voice that speaks: ada, beth, cleo, dan, eric or finn.")
    ] = "ada",
    target: Annotated[str, typer.Option("--target", help="Bundled voice that is wanted, from the same list.")] = "eric",
    model: Model = "tiny",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Convert a bundled recording to another bundled voice, and measure how close the result is.

    The recordings of both are copied beside the result, to listen to and to try the other commands with.
    """
    from speechssl import audio
    from speechssl.conversion.bundles import load_bundle
    from speechssl.voices.clips import clip

    spoken, reference = clip(source, "sentence"), clip(target, "reference")
    path = output / f"{source}-as-{target}.wav"
    jobs = {output / f"{one.voice}{one.path.suffix}": one.path for one in (spoken, reference)} | {path: spoken.path}
    ledger = Ledger(output, lambda _: {})
    # what the demo made is replaced, unless somebody changed it since
    made = {Path(os.path.realpath(place)) for place, given in jobs.items() if ledger.is_done(Job(given, place))}
    outputs.check(list(jobs), [], overwrite=overwrite, made=made)
    terminal.remark(f"{source} says: {spoken.text!r}")
    system = load_bundle(model)
    voice = system.matching_set([reference.path], name=target)
    result = system.convert(spoken.path, voice)
    with batch.into(output):
        for place, given in jobs.items():
            if place == path:
                audio.write(place, result.waveform)
            else:
                shutil.copyfile(given, place)
            ledger.record(Job(given, place))
    facts = _nearness(result.waveform, source, target)
    whole = {"output": str(path), "converter": result.converter, **facts}
    terminal.answer(whole, _sentence(path, facts, source, target), json=json)


def _nearness(converted: Waveform, source: str, target: str) -> dict[str, float]:
    """Distances to a recording of the target that the conversion did not use."""
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


def _sentence(path: Path, facts: dict[str, float], source: str, target: str) -> str:
    return (
        f"{path}: {source}'s words in {target}'s voice. Distance to a recording of {target} that was not used: "
        f"timbre {facts['timbre_distance_before']:.3f} -> {facts['timbre_distance_after']:.3f} (Bhattacharyya, "
        f"long-term mel-cepstra), pitch {facts['pitch_gap_before']:.1f} -> {facts['pitch_gap_after']:.1f} semitones "
        "(0 is equal)."
    )
