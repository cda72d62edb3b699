"""``speechssl report``: whether reference recordings are good enough to convert with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speechssl.cli import batch, terminal
from speechssl.cli.options import Device, Json, Layer, Lists, Model, Normalise, Precision, examples

if TYPE_CHECKING:
    from speechssl.voices.reference_report import Coverage, RecordingReport, ReferenceReport

EXAMPLES = examples("report ada1.wav ada2.wav", "report ada/ --source talk.wav")


def report(
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="REF...", help="Recordings, folders or glob patterns of one voice."),
    ] = None,
    listed: Lists = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            "-s",
            metavar="FILE",
            help="Recording to convert; the report then says how much of it the references cover. Only this option "
            "needs --model.",
        ),
    ] = None,
    model: Model = "tiny",
    layer: Layer = None,
    normalise: Normalise = None,
    precision: Precision = "float32",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Check whether recordings are long enough, clean enough and of one speaker to serve as a voice."""
    from speechssl import audio
    from speechssl.voices import reference_report

    files, failed = batch.usable(references, listed, speech=False)
    distinct, coverage = batch.distinct(files), None
    terminal.stage("measuring")
    if source is not None:
        loaded = {"layer": layer, "normalise": normalise, "device": device, "precision": precision}
        coverage = _coverage(distinct, source, model, loaded)
    found = reference_report.report(distinct, names=audio.told_apart(distinct), coverage=coverage)
    if json:
        terminal.emit(found.as_dict())
    else:
        _print(found)
    batch.refuse(failed, len(files) + failed)


def _coverage(references: list[Path], source: Path, model: str, loaded: dict[str, Any]) -> Coverage:
    import torch

    from speechssl.conversion.bundles import load_bundle
    from speechssl.voices.reference_report import cover

    system = load_bundle(model, **loaded)
    voice = system.matching_set(references)
    heard = system.source(source, with_values=False)
    keys = heard.keys.frames
    if heard.sounding is not None and heard.sounding.any():
        keys = keys[heard.sounding]
    return cover(keys, voice.keys, files=voice.file_index, seconds=voice.times(torch.arange(len(voice))))


def _print(found: ReferenceReport) -> None:
    terminal.table([_row(row) for row in found.recordings], ("recording", "speech", "SNR", "clipped", "loudness"))
    if found.coverage is not None:
        terminal.say(
            f"coverage {found.coverage.mean:.2f}; {100 * found.coverage.covered:.0f} % of the source finds sounds as "
            "near as the voice finds its own"
        )
    terminal.say(found.verdict)


def _row(row: RecordingReport) -> tuple[str, ...]:
    spoken = f"{row.speech_seconds:.1f} of {row.seconds:.1f} s"
    return (
        row.name,
        spoken,
        "-" if math.isnan(row.snr_db) else f"{row.snr_db:.0f} dB",
        f"{100 * row.clipping:.2f} %",
        f"{row.loudness:.0f} LUFS",
    )
