"""``speechssl verify, enrol, identify, calibrate, trials, evaluate, speakers``: who is speaking."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from speechssl.cli import terminal
from speechssl.cli.options import Device, Json
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.calibration import Calibration
    from speechssl.interfaces import Embedder
    from speechssl.speakers import SpeakerDatabase
    from speechssl.trials import Trial

# without a name, its commands become commands of the program itself
app = typer.Typer(no_args_is_help=True)
speakers_app = typer.Typer(help="The enrolled speakers.", no_args_is_help=True)
app.add_typer(speakers_app, name="speakers")

Recordings = Annotated[list[str], typer.Argument(metavar="WAV...", help="Recordings.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The speaker's name.", show_default=False)]
Model = Annotated[
    str, typer.Option("--model", "-m", metavar="NAME", help="tiny, ecapa, wavlm-sv, a hub id, a folder or a file.")
]
Database = Annotated[
    Optional[str],  # noqa: UP045  typer evaluates it, on Python 3.10 too
    typer.Option("--database", metavar="FILE", help="Enrolled speakers; $SPEECHSSL_SPEAKERS.", show_default=False),
]
Prior = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--prior", min=1e-9, max=1 - 1e-9, help="Probability of one speaker beforehand.", show_default=False),
]
Threshold = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--threshold", help="Accept from this score on, whatever the calibration says.", show_default=False),
]
Target = Annotated[str, typer.Argument(metavar="DIR|TRIALS", help="Folder of speakers, or a trial list.")]
Root = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--root", metavar="DIR", help="Where the list's paths begin; its folder.", show_default=False),
]
Seed = Annotated[int, typer.Option("--seed", help="Of every random draw.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Threads; results do not depend on it.")]


@app.command()
def verify(
    recordings: Annotated[
        list[str],
        typer.Argument(metavar="ENROL... TEST", help="One or more of the speaker, then the one asked about."),
    ],
    model: Model = "tiny",
    prior: Prior = None,
    threshold: Threshold = None,
    database: Database = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Say whether the last recording is by the speaker of the others."""
    from speechssl import verification

    if len(recordings) < 2:
        raise InputError("one recording only; give at least one of the speaker, and the one asked about")
    embedder, calibration = _model(model, device, database)
    *enrolment, test = (verification.embed(path, embedder, calibration=calibration) for path in recordings)
    cohort = getattr(embedder, "cohort", None)
    found = verification.verify(
        enrolment, test, calibration=calibration, cohort=cohort, prior=prior, threshold=threshold
    )
    for remark in found.remarks:
        terminal.remark(f"remark: {remark}")
    if json:
        terminal.emit(dataclasses.asdict(found))
        return
    answer = {True: "same speaker", False: "different speakers", None: "undecided"}[found.accepted]
    print(answer)
    print(f"score {found.score:.4f} ({found.scoring}), threshold {_number(found.threshold)} ({found.threshold_source})")
    if found.llr is not None:
        print(f"log-likelihood ratio {found.llr:.2f}, probability {found.probability:.4f} at prior {found.prior:g}")


