"""``speechssl convert``: recordings in, the target's voice out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from speechssl import __version__
from speechssl.cli import batch, outputs, receipt, terminal
from speechssl.cli.options import (
    Device,
    Interpolation,
    Json,
    Layer,
    Model,
    Output,
    Precision,
    Receipt,
    References,
    Sources,
    Voices,
    check_target,
    examples,
)
from speechssl.cli.outputs import Overwrite
from speechssl.conversion import converters
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.cli.batch import Job, Plan
    from speechssl.conversion.options import ConversionOptions
    from speechssl.conversion.result import Conversion
    from speechssl.conversion.voice_converter import VoiceConverter
    from speechssl.receipts.signing import Signer
    from speechssl.voices.matching_set import MatchingSet

    Target: TypeAlias = list[tuple[MatchingSet, float]]

LOOKED_AT = 600.0  # seconds of reference that are measured for remarks; more would cost time and say nothing new
EXAMPLES = examples(
    "convert talk.wav --reference ada1.wav ada2.wav --output out.wav",
    "convert recordings/ --voice ada --output converted/ --json",
    "convert talk.wav --voice ada --converter selection -o out.wav",
    "convert talk.wav --voice ada --attribution out.csv -o out.wav",
)

K: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--k",
        help="Number of nearest frames of the voice that each frame is made of. Default: 3 with `variance`, else 4 as "
        "in the kNN-VC paper.",
        show_default=False,
    ),
]
Converter: TypeAlias = Annotated[
    str,
    typer.Option(
        "--converter",
        metavar="NAME",
        help=f"How frames of the voice are combined. `auto`: {converters.AUTO} "
        + " ".join(f"`{row.name}`: {row.help}" for row in converters.TABLE.values()),
    ),
]
Pitch: TypeAlias = Annotated[
    str,
    typer.Option(
        "--pitch",
        metavar="MODE",
        help="Pitch (F0). `target` moves it to the pitch of the voice, `source` keeps it, a number shifts it by that "
        "many semitones.",
    ),
]
Tempo: TypeAlias = Annotated[
    str,
    typer.Option(
        "--tempo",
        metavar="RATE",
        help="Speaking rate. `auto`: half way to the voice's with `selection`, else unchanged; `source`: unchanged; "
        "`target`: half way to the voice's. A number is a factor: 1.25 is 25 % faster.",
    ),
]
Loudness: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--loudness",
        metavar="LUFS",
        help="Loudness of the output in LUFS, such as -23. Default: the loudness of the source.",
        show_default=False,
    ),
]
Attribution: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--attribution",
        metavar="FILE",
        help="Write a table (CSV) that says for every frame which second of which reference it came from. Give a "
        "folder if there are several sources.",
        show_default=False,
    ),
]
Vocoder: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--vocoder",
        metavar="NAME|FILE",
        help="Vocoder to use instead of the model's own: world, which needs no training, or a file.",
        show_default=False,
    ),
]


def convert(
    sources: Sources,
    output: Output,
    reference: References = None,
    voice: Voices = None,
    model: Model = "tiny",
    layer: Layer = None,
    k: K = None,
    converter: Converter = "auto",
    interpolation: Interpolation = 1.0,
    pitch: Pitch = "target",
    tempo: Tempo = "auto",
    loudness: Loudness = None,
    attribution: Attribution = None,
    vocoder: Vocoder = None,
    sign: Receipt = None,
    overwrite: Overwrite = False,
    precision: Precision = "float32",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Convert recordings to the voice of other recordings; the words stay."""
    from speechssl.conversion.bundles import load_bundle
    from speechssl.conversion.options import ConversionOptions

    level = "source" if loudness is None else loudness
    options = ConversionOptions(k, converter, interpolation, pitch, tempo, level)
    plan = batch.plan(sources, output, ".wav")
    tables = _attribution_files(plan, attribution)
    check_target(reference, voice)
    files = batch.audio_files(reference or [])
    voices = [_weighted(one) for one in voice or []]
    given: list[str | Path] = [*(job.source for job in plan.jobs), *files, *(name for name, _ in voices)]
    _check_files(plan)
    places = [*(job.output for job in plan.jobs), *tables.values()]
    outputs.check(places, given, overwrite=overwrite or plan.folder is not None)
    options.check()
    system = load_bundle(model, layer=layer, device=device, precision=precision, vocoder=vocoder)
    target = _target(system, files, voices)
    signer = receipt.signer(sign, [one for one, _ in target])
    work = Work(system, target, options, model, tables, signer)
    settings = {"version": __version__, "precision": precision, "vocoder": vocoder, **work.settings()}
    outcome = batch.run(plan, work, settings=settings, title="convert")
    if files and outcome.results:
        _remark_on(files)
    batch.finish(outcome, json=json, describe=_describe)


