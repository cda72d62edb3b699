"""``speechssl convert``: recordings in, the target's voice out."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from speechssl import __version__, audio
from speechssl.checkpoints import sha256_of
from speechssl.cli import batch, long_sources, models, outputs, receipt, terminal
from speechssl.cli import jobs as conversions
from speechssl.cli import options as opt
from speechssl.cli.batch import Plan
from speechssl.cli.jobs import Targets, Wanted
from speechssl.cli.ledger import Job, made_before
from speechssl.cli.outputs import Overwrite
from speechssl.conversion import converters
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.conversion.result import Conversion
    from speechssl.conversion.voice_converter import VoiceConverter
    from speechssl.receipts.signing import Signer

LOOKED_AT = 600.0  # seconds of reference that are measured for remarks; more would cost time and say nothing new
EXAMPLES = opt.examples(
    "convert talk.wav --reference ada1.wav ada2.wav --output out.wav",
    "convert recordings/ --voice ada --output converted/ --json",
    "convert talk.wav --voice ada --converter selection -o out.wav",
    "convert --jobs jobs.csv --output converted/",
)

K: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--k",
        help="Number of nearest frames of the voice that each frame is made of. Default: 3 with `regression` and "
        "`variance`, else 4 as in the kNN-VC paper.",
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
Jobs: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--jobs",
        metavar="FILE",
        help="Table of conversions instead of sources: CSV, TSV or JSON lines with the columns `source`, `voice` or "
        "`reference`, `output`, and any option, such as `pitch`. Options that are given hold for empty cells.",
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
    str,
    typer.Option(
        "--loudness",
        metavar="MODE|LUFS",
        help="Loudness. `contour` follows the source at every moment of speech, `contour=0.5` goes half way, `level` "
        "follows it on the whole, `off` leaves what the vocoder gives. A number is the loudness of the whole in LUFS "
        "with the contour of the source, such as -23.",
    ),
]
SampleRate: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--sample-rate",
        metavar="HZ|MODE",
        help="Sample rate of the output, 8000 to 48000 Hz; `source` is that of the source, `usual` that which players "
        "expect (48000 for Opus, else 44100). Resampling adds no higher frequencies. Default: the vocoder's.",
    ),
]
Attribution: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--attribution",
        metavar="FILE",
        help="Write a table (CSV) that says for every frame which second of which reference it came from. Give a "
        "folder if there are several sources.",
    ),
]
Vocoder: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--vocoder",
        metavar="NAME|FILE",
        help="Vocoder to use instead of the model's own: world, which needs no training, or a file.",
    ),
]


def convert(
    sources: opt.Sources = None,
    output: opt.MaybeOutput = None,
    listed: opt.Lists = None,
    jobs: Jobs = None,
    reference: opt.References = None,
    voice: opt.Voices = None,
    model: opt.MaybeModel = None,
    layer: opt.Layer = None,
    normalise: opt.Normalise = None,
    k: K = None,
    converter: Converter = "auto",
    interpolation: opt.Interpolation = 1.0,
    pitch: Pitch = "target",
    tempo: Tempo = "auto",
    loudness: Loudness = "contour",
    sample_rate: SampleRate = None,
    attribution: Attribution = None,
    vocoder: Vocoder = None,
    sign: opt.Receipt = None,
    overwrite: Overwrite = False,
    dry_run: opt.DryRun = False,
    strict: opt.Strict = False,
    precision: opt.Precision = "float32",
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Convert recordings to the voice of other recordings; the words stay."""
    from speechssl.conversion.options import ConversionOptions
    from speechssl.encoders.precision import settled

    options = ConversionOptions(k, converter, interpolation, pitch, tempo, loudness, sample_rate)
    if jobs is None:
        opt.check_target(reference, voice)
    files = batch.recordings(reference, needed=False)
    wanted = Wanted(options, tuple(files), tuple(map(conversions.weighted, voice or [])))
    plan, asked = _planned(sources, listed, jobs, output, wanted)
    tables = _attribution_files(plan, attribution)
    _check(plan, asked, tables, overwrite=overwrite)
    if dry_run and not made_before(plan.folder):
        return batch.show(plan, json=json)
    named = dict.fromkeys(name for one in asked.values() for name, _ in one.voices)
    origins = models.origins_of(named, lenient=jobs is not None)
    system = models.load(
        model, origins, layer=layer, normalise=normalise, device=device, precision=precision, vocoder=vocoder
    )
    targets = Targets(system)
    if jobs is None:
        terminal.stage("listening to the references" if files else "opening the voice")
        targets.of(wanted)  # a voice that cannot be used is said before the work
    made_with = {"version": __version__, "precision": settled(precision, device), "vocoder": vocoder}
    work = Work(system, targets, asked, model or system.encoder.origin, tables, sign, strict, made_with)
    if dry_run:
        return batch.show(plan, json=json, settings=work.settings, strict=strict)
    outcome = batch.run(
        plan, work, settings=work.settings, strict=strict, title="converting", describe=None if json else _describe
    )
    if files and outcome.results:
        _remark_on(files)
    batch.finish(outcome, json=json)


