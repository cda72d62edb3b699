"""``speechssl convert``: recordings in, the target's voice out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional, TypeAlias

import typer

from speechssl import __version__
from speechssl.cli import batch, receipt, terminal
from speechssl.cli.options import Device, Json, Layer, Model, Output, Precision, Receipt, References, Sources
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.cli.batch import Job
    from speechssl.conversion.result import Conversion
    from speechssl.conversion.voice_converter import VoiceConverter
    from speechssl.receipts.signing import Signer
    from speechssl.voices.matching_set import MatchingSet

    Target: TypeAlias = list[tuple[MatchingSet, float]]

LOOKED_AT = 600.0  # seconds of reference that are remarked on; more says nothing new and costs time


def convert(
    sources: Sources,
    output: Output,
    reference: References = None,
    voice: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--voice",
            "-v",
            metavar="NAME|FILE[=WEIGHT]",
            help="A stored voice; several with weights are blended.",
            show_default=False,
        ),
    ] = None,
    model: Model = "tiny",
    layer: Layer = None,
    k: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--k",
            help="Nearest frames averaged; if not given 3 with variance, else 4 as in kNN-VC.",
            show_default=False,
        ),
    ] = None,
    converter: Annotated[
        str,
        typer.Option(
            "--converter",
            help="auto, uniform, distance, variance, continuous, selection, transport or shift. "
            "With tiny: auto for both words and likeness, selection for still more likeness.",
        ),
    ] = "auto",
    interpolation: Annotated[float, typer.Option("--interpolation", help="1: all target, 0: all source.")] = 1.0,
    pitch: Annotated[
        str, typer.Option("--pitch", metavar="target|source|SEMITONES", help="F0, where the vocoder takes one.")
    ] = "target",
    tempo: Annotated[
        str,
        typer.Option(
            "--tempo",
            metavar="auto|source|target|FACTOR",
            help="auto: the voice's with selection, else the source's, whose timing is kept; 1.25 is a quarter faster.",
        ),
    ] = "auto",
    loudness: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--loudness", metavar="LUFS", help="The source's if not given.", show_default=False),
    ] = None,
    attribution: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--attribution",
            metavar="FILE.csv",
            help="Which second of which reference every frame came from (a folder for several sources).",
            show_default=False,
        ),
    ] = None,
    vocoder: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--vocoder", metavar="NAME|FILE", help="Instead of the model's own: world.", show_default=False),
    ] = None,
    sign: Receipt = None,
    precision: Precision = "float32",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Convert recordings to the voice of other recordings.

    Examples: speechssl convert talk.wav --reference ada1.wav ada2.wav --output talk-as-ada.wav;
    speechssl convert recordings/ --voice ada --output converted/ --json
    """
    from speechssl import audio
    from speechssl.conversion import options as options_module
    from speechssl.conversion.bundles import load_bundle

    jobs, folder = batch.plan(sources, output, ".wav")
    tables = _attribution_files(jobs, attribution, folder)
    _check_target(reference, voice)
    _check_output(jobs[0].output, folder)
    if folder is None:
        # a mistyped name is told before an hour of references is encoded
        audio.info(jobs[0].source)
    options: dict[str, Any] = {
        "k": k,
        "converter": converter,
        "interpolation": interpolation,
        "pitch": pitch,
        "tempo": tempo,
        "loudness": "source" if loudness is None else loudness,
    }
    options_module.check_options(**options)
    system = load_bundle(model, layer=layer, device=device, precision=precision, vocoder=vocoder)
    target = _target(system, reference or [], voice or [])
    settings = {
        "version": __version__,
        "precision": precision,
        "vocoder": vocoder,
        **options,
        "voices": _identity(target),
    }
    signer = receipt.signer(sign, [one for one, _ in target])
    if signer is not None:
        settings["receipt"] = True

    def work(job: Job) -> dict[str, Any]:
        result = system.convert(job.source, target, **options)
        facts = _write(result, job, tables.get(job))
        return facts if signer is None else {**facts, "receipt": _sign(signer, job, target, result, model, options)}

    with terminal.progress("convert", len(jobs)) as advance:
        outcome = batch.run(
            jobs, work, ledger=batch.Ledger(folder, settings), is_batch=folder is not None, advance=advance
        )
    if reference and outcome.results:
        _remark_on(reference)
    terminal.finish(outcome, json=json, describe=_describe)


