"""``speechssl trials, evaluate, calibrate``: the error rates of an embedder, and the threshold for your recordings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from speechssl import checkpoints
from speechssl.checkpoints.names import some
from speechssl.cli import options as opt
from speechssl.cli import outputs, terminal
from speechssl.cli.outputs import Overwrite
from speechssl.cli.verification import check_database, load, number, open_database
from speechssl.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from speechssl.signals import Embedder
    from speechssl.verification.calibration import Calibration
    from speechssl.verification.plda import Plda
    from speechssl.verification.trials import Trial

app = typer.Typer(no_args_is_help=True)

FalseAlarm: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--false-alarm",
        min=1e-6,
        max=0.5,
        help="False-alarm rate that the threshold is set for, such as 0.01 for 1 %. Default: no rate; the threshold is "
        "where the likelihood ratio is 1.",
    ),
]
BySeconds: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--by-seconds/--scores-alone",
        help="Also fit the effect of speech duration, if that helps on speakers held out.",
    ),
]
Enrolments: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--enrolments",
        metavar="FILE",
        help="File with lines 'NAME a.wav b.wav': the list may then use NAME for several enrolment recordings.",
    ),
]
AsNorm: TypeAlias = Annotated[
    bool, typer.Option("--as-norm", help="Normalise the scores with the model's cohort of other speakers (AS-norm).")
]
PldaFrom: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--plda",
        metavar="FILE|DIR|TRIALS",
        help="Score by PLDA: a file that --save-plda wrote, or a folder of speakers or a trial list to fit it on.",
    ),
]
Scores: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--scores",
        metavar="FILE",
        help="Also write the score of each trial: a table if the name ends in .csv, else lines 'ENROLMENT TEST SCORE'.",
    ),
]
SavePlda: TypeAlias = Annotated[
    str | None,
    typer.Option("--save-plda", metavar="FILE", help="Save the fitted PLDA to this file."),
]


Reset: TypeAlias = Annotated[
    bool,
    typer.Option("--reset", help="Remove your calibration of this model; the one that ships with it is used again."),
]


@app.command(epilog=opt.examples("calibrate speakers/", "calibrate trials.txt --false-alarm 0.01", "calibrate --reset"))
def calibrate(
    target: opt.CalibrationTrials = None,
    reset: Reset = False,
    false_alarm: FalseAlarm = None,
    root: opt.Root = None,
    by_seconds: BySeconds = True,
    model: opt.SpeakerModel = "tiny",
    database: opt.Database = None,
    seed: opt.Seed = 0,
    workers: opt.Workers = 1,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Fit likelihood ratios and the threshold on your own recordings; verify and identify then use them.

    The calibration decides on recordings with the band of yours, such as a telephone line, and on no others.
    """
    from speechssl.verification import band, decisions, evaluation, metrics
    from speechssl.verification import calibration as fitting
    from speechssl.verification.trials import cannot_promise, others_for, recordings_of

    if reset == (target is not None):
        raise InputError("give recordings to calibrate on, or --reset to remove your calibration; one of the two")
    if target is None:
        _reset(model, device, database, json)
        return
    embedder, before = load(model, device, database)
    trials, folder = _trials(target, root, seed, others=others_for(false_alarm))
    near = decisions.added_by_cohort(embedder)
    with _embedding(set(recordings_of(trials)), folder, workers) as how:
        _, scores, seconds = evaluation.evaluate(trials, folder, embedder, by_cohort=near, draws=2, **how)
    _remark_on_brief_ones(trials, seconds)
    labels = [trial.is_target for trial in trials]
    sides = list(zip(*(trial.sides for trial in trials), strict=True))
    heard = band.known_bands(list(evaluation.bands_of(list(recordings_of(trials)), folder, workers=workers).values()))
    found = fitting.calibrate(
        scores,
        labels,
        *sides,
        origin=embedder.origin,
        source=Path(target).name,
        false_alarm=false_alarm,
        seconds=seconds if by_seconds else None,
        bands=heard,
        by_cohort=near,
        seed=seed,
    )
    with open_database(database, new=True) as store:
        store.set_calibration(found)
    if doubt := cannot_promise(false_alarm, trials):
        terminal.remark(f"remark: {doubt}")
    llrs = found.llrs(scores, seconds)
    costs = {
        "cllr_before": metrics.cllr(before.llrs(scores, seconds), labels) if before else None,
        "cllr_after": metrics.cllr(llrs, labels),
        "min_cllr": metrics.roc(llrs, labels).min_cllr(),
        "eer": metrics.roc(scores, labels).eer(),
    }
    if remark := worse(costs["cllr_before"], costs["cllr_after"]):
        terminal.remark(remark)
    counts = {"trials": len(labels), "targets": sum(labels), "not_promised": doubt}
    terminal.emit(found.as_dict() | costs | counts) if json else _print_calibration(found, costs)


