"""``speechssl trials, evaluate, calibrate``: how well an embedder tells speakers apart, and where to draw the line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from speechssl.cli import terminal
from speechssl.cli.options import Device, Json
from speechssl.cli.verification import Database, Model, load, number, open_database
from speechssl.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from speechssl.signals import Embedder
    from speechssl.verification.plda import Plda
    from speechssl.verification.trials import Trial

app = typer.Typer(no_args_is_help=True)

Target = Annotated[str, typer.Argument(metavar="DIR|TRIALS", help="Folder of speakers, or a trial list.")]
Root = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--root", metavar="DIR", help="Where the list's paths begin; its folder.", show_default=False),
]
Enrolments = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--enrolments",
        metavar="FILE",
        help="Lines 'NAME a.wav b.wav': several recordings behind a name in the list.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of every random draw.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Threads; results do not depend on it.")]


@app.command()
def calibrate(
    target: Target,
    false_alarm: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--false-alarm", min=1e-6, max=0.5, help="Rate the threshold is for.", show_default=False),
    ] = None,
    root: Root = None,
    by_seconds: Annotated[
        bool,
        typer.Option(
            "--by-seconds/--scores-alone", help="Let the seconds of speech count where they help unknown speakers."
        ),
    ] = True,
    model: Model = "tiny",
    database: Database = None,
    seed: Seed = 0,
    workers: Workers = 1,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Fit likelihood ratios and the threshold on recordings of your own; verify and identify use them from then on."""
    from speechssl.verification import calibration as fitting
    from speechssl.verification import evaluation, metrics
    from speechssl.verification.trials import recordings_of

    embedder, before = load(model, device, database)
    trials, folder = _trials(target, root, seed)
    with _embedding(set(recordings_of(trials)), workers) as how:
        _, scores, seconds = evaluation.evaluate(trials, folder, embedder, draws=2, **how)
    _remark_on_brief_ones(trials, seconds)
    labels = [trial.is_target for trial in trials]
    sides = list(zip(*(trial.sides for trial in trials), strict=True))
    known, source = seconds if by_seconds else None, Path(target).name
    found = fitting.calibrate(
        scores, labels, *sides, origin=embedder.origin, source=source, false_alarm=false_alarm, seconds=known, seed=seed
    )
    with open_database(database) as store:
        store.set_calibration(found)
    llrs = found.llrs(scores, seconds)
    result = found.as_dict() | {
        "cllr_before": metrics.cllr(before.llrs(scores, seconds), labels) if before else None,
        "cllr_after": metrics.cllr(llrs, labels),
        "min_cllr": metrics.min_cllr(llrs, labels),
        "eer": metrics.eer(scores, labels),
    }
    if json:
        terminal.emit(result)
        return
    print(f"Cllr before {number(result['cllr_before'])}, after {result['cllr_after']:.4f} bits; "
          f"at best {result['min_cllr']:.4f}")  # fmt: skip
    if found.by_seconds:
        print("the ratio and the threshold follow the seconds of speech; below, for recordings of typical length")
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
    from speechssl.verification.trials import find_recordings, make_trials, write_trials

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
    enrolments: Enrolments = None,
    model: Model = "tiny",
    as_norm: Annotated[bool, typer.Option("--as-norm", help="Normalise scores with the model's cohort.")] = False,
    plda: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--plda", metavar="FILE|DIR|TRIALS", help="Score by a PLDA: a file of --save-plda, or whom to fit it on."
        ),
    ] = None,
    save_plda: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--save-plda", metavar="FILE", help="Keep the fitted PLDA.", show_default=False),
    ] = None,
    database: Database = None,
    seed: Seed = 0,
    workers: Workers = 1,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure errors on a trial list, or on a balanced one for a folder of speakers, with intervals over speakers."""
    from speechssl.verification import evaluation
    from speechssl.verification import plda as models
    from speechssl.verification.trials import files_of, read_enrolments

    if plda and as_norm:
        raise InputError("--as-norm and --plda are two ways of scoring; give one")
    if save_plda and (not plda or plda.endswith(".safetensors")):
        raise InputError("--save-plda keeps what --plda fits; give --plda a folder of speakers or a trial list")
    embedder, calibration = load(model, device, database)
    cohort = _cohort(embedder) if as_norm else None
    listed, folder = _trials(target, root, seed)
    known: Plda | None = None
    if plda and plda.endswith(".safetensors"):
        known = models.load(plda)
    elif plda:
        known = _fitted_plda(plda, root, embedder, {side for trial in listed for side in trial.sides}, workers)
        if save_plda:
            models.save(save_plda, known, source=Path(plda).name)
    scoring = "plda" if known else "as-norm" if as_norm else "cosine"
    usable = calibration if calibration and calibration.scoring == scoring else None
    several = read_enrolments(enrolments) if enrolments else None
    with _embedding(set(files_of(listed, several)), workers) as how:
        found, _, seconds = evaluation.evaluate(
            listed, folder, embedder, calibration=usable, cohort=cohort, plda=known, enrolments=several, **how
        )
    _remark_on_brief_ones(listed, seconds)
    found["scoring"] = scoring
    terminal.emit(found) if json else _print_report(found)


def _remark_on_brief_ones(trials: list[Trial], seconds: NDArray[np.float64]) -> None:
    """Say which recordings ``verify`` would refuse for want of speech."""
    from speechssl.verification.screening import MIN_SPEECH

    lengths = {
        name: length
        for trial, sides in zip(trials, seconds.tolist(), strict=True)
        for name, length in zip((trial.enrolment, trial.test), sides, strict=True)
    }
    brief = sorted(name for name, length in lengths.items() if length < MIN_SPEECH)
    if brief:
        terminal.remark(
            f"remark: {len(brief)} of {len(lengths)} recordings hold less than {MIN_SPEECH:.0f} s of speech, which "
            f"verify and identify refuse: {', '.join(brief[:5])}{' ...' if len(brief) > 5 else ''}"
        )


@contextlib.contextmanager
def _embedding(files: set[str], workers: int) -> Iterator[dict[str, Any]]:
    """Arguments by which recordings are embedded: cached, in threads, with progress on the terminal."""
    from speechssl import checkpoints

    with terminal.progress("embedding", len(files)) as advance:
        yield {"cache": checkpoints.cache_dir() / "speaker-embeddings", "workers": workers, "advance": advance}


def _cohort(embedder: Embedder) -> NDArray[np.float32]:
    cohort = getattr(embedder, "cohort", None)
    if cohort is None:
        raise InputError(f"{embedder.origin} came without a cohort; leave --as-norm out, or use the model tiny")
    found: NDArray[np.float32] = cohort.numpy()
    return found


def _fitted_plda(target: str, root: str | None, embedder: Embedder, tested: set[str], workers: int) -> Plda:
    """Fitted on all recordings of a folder of speakers or of a list; says so if some of those are tested."""
    from speechssl.verification import evaluation
    from speechssl.verification.trials import find_recordings, read_trials, recordings_of

    path = Path(target)
    if path.is_dir():
        folder = path
        known = {file: name for name, files in find_recordings(path).items() for file in files}
    else:
        folder, known = Path(root) if root else path.parent, recordings_of(read_trials(path))
    with _embedding(set(known), workers) as how:
        found = evaluation.fit_plda(known, folder, embedder, **how)
    if both := len(tested & set(known.values())):
        terminal.remark(f"remark: {both} speakers to be tested were in the fit; errors look smaller than they are")
    return found


def _trials(target: str, root: str | None, seed: int) -> tuple[list[Trial], Path]:
    from speechssl.verification.trials import find_recordings, make_trials, read_trials

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
        ("scores", found["scoring"]),
    ]
    if "cllr" in found:
        best = found["of_ratios"]
        costs = ", ".join(f"minDCF({prior}) {value:.4f}" for prior, value in best["min_dcf"].items())
        rows.append(("Cllr", f"{found['cllr']:.4f} bits"))
        rows.append(("ratios at best", f"{costs}, minCllr {best['min_cllr']:.4f} bits"))
    for row in found["speakers_worst_first"][:3]:
        taken = ", ".join(f"{name} ({count})" for name, count in row["taken_for"].items()) or "nobody"
        rows.append((row["speaker"], f"misses {number(row['miss'])}, taken for {taken}"))
    terminal.table(rows, ("measure", found["model"]))
