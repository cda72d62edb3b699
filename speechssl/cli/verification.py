"""``speechssl verify, enrol, identify, speakers``: who is speaking."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speechssl.cli import terminal
from speechssl.cli.options import Database, Device, ExitCode, Json, Prior, SpeakerModel, Threshold, examples
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.signals import Embedder
    from speechssl.verification.calibration import Calibration
    from speechssl.verification.database import SpeakerDatabase
    from speechssl.verification.decisions import Decision

# without a name, its commands become commands of the program itself
app = typer.Typer(no_args_is_help=True)
speakers_app = typer.Typer(
    help="List, show, remove and export the enrolled speakers.",
    no_args_is_help=True,
    epilog=examples("speakers list", "speakers remove ada"),
)
app.add_typer(speakers_app, name="speakers")

Recordings = Annotated[list[str], typer.Argument(metavar="WAV...", help="One or more recordings.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the speaker.", show_default=False)]


@app.command(epilog=examples("verify ada1.wav ada2.wav unknown.wav", "verify ada.wav unknown.wav --prior 0.01"))
def verify(
    recordings: Annotated[
        list[str],
        typer.Argument(
            metavar="ENROL... TEST", help="One or more recordings of the speaker, then the recording to test."
        ),
    ],
    model: SpeakerModel = "tiny",
    prior: Prior = None,
    threshold: Threshold = None,
    database: Database = None,
    device: Device = "auto",
    exit_code: ExitCode = False,
    json: Json = False,
) -> None:
    """Decide whether the last recording is by the speaker of the others, or say that no decision can be made."""
    from speechssl.verification import decisions

    if len(recordings) < 2:
        raise InputError("one recording only; give at least one recording of the speaker, and the recording to test")
    embedder, calibration = load(model, device, database)
    *enrolment, test = (decisions.embed(path, embedder, calibration=calibration) for path in recordings)
    cohort = embedder.cohort
    found = decisions.verify(enrolment, test, calibration=calibration, cohort=cohort, prior=prior, threshold=threshold)
    for remark in found.remarks:
        terminal.remark(f"remark: {remark}")
    if json:
        terminal.emit(found.as_dict())
    else:
        _print_decision(found)
    if exit_code:
        _leave([found.decision])


def _print_decision(found: Decision) -> None:
    answers = {"same": "same speaker", "different": "different speakers", "none": "no decision"}
    terminal.say(answers[found.decision])
    terminal.say(
        f"score {found.score:.4f} ({found.scoring}), threshold {number(found.threshold)} ({found.threshold_source})"
    )
    if found.llr is not None:
        terminal.say(
            f"log-likelihood ratio {found.llr:.2f}, probability {found.probability:.4f} at prior {found.prior:g}"
        )


def _leave(decisions: Iterable[str]) -> None:
    """Leave with exit code 3 if anything is undecided, else with 1 if anybody is somebody else."""
    found = set(decisions)
    if code := 3 if "none" in found else 1 if found & {"different", "unknown"} else 0:
        raise typer.Exit(code)


@app.command(epilog=examples("enrol ada ada1.wav ada2.wav"))
def enrol(
    name: Name,
    recordings: Recordings,
    model: SpeakerModel = "tiny",
    database: Database = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Enrol a speaker, or add recordings to one. If one recording cannot be used, none is added."""
    from speechssl import audio
    from speechssl.verification import decisions
    from speechssl.verification.database import Enrolment

    embedder, calibration = load(model, device, database)
    utterances = [decisions.embed(path, embedder, calibration=calibration) for path in recordings]
    with open_database(database) as store:
        names = audio.told_apart(recordings)
        rows = [Enrolment(u.embedding, n, u.sha256, u.seconds, u.band) for n, u in zip(names, utterances, strict=True)]
        new = store.enrol(name, rows)
    for utterance in utterances:
        for remark in utterance.remarks:
            terminal.remark(f"remark: {utterance.name}: {remark}")
    if json:
        terminal.emit({"speaker": name, "new": new, "known": len(rows) - new, "model": embedder.origin})
    else:
        known = f", {len(rows) - new} were enrolled already" if new < len(rows) else ""
        terminal.say(f"{name}: {new} recordings enrolled{known}")