def _print_calibration(found: Calibration, costs: dict[str, float | None]) -> None:
    before, after, best = (number(costs[name]) for name in ("cllr_before", "cllr_after", "min_cllr"))
    terminal.say(f"Cllr before {before}, after {after} bits; at best {best}")
    if found.by_seconds:
        terminal.say(
            "the ratio and the threshold follow the seconds of speech; below, for recordings of typical length"
        )
    terminal.say(f"threshold {found.threshold:.4f} (95 %: {found.threshold_low:.4f} to {found.threshold_high:.4f})")
    rates = (found.false_alarm_low, found.false_alarm_high)
    terminal.say(f"false alarms at this threshold, 95 %: {100 * rates[0]:.2f} to {100 * rates[1]:.2f} %")
    terminal.say(
        f"decides on recordings whose speech ends between {found.bands.least:.0f} and {found.bands.most:.0f} Hz"
    )
    terminal.say(f"kept for {found.origin}")


def _reset(model: str, device: str, database: str | None, json: bool) -> None:
    """Remove the user's own calibration of a model and say what it was."""
    from speechssl.verification import embedders

    embedder = embedders.load(model, device=device)
    with open_database(database) as store:
        removed = store.remove_calibration(embedder.origin)
    follows = "the one that ships with the model is used" if embedder.calibration else "the model has no other"
    text = f"there is no calibration of yours of {embedder.origin}; {follows}"
    if removed:
        text = f"removed the calibration on {removed.source}, threshold {removed.threshold:.4f}; {follows}"
    facts = {"model": embedder.origin, "removed": removed.as_dict() if removed else None}
    terminal.answer(facts, text, json=json)