def _check_target(references: list[str] | None, voices: list[str] | None) -> None:
    if bool(references) == bool(voices):
        got = "both --reference and" if references else "neither --reference nor"
        raise InputError(f"{got} --voice given; one of them needed: whose voice is wanted?")


def _check_output(first: Path, folder: Path | None) -> None:
    """Tell a place that cannot be written to before the work, not after it."""
    from speechssl.audio.files import WRITABLE

    if first.suffix.lower() not in WRITABLE:
        raise InputError(f"{first} has no extension that can be written; one of {', '.join(WRITABLE)} needed")
    if folder is None and not first.parent.is_dir():
        raise InputError(f"{first.parent} is no folder, so {first} cannot be written; make the folder first")
    # the output folder will be made, where there is something to make it in
    batch.check_place(first)


def _target(system: VoiceConverter, references: list[str], stored: list[str]) -> Target:
    """The voices and their weights."""
    if references:
        return [(system.matching_set(batch.audio_files(references)), 1.0)]
    from speechssl.voices import VoiceLibrary

    library = VoiceLibrary()
    return [(library.open(name), weight) for name, weight in map(_weighted, stored)]


def _weighted(text: str) -> tuple[str, float]:
    """``ada=0.7`` as ``("ada", 0.7)``; without a weight 1."""
    name, equals, weight = text.rpartition("=")
    if not equals or Path(text).exists():
        return text, 1.0
    try:
        return name, float(weight)
    except ValueError:
        raise InputError(f"the weight of the voice in {text!r} is no number; write NAME=0.7") from None


def _remark_on(given: list[str]) -> None:
    """Say what is not as it should be with the references, as ``speechssl report`` does."""
    from speechssl import audio
    from speechssl.voices import reference_report

    waveforms, seconds = [], 0.0
    for file in batch.audio_files(given):
        if seconds < LOOKED_AT:
            waveforms.append(audio.read_mono(file, 16_000))
            seconds += waveforms[-1].seconds
    found = reference_report.report(waveforms)
    if found.remarks:
        terminal.remark(f"reference: {found.verdict}")


def _identity(target: Target) -> list[Any]:
    """What of the voices decides the result."""
    return [
        [one.key_origin, one.value_origin, [reference.sha256 for reference in one.references], len(one), weight]
        for one, weight in target
    ]


def _attribution_files(jobs: list[Job], wanted: Path | None, folder: Path | None) -> dict[Job, Path]:
    """The CSV file of each job: the file named, or one for each source in the folder named."""
    if wanted is None:
        return {}
    if folder is None:
        return {jobs[0]: wanted}
    if wanted.suffix:
        raise InputError(f"--attribution {wanted} is one file, but the output is a folder; name a folder")
    return {job: wanted / job.output.relative_to(folder).with_suffix(".csv") for job in jobs}


def _write(result: Conversion, job: Job, table: Path | None) -> dict[str, Any]:
    """The recording last, so that where it is, everything is."""
    from speechssl import audio

    if table is not None:
        result.write_attribution(table)
    try:
        audio.write(job.output, result.waveform)
    except BaseException:
        if table is not None:
            table.unlink(missing_ok=True)
        raise
    return {
        "seconds": round(result.waveform.seconds, 3),
        "sample_rate": result.waveform.sample_rate,
        "converter": result.converter,
        "reason": result.reason,
        "coverage": round(result.coverage, 4),
        "stretch": round(result.stretch, 4),
        **({} if table is None else {"attribution": str(table)}),
    }


def _sign(signer: Signer, job: Job, target: Target, result: Conversion, model: str, options: dict[str, Any]) -> str:
    from speechssl.receipts import contents, signing

    leave = contents.consents([one for one, _ in target], otherwise=receipt.NOBODY)
    settings = {name: value for name, value in options.items() if name != "converter"}
    facts = contents.of_conversion(job.source, target, result, model=model, consent=leave, settings=settings)
    signing.issue(job.output, facts, signer)
    return str(signing.beside(job.output))


def _describe(result: dict[str, Any]) -> str:
    longer = "" if result["stretch"] == 1 else f", {result['stretch']:.2f} times as long"
    return f"{result['seconds']:.1f} s, {result['converter']} ({result['reason']}){longer}"