def _planned(
    sources: list[str] | None, listed: list[str] | None, jobs: str | None, output: str | None, wanted: Wanted
) -> tuple[Plan, dict[Job, Wanted]]:
    """The plan, and what is wanted for each of its jobs."""
    if jobs is not None:
        if sources or listed:
            raise InputError("--jobs names the sources; leave the others out, or convert without --jobs")
        folder = Path(jobs).parent if output is None else Path(output)
        batch.check_named(folder if output is None else output)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"--output {folder} is no folder; name a folder for the outputs of --jobs")
        asked = conversions.read(jobs, folder, wanted)
        return batch.Plan(list(asked), folder), asked
    if output is None:
        raise InputError("no --output; name the file to write, or a folder for several sources")
    plan = batch.plan(sources or [], output, ".wav", listed=listed or [])
    _check_files(plan)
    options = conversions.at_rate_of(wanted.options, plan.jobs[0].output)
    return plan, dict.fromkeys(plan.jobs, dataclasses.replace(wanted, options=options))


@dataclasses.dataclass(frozen=True)
class Work:
    """Converts one recording, and writes the result, its attribution and its receipt."""

    system: VoiceConverter
    targets: Targets
    asked: dict[Job, Wanted]
    model: str
    tables: dict[Job, Path]
    receipts: bool | None
    strict: bool
    made_with: dict[str, Any]

    def __call__(self, job: Job) -> dict[str, Any]:
        from speechssl.conversion.convert import rate_for
        from speechssl.receipts import signing
        from speechssl.verification import speech_classifier

        wanted = self.asked[job]
        remark = batch.remarked(job, speech_classifier.remark_on(job.source), strict=self.strict)
        target, rate = self.targets.of(wanted), rate_for(wanted.options.sample_rate, job.output, job.source)
        options = dataclasses.replace(wanted.options, sample_rate=rate)
        table = self.tables.get(job)
        if long_sources.suits(self.system, job.source, target, options):
            with _attributed(table):
                result, seconds = long_sources.convert(
                    self.system, job.source, job.output, target, options, before=functools.partial(_attribute, table)
                )
            facts = {**_facts(result, table), "seconds": round(seconds, 3), "streamed": True}
        else:
            result = self.system.run(job.source, target, options)
            with _attributed(table):
                _attribute(table, result)
                audio.write(job.output, result.waveform)
            facts = _facts(result, table)
        if not remark and result.coverage_remark:
            remark = {"remark": result.coverage_remark}
        facts |= remark | batch.channels(job.source)
        signer = receipt.signer(self.receipts, [one for one, _ in target])
        if signer is None:
            signing.drop(job.output)
            return facts
        return {**facts, "receipt": self._sign(signer, job, result)}

    def settings(self, job: Job) -> dict[str, Any]:
        """Whatever decides the result besides the source."""
        target = self.targets.of(self.asked[job])
        voices = [
            [voice.key_origin, voice.value_origin, [one.sha256 for one in voice.references], len(voice), weight]
            for voice, weight in target
        ]
        signed = {"receipt": True} if receipt.signs(self.receipts, [one for one, _ in target]) else {}
        table = self.tables.get(job)
        traced = {} if table is None else {"attribution": sha256_of(table) if table.is_file() else None}
        return {**self.made_with, **dataclasses.asdict(self.asked[job].options), "voices": voices, **signed, **traced}

    def _sign(self, signer: Signer, job: Job, result: Conversion) -> str:
        from speechssl.receipts import contents, signing

        target, options = self.targets.of(self.asked[job]), dataclasses.asdict(self.asked[job].options)
        consent = contents.consents([voice for voice, _ in target], otherwise=receipt.NOBODY)
        settings = {name: value for name, value in options.items() if name != "converter"}
        facts = contents.of_conversion(job.source, target, result, model=self.model, consent=consent, settings=settings)
        signing.issue(job.output, facts, signer)
        return str(signing.beside(job.output))