@app.command(epilog=opt.examples("trials speakers/ --output trials.txt"))
def trials(
    folder: Annotated[
        str,
        typer.Argument(metavar="DIR", help="Folder with one subfolder of recordings for each speaker."),
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Trial list to write.")],
    per_speaker: Annotated[int, typer.Option("--per-speaker", min=1, help="Most target trials for each speaker.")] = 50,
    other_sessions: Annotated[
        bool,
        typer.Option(
            "--other-sessions",
            help="Pair only recordings from different subfolders (sessions) of a speaker in target trials.",
        ),
    ] = False,
    seed: opt.Seed = 0,
    overwrite: Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Write a balanced trial list for a folder of speakers."""
    from speechssl.verification.trials import find_recordings, make_trials, write_trials

    outputs.check_no_sound(output, ".txt")
    outputs.check([output], [], overwrite=overwrite)
    found = make_trials(find_recordings(folder), per_speaker=per_speaker, seed=seed, other_sessions=other_sessions)
    write_trials(output, found, root=folder)
    targets = sum(trial.is_target for trial in found)
    facts = {"output": output, "trials": len(found), "targets": targets, "seed": seed}
    terminal.answer(facts, f"{output}  {targets} target and {len(found) - targets} non-target trials", json=json)


@app.command(epilog=opt.examples("evaluate speakers/", "evaluate trials.txt --root recordings/ --scores scores.csv"))
def evaluate(
    target: opt.Trials,
    root: opt.Root = None,
    enrolments: Enrolments = None,
    model: opt.SpeakerModel = "tiny",
    as_norm: AsNorm = False,
    plda: PldaFrom = None,
    save_plda: SavePlda = None,
    scores: Scores = None,
    overwrite: Overwrite = False,
    database: opt.Database = None,
    seed: opt.Seed = 0,
    workers: opt.Workers = 1,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Measure error rates on a trial list, or on a balanced list of a folder of speakers, with 95 % intervals."""
    from speechssl.verification import evaluation
    from speechssl.verification.trials import files_of, read_enrolments, write_scores

    if plda and as_norm:
        raise InputError("--as-norm and --plda are two ways of scoring; give one")
    if save_plda and (not plda or plda.endswith(".safetensors")):
        raise InputError("--save-plda keeps what --plda fits; give --plda a folder of speakers or a trial list")
    kept = {".txt": scores, ".safetensors": save_plda}
    for suffix, place in kept.items():
        if place:
            outputs.check_no_sound(place, suffix)
    outputs.check([one for one in kept.values() if one], [target], overwrite=overwrite)
    check_database(database)
    embedder, calibration = load(model, device, database)
    cohort = _cohort(embedder) if as_norm else None
    listed, folder = _trials(target, root, seed)
    tested = {side for trial in listed for side in trial.sides}
    known = _plda(plda, save_plda, root, embedder, tested, workers) if plda else None
    scoring = "plda" if known else "as-norm" if as_norm else "cosine"
    usable = calibration if calibration and calibration.scoring == scoring else None
    several = read_enrolments(enrolments) if enrolments else None
    with _embedding(set(files_of(listed, several)), folder, workers) as how:
        found, values, seconds = evaluation.evaluate(
            listed, folder, embedder, calibration=usable, cohort=cohort, plda=known, enrolments=several, **how
        )
    _remark_on_brief_ones(listed, seconds)
    found["scoring"] = scoring
    if scores:
        write_scores(scores, listed, values)
    terminal.emit(found) if json else _print_report(found)


def _remark_on_brief_ones(trials: list[Trial], seconds: NDArray[np.float64]) -> None:
    """Name the recordings that ``verify`` would refuse because they hold too little speech."""
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
            f"verify and identify refuse: {some(brief)}"
        )


@contextlib.contextmanager
def _embedding(files: set[str], folder: Path, workers: int) -> Iterator[dict[str, Any]]:
    """Arguments for embedding recordings: cached, in threads, with progress on the terminal."""
    from speechssl.verification import evaluation

    with terminal.progress("embedding", [(name, folder / name) for name in files]) as advance:
        yield {"cache": checkpoints.cache_dir() / evaluation.CACHE, "workers": workers, "advance": advance}


def _cohort(embedder: Embedder) -> NDArray[np.float32]:
    if embedder.cohort is None:
        raise InputError(f"{embedder.origin} came without a cohort; leave --as-norm out, or use the model tiny")
    return embedder.cohort.numpy()


def _plda(given: str, save: str | None, root: str | None, embedder: Embedder, tested: set[str], workers: int) -> Plda:
    """The PLDA of a file, or one that is fitted, and saved if a file is given."""
    from speechssl.verification import plda as models

    if given.endswith(".safetensors"):
        return models.load(given)
    fitted = _fitted_plda(given, root, embedder, tested, workers)
    if save:
        models.save(save, fitted, source=Path(given).name)
    return fitted


def _fitted_plda(target: str, root: str | None, embedder: Embedder, tested: set[str], workers: int) -> Plda:
    """PLDA of all recordings of a folder of speakers or a list; remarks if speakers of the test are among them."""
    from speechssl.verification import evaluation
    from speechssl.verification.trials import find_recordings, read_trials, recordings_of, root_of

    path = Path(target)
    if path.is_dir():
        folder = path
        known = {file: name for name, files in find_recordings(path).items() for file in files}
    else:
        folder, known = Path(root) if root else root_of(path), recordings_of(read_trials(path))
    with _embedding(set(known), folder, workers) as how:
        found = evaluation.fit_plda(known, folder, embedder, **how)
    if both := len(tested & set(known.values())):
        terminal.remark(f"remark: {both} speakers to be tested were in the fit; errors look smaller than they are")
    return found


def _trials(target: str, root: str | None, seed: int, *, others: int = 0) -> tuple[list[Trial], Path]:
    from speechssl.verification.trials import find_recordings, make_trials, read_trials, root_of

    path = Path(target)
    if path.is_dir():
        return make_trials(find_recordings(path), others=others, seed=seed), path
    return read_trials(path), Path(root) if root else root_of(path)


def _print_report(found: dict[str, Any]) -> None:
    rows = [
        ("trials", f"{found['trials']} ({found['targets']} target), {found['speakers']} speakers"),
        ("EER", _error_rate(found, found["speakers"])),
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
        rate = _error_rate(best, found["speakers"])
        rows.append(("ratios at best", f"EER {rate}, {costs}, minCllr {best['min_cllr']:.4f} bits"))
    for row in found["speakers_worst_first"][:3]:
        taken = ", ".join(f"{name} ({count})" for name, count in row["taken_for"].items()) or "nobody"
        rows.append((row["speaker"], f"misses {number(row['miss'])}, taken for {taken}"))
    terminal.table(rows, ("measure", found["model"]))
    if told := too_few(found):
        terminal.remark(told)
    if told := costly(found.get("act_dcf", {})):
        terminal.remark(told)


def _error_rate(found: dict[str, Any], speakers: int) -> str:
    """The EER with its interval, or with the reason why there is none."""
    if found["eer_interval_95"] is None:
        return f"{100 * found['eer']:.2f} % (no interval: {speakers} speakers are too few)"
    low, high = found["eer_interval_95"]
    return f"{100 * found['eer']:.2f} % (95 %: {100 * low:.2f} to {100 * high:.2f})"


def too_few(found: dict[str, Any]) -> str:
    """A remark where no error was seen, so that drawing speakers finds an interval without width; else nothing."""
    if (found["eer_interval_95"] or [0.0, found["eer"]])[1] > 0:
        return ""
    targets = found["targets"]
    most = 1 - 0.05 ** (1 / targets)  # no error in so many independent trials is as likely as 5 %
    return (
        f"remark: no error was seen, which says little; even with {targets} independent target trials "
        f"up to {100 * most:.1f} % could be wrong, and trials of {found['speakers']} speakers are not independent"
    )


def worse(before: float | None, after: float | None) -> str:
    """A remark on a calibration that makes the ratios of its own trials worse; empty without one."""
    if before is None or after is None or after <= before:
        return ""
    return (
        "remark: on these trials the calibration before was better; calibrate on more recordings, or remove this one "
        "with --reset"
    )


def costly(act_dcf: dict[str, float]) -> str:
    """A remark on priors at which decisions cost more than none would; empty if there are none."""
    priors = [prior for prior, value in act_dcf.items() if value > 1]
    if not priors:
        return ""
    return (
        f"remark: at a prior of {' and '.join(priors)} the decisions of this calibration cost more than always saying "
        "'different' (actDCF above 1), however well the scores part the speakers (EER); calibrate on your own "
        "recordings: speechssl calibrate"
    )