@dataclasses.dataclass(frozen=True)
class Work:
    """Converts one recording, and writes the result, its attribution and its receipt."""

    system: VoiceConverter
    target: Target
    options: ConversionOptions
    model: str
    tables: dict[Job, Path]
    signer: Signer | None

    def __call__(self, job: Job) -> dict[str, Any]:
        result = self.system.run(job.source, self.target, self.options)
        facts = _write(result, job, self.tables.get(job))
        return facts if self.signer is None else {**facts, "receipt": self._sign(self.signer, job, result)}

    def settings(self) -> dict[str, Any]:
        """Whatever decides the result besides the source."""
        voices = [
            [voice.key_origin, voice.value_origin, [one.sha256 for one in voice.references], len(voice), weight]
            for voice, weight in self.target
        ]
        return {**dataclasses.asdict(self.options), "voices": voices, **({"receipt": True} if self.signer else {})}

    def _sign(self, signer: Signer, job: Job, result: Conversion) -> str:
        from speechssl.receipts import contents, signing

        consent = contents.consents([voice for voice, _ in self.target], otherwise=receipt.NOBODY)
        settings = {name: value for name, value in dataclasses.asdict(self.options).items() if name != "converter"}
        facts = contents.of_conversion(
            job.source, self.target, result, model=self.model, consent=consent, settings=settings
        )
        signing.issue(job.output, facts, signer)
        return str(signing.beside(job.output))


def _check_files(plan: Plan) -> None:
    """Refuse a single source that cannot be read and a place that cannot be written to, before the work."""
    from speechssl import audio
    from speechssl.audio.files import WRITABLE

    first = plan.jobs[0].output
    if first.suffix.lower() not in WRITABLE:
        raise InputError(f"{first} has no extension that can be written; one of {', '.join(WRITABLE)} needed")
    if plan.folder is None:
        outputs.check_folder(first)
    if plan.folder is None:
        audio.info(plan.jobs[0].source)


def _target(system: VoiceConverter, references: list[Path], stored: list[tuple[str, float]]) -> Target:
    """The voices and their weights."""
    if references:
        return [(system.matching_set(references), 1.0)]
    from speechssl.voices import VoiceLibrary

    library = VoiceLibrary()
    return [(library.open(name), weight) for name, weight in stored]


def _weighted(text: str) -> tuple[str, float]:
    """``ada=0.7`` as ``("ada", 0.7)``; without a weight 1."""
    name, equals, weight = text.rpartition("=")
    if not equals or Path(text).exists():
        return text, 1.0
    try:
        return name, float(weight)
    except ValueError:
        raise InputError(f"the weight of the voice in {text!r} is no number; write NAME=0.7") from None


def _remark_on(references: list[Path]) -> None:
    """Print the verdict of ``speechssl report`` on the references if they leave something to wish for."""
    from speechssl import audio
    from speechssl.voices import reference_report

    waveforms, seconds = [], 0.0
    for file in references:
        if seconds < LOOKED_AT:
            waveforms.append(audio.read_mono(file, 16_000))
            seconds += waveforms[-1].seconds
    found = reference_report.report(waveforms)
    if found.remarks:
        terminal.remark(f"reference: {found.verdict}")


def _attribution_files(plan: Plan, wanted: Path | None) -> dict[Job, Path]:
    """The CSV file of each job: the given file, or one for each source in the given folder."""
    if wanted is None:
        return {}
    if (folder := plan.folder) is None:
        return {plan.jobs[0]: wanted}
    if wanted.suffix:
        raise InputError(f"--attribution {wanted} is one file, but the output is a folder; name a folder")
    return {job: wanted / job.output.relative_to(folder).with_suffix(".csv") for job in plan.jobs}


def _write(result: Conversion, job: Job, table: Path | None) -> dict[str, Any]:
    """Write the attribution, then the recording: if the recording exists, so does the attribution."""
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


def _describe(result: dict[str, Any]) -> str:
    longer = "" if result["stretch"] == 1 else f", {result['stretch']:.2f} times as long"
    return f"{result['seconds']:.1f} s, {result['converter']} ({result['reason']}){longer}"