def _check(plan: Plan, asked: dict[Job, Wanted], tables: dict[Job, Path], *, overwrite: bool) -> None:
    """Refuse what would be overwritten or could not be written, before the work."""
    given: list[str | Path] = [job.source for job in plan.jobs]
    for one in dict.fromkeys(asked.values()):
        given += [*one.references, *(name for name, _ in one.voices)]
    made = made_before(plan.folder)
    made |= {
        Path(os.path.realpath(table)) for job, table in tables.items() if Path(os.path.realpath(job.output)) in made
    }
    places = [*(job.output for job in plan.jobs), *tables.values()]
    outputs.check(places, given, overwrite=overwrite, made=made)


def _check_files(plan: Plan) -> None:
    """Refuse a single source that cannot be read and a place that cannot be written to, before the work."""
    first = plan.jobs[0]
    outputs.check_sound(first.output)
    if plan.folder is None:
        outputs.check_folder(first.output)
        audio.info(first.source)


def _remark_on(references: list[Path]) -> None:
    """Print the verdict of ``speechssl report`` on the references if they leave something to wish for."""
    from speechssl.voices import reference_report

    heard, seconds = [], 0.0
    for file in references:
        if seconds < LOOKED_AT:
            heard.append(file)
            seconds += audio.info(file).seconds
    found = reference_report.report(heard, names=audio.told_apart(heard))
    if found.remarks:
        terminal.remark(f"reference: {found.verdict}")


def _attribution_files(plan: Plan, wanted: Path | None) -> dict[Job, Path]:
    """The CSV file of each job: the given file, or one for each source in the given folder."""
    if wanted is None:
        return {}
    if (folder := plan.folder) is None:
        outputs.check_no_sound(wanted, ".csv")
        return {plan.jobs[0]: wanted}
    if wanted.suffix:
        raise InputError(f"--attribution {wanted} is one file, but the output is a folder; name a folder")
    places = {job: Path(os.path.relpath(job.output, folder)).with_suffix(".csv") for job in plan.jobs}
    # an output of --jobs may lie elsewhere
    return {job: wanted / (place.name if ".." in place.parts else place) for job, place in places.items()}


@contextlib.contextmanager
def _attributed(table: Path | None) -> Iterator[None]:
    """The attribution is written before the recording: if the recording exists, so does it; if not, it goes too."""
    if table is None:
        yield
        return
    with batch.into(table.parent):
        try:
            yield
        except BaseException:
            table.unlink(missing_ok=True)
            raise


def _attribute(table: Path | None, result: Conversion) -> None:
    if table is not None:
        result.write_attribution(table)


def _facts(result: Conversion, table: Path | None) -> dict[str, Any]:
    return {
        "seconds": round(result.waveform.seconds, 3),
        "sample_rate": result.waveform.sample_rate,
        "made_at": result.made_at,
        "converter": result.converter,
        "reason": result.reason,
        "coverage": round(result.coverage, 4),
        "stretch": round(result.stretch, 4),
        **({} if table is None else {"attribution": str(table)}),
    }


def _describe(result: dict[str, Any]) -> str:
    longer = "" if result["stretch"] == 1 else f", {result['stretch']:.2f} times as long"
    rate, made_at = result["sample_rate"], result["made_at"]
    resampled = "" if rate == made_at else f", {rate} Hz resampled from {made_at} Hz"
    reached = f"coverage {result['coverage']:.2f}"
    pieces = ", piece by piece" if result.get("streamed") else ""
    return (
        f"{result['seconds']:.1f} s, {result['converter']} ({result['reason']}){pieces}, {reached}{longer}{resampled}"
    )