@app.command()
def enrol(
    name: Name,
    recordings: Recordings,
    model: Model = "tiny",
    database: Database = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Add recordings to a speaker; all of them, or none if one cannot be used."""
    from speechssl import verification
    from speechssl.speakers import Enrolment

    embedder, calibration = _model(model, device, database)
    utterances = [verification.embed(path, embedder, calibration=calibration) for path in recordings]
    with _database(database) as store:
        rows = [Enrolment(u.embedding, Path(u.name).name, u.sha256, u.seconds) for u in utterances]
        new = store.enrol(name, rows)
    for utterance in utterances:
        for remark in utterance.remarks:
            terminal.remark(f"remark: {utterance.name}: {remark}")
    if json:
        terminal.emit({"speaker": name, "new": new, "known": len(rows) - new, "model": embedder.origin})
    else:
        known = f", {len(rows) - new} were enrolled already" if new < len(rows) else ""
        print(f"{name}: {new} recordings enrolled{known}")


@app.command()
def identify(
    recordings: Recordings,
    model: Model = "tiny",
    prior: Prior = None,
    threshold: Threshold = None,
    database: Database = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Say which enrolled speaker each recording is by, or that it is nobody's."""
    from speechssl import verification

    embedder, calibration = _model(model, device, database)
    results: list[dict[str, Any]] = []
    with _database(database) as store:
        for path in recordings:
            test = verification.embed(path, embedder, calibration=calibration)
            ranked = verification.identify(
                test,
                store,
                calibration=calibration,
                cohort=getattr(embedder, "cohort", None),
                prior=prior,
                threshold=threshold,
            )
            for remark in test.remarks:
                terminal.remark(f"remark: {path}: {remark}")
            speaker = ranked[0].speaker if ranked[0].accepted else None
            results.append(
                {"recording": path, "speaker": speaker, "ranked": [dataclasses.asdict(row) for row in ranked]}
            )
    if json:
        terminal.emit(results)
        return
    for result in results:
        best = ", ".join(f"{row['speaker']} {row['score']:.3f}" for row in result["ranked"][:3])
        print(f"{result['recording']}  {result['speaker'] or 'unknown'}  ({best})")


@app.command()
def calibrate(
    target: Target,
    false_alarm: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--false-alarm", min=1e-6, max=0.5, help="Rate the threshold is for.", show_default=False),
    ] = None,
    root: Root = None,
    model: Model = "tiny",
    database: Database = None,
    seed: Seed = 0,
    workers: Workers = 1,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Fit likelihood ratios and the threshold on recordings of your own; verify and identify use them from then on."""
    from speechssl import calibration as fitting
    from speechssl import evaluation, metrics

    embedder, before = _model(model, device, database)
    trials, folder = _trials(target, root, seed)
    _, scores = evaluation.evaluate(trials, folder, embedder, cache=_cache(), workers=workers, draws=2)
    labels = [trial.is_target for trial in trials]
    sides = list(zip(*(trial.sides for trial in trials), strict=True))
    found = fitting.calibrate(
        scores, labels, *sides, origin=embedder.origin, source=Path(target).name, false_alarm=false_alarm, seed=seed
    )
    with _database(database) as store:
        store.set_calibration(found)
    llrs = found.scale * scores + found.offset
    result = found.as_dict() | {
        "cllr_before": metrics.cllr(before.scale * scores + before.offset, labels) if before else None,
        "cllr_after": metrics.cllr(llrs, labels),
        "min_cllr": metrics.min_cllr(scores, labels),
        "eer": metrics.eer(scores, labels),
    }
    if json:
        terminal.emit(result)
        return
    print(f"Cllr before {_number(result['cllr_before'])}, after {result['cllr_after']:.4f} bits; "
          f"at best {result['min_cllr']:.4f}")  # fmt: skip
    print(f"threshold {found.threshold:.4f} (95 %: {found.threshold_low:.4f} to {found.threshold_high:.4f})")
    rates = (found.false_alarm_low, found.false_alarm_high)
    print(f"false alarms at this threshold, 95 %: {100 * rates[0]:.2f} to {100 * rates[1]:.2f} %")
    print(f"kept for {found.origin}")


@app.command()
def trials(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder speaker/**/recording.", show_default=False)],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The list.", show_default=False)],
    per_speaker: Annotated[int, typer.Option("--per-speaker", min=1, help="Target trials of each at most.")] = 50,
    other_sessions: Annotated[
        bool, typer.Option("--other-sessions", help="No target trial within one folder below the speaker's.")
    ] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Write a balanced trial list for a folder of speakers."""
    from speechssl.trials import find_recordings, make_trials, write_trials

    found = make_trials(find_recordings(folder), per_speaker=per_speaker, seed=seed, other_sessions=other_sessions)
    write_trials(output, found)
    targets = sum(trial.is_target for trial in found)
    if json:
        terminal.emit({"output": output, "trials": len(found), "targets": targets, "seed": seed})
    else:
        print(f"{output}  {targets} target and {len(found) - targets} non-target trials")


@app.command()
def evaluate(
    target: Target,
    root: Root = None,
    model: Model = "tiny",
    as_norm: Annotated[bool, typer.Option("--as-norm", help="Normalise scores with the model's cohort.")] = False,
    database: Database = None,
    seed: Seed = 0,
    workers: Workers = 1,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure errors on a trial list, or on a balanced one for a folder of speakers, with intervals over speakers."""
    from speechssl import evaluation

    embedder, calibration = _model(model, device, database)
    cohort = getattr(embedder, "cohort", None)
    if as_norm and cohort is None:
        raise InputError(f"{embedder.origin} came without a cohort; leave --as-norm out, or use the model tiny")
    listed, folder = _trials(target, root, seed)
    usable = calibration if calibration and (calibration.scoring == "as-norm") == as_norm else None
    files = {side for trial in listed for side in (trial.enrolment, trial.test)}
    with terminal.progress("embedding", len(files)) as advance:
        found, _ = evaluation.evaluate(
            listed,
            folder,
            embedder,
            calibration=usable,
            cohort=cohort.numpy() if as_norm and cohort is not None else None,
            cache=_cache(),
            workers=workers,
            advance=advance,
        )
    terminal.emit(found) if json else _print_report(found)


@speakers_app.command("list")
def list_speakers(database: Database = None, json: Json = False) -> None:
    """Who is enrolled, and with which model."""
    with _database(database) as store:
        found = store.speakers()
    if json:
        terminal.emit(found)
        return
    rows = [(row["speaker"], str(row["utterances"]), f"{row['seconds']:.1f}", row["origin"]) for row in found]
    terminal.table(rows, ("speaker", "recordings", "seconds", "model"))


@speakers_app.command()
def show(name: Name, database: Database = None, json: Json = False) -> None:
    """The recordings of a speaker."""
    with _database(database) as store:
        found = store.show(name)
    if json:
        terminal.emit(found)
        return
    rows = [(row["source"], f"{row['seconds']:.1f}", row["added"], row["origin"]) for row in found]
    terminal.table(rows, ("recording", "seconds", "added", "model"))


@speakers_app.command()
def remove(name: Name, database: Database = None, json: Json = False) -> None:
    """Forget a speaker."""
    with _database(database) as store:
        count = store.remove(name)
    terminal.emit({"speaker": name, "removed": count}) if json else print(f"{name}: {count} recordings removed")


@speakers_app.command()
def export(
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="JSON file; - for stdout.")] = "-",
    database: Database = None,
) -> None:
    """Everything in the database as JSON, embeddings included."""
    from speechssl import evaluation

    with _database(database) as store:
        found = store.export()
    if output == "-":
        terminal.emit(found)
    else:
        evaluation.save_report(output, found)
        print(f"{output}  {len(found['utterances'])} recordings")


def _model(name: str, device: str, database: str | None) -> tuple[Embedder, Calibration | None]:
    """The embedder, and its calibration: the user's own before the one that came with it."""
    from speechssl import embedders, verification

    embedder = embedders.load(name, device=device)
    with _database(database) as store:
        own = store.calibration(embedder.origin)
    return embedder, own or verification.shipped_calibration(embedder)


def _database(path: str | None) -> SpeakerDatabase:
    from speechssl.speakers import SpeakerDatabase, default_path

    return SpeakerDatabase(path or default_path())


def _cache() -> Path:
    from speechssl import checkpoints

    return checkpoints.cache_dir() / "speaker-embeddings"


def _trials(target: str, root: str | None, seed: int) -> tuple[list[Trial], Path]:
    from speechssl.trials import find_recordings, make_trials, read_trials

    path = Path(target)
    if path.is_dir():
        return make_trials(find_recordings(path), seed=seed), path
    return read_trials(path), Path(root) if root else path.parent


def _print_report(found: dict[str, Any]) -> None:
    low, high = found["eer_interval_95"]
    rows = [
        ("trials", f"{found['trials']} ({found['targets']} target), {found['speakers']} speakers"),
        ("EER", f"{100 * found['eer']:.2f} % (95 %: {100 * low:.2f} to {100 * high:.2f})"),
        ("EER, interpolated", f"{100 * found['eer_interpolated']:.2f} %"),
        *((f"minDCF({prior})", f"{value:.4f}") for prior, value in found["min_dcf"].items()),
        *((f"actDCF({prior})", f"{value:.4f}") for prior, value in found.get("act_dcf", {}).items()),
        ("minCllr", f"{found['min_cllr']:.4f} bits"),
    ]
    if "cllr" in found:
        rows.append(("Cllr", f"{found['cllr']:.4f} bits"))
    for row in found["speakers_worst_first"][:3]:
        taken = ", ".join(f"{name} ({count})" for name, count in row["taken_for"].items()) or "nobody"
        rows.append((row["speaker"], f"misses {_number(row['miss'])}, taken for {taken}"))
    terminal.table(rows, ("measure", found["model"]))


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