@app.command(epilog=examples("identify call.wav", "identify calls/*.wav --json"))
def identify(
    recordings: Recordings,
    model: SpeakerModel = "tiny",
    prior: Prior = None,
    threshold: Threshold = None,
    database: Database = None,
    device: Device = "auto",
    exit_code: ExitCode = False,
    json: Json = False,
) -> None:
    """Name the enrolled speaker of each recording, or say that the speaker is unknown or that nothing is decided."""
    from speechssl.verification import decisions

    embedder, calibration = load(model, device, database)
    results: list[dict[str, Any]] = []
    with open_database(database) as store:
        for path in recordings:
            test = decisions.embed(path, embedder, calibration=calibration)
            ranked = decisions.identify(
                test,
                store,
                calibration=calibration,
                cohort=embedder.cohort,
                prior=prior,
                threshold=threshold,
            )
            for remark in (*decisions.remarks_of(ranked), *test.remarks):
                terminal.remark(f"remark: {path}: {remark}")
            decision, speaker = decisions.outcome(ranked)
            rows = [dataclasses.asdict(row) for row in ranked]
            results.append({"recording": path, "decision": decision, "speaker": speaker, "ranked": rows})
    if json:
        terminal.emit(results)
    else:
        for result in results:
            best = ", ".join(f"{row['speaker']} {row['score']:.3f}" for row in result["ranked"][:3])
            name = {"known": result["speaker"], "unknown": "unknown", "none": "no decision"}[result["decision"]]
            terminal.say(f"{result['recording']}  {name}  ({best})")
    if exit_code:
        _leave(result["decision"] for result in results)


@speakers_app.command("list", epilog=examples("speakers list"))
def list_speakers(database: Database = None, json: Json = False) -> None:
    """List the enrolled speakers and the model of each."""
    with open_database(database) as store:
        found = store.speakers()
    if json:
        terminal.emit(found)
        return
    rows = [(row["speaker"], str(row["utterances"]), f"{row['seconds']:.1f}", row["origin"]) for row in found]
    terminal.table(rows, ("speaker", "recordings", "seconds", "model"))


@speakers_app.command(epilog=examples("speakers show ada"))
def show(name: Name, database: Database = None, json: Json = False) -> None:
    """Show the recordings of a speaker."""
    with open_database(database) as store:
        found = store.show(name)
    if json:
        terminal.emit(found)
        return
    rows = [(row["source"], f"{row['seconds']:.1f}", row["added"], row["origin"]) for row in found]
    terminal.table(rows, ("recording", "seconds", "added", "model"))


@speakers_app.command(epilog=examples("speakers remove ada"))
def remove(name: Name, database: Database = None, json: Json = False) -> None:
    """Remove a speaker and all their recordings from the database."""
    from speechssl.verification import evaluation

    with open_database(database) as store:
        gone = {row["sha256"] for row in store.show(name)}
        count = store.remove(name)
    evaluation.forget_cached(gone)
    terminal.emit({"speaker": name, "removed": count}) if json else print(f"{name}: {count} recordings removed")


@speakers_app.command(epilog=examples("speakers export --output speakers.json"))
def export(
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="JSON file to write; - for standard output.")
    ] = "-",
    database: Database = None,
) -> None:
    """Write the whole database as JSON, embeddings included."""
    from speechssl.verification import evaluation

    with open_database(database) as store:
        found = store.export()
    if output == "-":
        terminal.emit(found)
    else:
        evaluation.save_report(output, found)
        terminal.say(f"{output}  {len(found['utterances'])} recordings")


def load(name: str, device: str, database: str | None) -> tuple[Embedder, Calibration | None]:
    """The embedder and its calibration: the user's own if there is one, else the one that ships with the model."""
    from speechssl.verification import decisions, embedders

    embedder = embedders.load(name, device=device)
    with open_database(database) as store:
        own = store.calibration(embedder.origin)
    return embedder, own or decisions.shipped_calibration(embedder)


def open_database(path: str | None) -> SpeakerDatabase:
    from speechssl.verification.database import SpeakerDatabase, default_path

    return SpeakerDatabase(path or default_path())


def number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
