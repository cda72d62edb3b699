"""``speechssl verify, enrol, identify, speakers``: who is speaking."""

from __future__ import annotations

import dataclasses
import json as json_module
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speechssl import checkpoints
from speechssl.cli import batch, outputs, terminal
from speechssl.cli.options import Database, Device, ExitCode, Json, Lists, Prior, SpeakerModel, Threshold, examples
from speechssl.cli.outputs import Overwrite
from speechssl.errors import InputError, SpeechSSLError

if TYPE_CHECKING:
    from speechssl.signals import Embedder
    from speechssl.verification.calibration import Calibration
    from speechssl.verification.database import Enrolment, SpeakerDatabase
    from speechssl.verification.decisions import Decision, Utterance

# without a name, its commands become commands of the program itself
app = typer.Typer(no_args_is_help=True)
speakers_app = typer.Typer(
    help="List, show, remove and export the enrolled speakers.",
    no_args_is_help=True,
    epilog=examples("speakers list", "speakers remove ada"),
)
app.add_typer(speakers_app, name="speakers")

Recordings = Annotated[
    list[str] | None,
    typer.Argument(metavar="WAV...", help="Recordings, folders or glob patterns."),
]
Pairs = Annotated[
    str | None,
    typer.Option(
        "--pairs",
        metavar="FILE",
        help="List of pairs to decide on instead: lines 'ENROL TEST', or CSV, TSV or JSON lines with the columns "
        "`enrolment` and `test`. Paths are relative to the folder of the list.",
    ),
]
Claimed = Annotated[
    str | None,
    typer.Option(
        "--speaker", metavar="NAME", help="Enrolled speaker who is said to speak; then give only the recording to test."
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the speaker.")]


@app.command(
    epilog=examples(
        "verify ada1.wav ada2.wav unknown.wav", "verify call.wav --speaker ada", "verify --pairs pairs.csv --json"
    )
)
def verify(
    recordings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ENROL...] TEST", help="One or more recordings of the speaker, then the recording to test."
        ),
    ] = None,
    speaker: Claimed = None,
    pairs: Pairs = None,
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

    todo = _sides(recordings or [], pairs, speaker)
    embedder, calibration = load(model, device, database)
    embedded: dict[str, Utterance] = {}

    def embed(path: str) -> Utterance:
        if path not in embedded:
            embedded[path] = decisions.embed(path, embedder, calibration=calibration)
        return embedded[path]

    def decide(enrolment: list[str], test: str) -> Decision:
        known: list[Utterance | Enrolment] = [embed(path) for path in enrolment]
        if speaker is not None:
            with open_database(database) as store:
                known += decisions.claimed(speaker, store, embedder.origin)
        return decisions.verify(
            known, embed(test), calibration=calibration, cohort=embedder.cohort, prior=prior, threshold=threshold
        )

    if pairs:
        _verify_pairs(todo, decide, json=json, exit_code=exit_code)
        return
    found = decide(*todo[0])
    for remark in found.remarks:
        terminal.remark(f"remark: {remark}")
    if json:
        terminal.emit(found.as_dict())
    else:
        _print_decision(found)
    if exit_code:
        _leave([found.decision])


def _sides(recordings: list[str], pairs: str | None, speaker: str | None) -> list[tuple[list[str], str]]:
    """Recordings of the speaker, none of one who is enrolled, and the one to test; of each pair."""
    if bool(recordings) == bool(pairs):
        raise InputError("give recordings, or a list of --pairs; one of the two")
    if speaker is not None and (pairs or len(recordings) > 1):
        raise InputError(f"--speaker {speaker} stands for the recordings of the speaker; give the one to test alone")
    if pairs:
        from speechssl.verification.trials import read_pairs

        return [([one], two) for one, two in read_pairs(pairs)]
    if speaker is None and len(recordings) < 2:
        number = len(batch.recordings(recordings))
        given = "one recording only" if number == 1 else f"{recordings[0]} holds {number} recordings of the speaker"
        raise InputError(f"{given}; give at least one recording of the speaker, and the recording to test")
    *enrolment, last = recordings
    tested = batch.recordings([last])
    if len(tested) > 1:
        raise InputError(f"{last} names {len(tested)} recordings to test; one needed: use identify, or --pairs")
    return [([str(path) for path in batch.recordings(enrolment)] if enrolment else [], str(tested[0]))]


def _verify_pairs(
    pairs: list[tuple[list[str], str]], decide: Callable[[list[str], str], Decision], *, json: bool, exit_code: bool
) -> None:
    """Decide on pairs one by one; a pair that cannot be decided on does not stop the others."""
    rows: list[dict[str, Any]] = []
    with terminal.progress("verifying", [(test, test) for _, test in pairs]) as advance:
        for enrolment, test in pairs:
            row: dict[str, Any] = {"enrolment": enrolment[0], "test": test}
            try:
                rows.append(row | decide(enrolment, test).as_dict())
            except SpeechSSLError as error:
                rows.append(row | {"error": str(error)})
            advance(test)
    if json:
        terminal.emit(rows)
    for row in rows:
        if "error" in row:
            terminal.failed(f"{row['enrolment']} {row['test']}", row["error"])
        elif not json:
            chance = "" if row["probability"] is None else f", probability {probability(row['probability'])}"
            terminal.row(f"{row['enrolment']}  {row['test']}  {row['decision']}, score {row['score']:.4f}{chance}")
    if not json:
        for remark in dict.fromkeys(remark for row in rows for remark in _remarks_on(row)):
            terminal.remark(f"remark: {remark}")
    batch.refuse(sum("error" in row for row in rows), len(rows))
    if exit_code:
        _leave(row["decision"] for row in rows)


def _remarks_on(row: dict[str, Any]) -> Iterator[str]:
    """The remarks on a pair; those on one recording begin with its name and are the same in every pair."""
    for remark in row.get("remarks", ()):
        named = remark.startswith((f"{row['enrolment']}: ", f"{row['test']}: "))
        yield remark if named else f"{row['enrolment']} {row['test']}: {remark}"


def _print_decision(found: Decision) -> None:
    answers = {"same": "same speaker", "different": "different speakers", "none": "no decision"}
    terminal.say(answers[found.decision])
    terminal.say(
        f"score {found.score:.4f} ({found.scoring}), threshold {number(found.threshold)} ({found.threshold_source})"
    )
    if found.llr is not None and found.probability is not None:
        chance = f"probability {probability(found.probability)} at prior {found.prior:g}"
        terminal.say(f"log-likelihood ratio {found.llr:.2f}, {chance}")


def _leave(decisions: Iterable[str]) -> None:
    """Leave with exit code 3 if anything is undecided, else with 1 if anybody is somebody else."""
    found = set(decisions)
    if code := 3 if "none" in found else 1 if found & {"different", "unknown"} else 0:
        raise typer.Exit(code)


@app.command(epilog=examples("embed recordings/ --output embeddings.jsonl", "embed call.wav > call.jsonl"))
def embed(
    recordings: Recordings = None,
    listed: Lists = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="JSON lines file to write; - for standard output.")
    ] = "-",
    model: SpeakerModel = "tiny",
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> None:
    """Write the speaker embedding of each recording as a line of JSON."""
    from speechssl.verification import decisions, embedders

    files = batch.recordings(recordings, listed)
    if output != "-":
        outputs.check_no_sound(output, ".jsonl")
        outputs.check([output], files, overwrite=overwrite)
    embedder = embedders.load(model, device=device)
    lines, failed = [], 0
    with terminal.progress("embedding", [(str(path), path) for path in files]) as advance:
        for path in files:
            try:
                found = decisions.embed(path, embedder)
            except SpeechSSLError as error:
                failed += 1
                terminal.failed(path, error)
            else:
                vector = [round(value, 7) for value in found.embedding.vector.tolist()]
                facts = {"recording": str(path), "origin": found.embedding.origin, "seconds": found.seconds}
                lines.append(json_module.dumps({**facts, "embedding": vector}, ensure_ascii=False))
            advance(str(path))
    if lines and output == "-":
        terminal.say("\n".join(lines))
    elif lines:
        checkpoints.write_text(Path(output), "".join(line + "\n" for line in lines))
        terminal.say(f"{output}  {terminal.count(len(lines), 'embedding')}")
    batch.refuse(failed, len(files))


@app.command(epilog=examples("enrol ada ada1.wav ada2.wav", "enrol ada recordings/"))
def enrol(
    name: Name,
    recordings: Recordings = None,
    listed: Lists = None,
    model: SpeakerModel = "tiny",
    database: Database = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Enrol a speaker, or add recordings to one. If a recording named here cannot be used, none is added.

    Recordings in folders, patterns and lists that cannot be used are left out, with the reason.
    """
    from speechssl.verification import decisions, enrolling

    files, failed = batch.usable(recordings, listed, speech=True)
    embedder, calibration = load(model, device, database)
    heard = batch.each(files, recordings, lambda path: decisions.embed(path, embedder, calibration=calibration))
    failed += len(files) - len(heard)
    with open_database(database, new=True) as store:
        found = enrolling.enrol(name, heard, store, calibration=calibration, cohort=embedder.cohort)
    for remark in found.remarks:
        terminal.remark(f"remark: {remark}")
    known = f", {found.known} enrolled already" if found.known else ""
    text = f"{found.speaker}: {terminal.count(found.new, 'recording')} enrolled{known}"
    terminal.answer({**dataclasses.asdict(found), "model": embedder.origin}, text, json=json)
    batch.refuse(failed, len(heard) + failed)


@app.command(epilog=examples("identify call.wav", "identify calls/ --json"))
def identify(
    recordings: Recordings = None,
    listed: Lists = None,
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

    files = batch.recordings(recordings, listed)
    embedder, calibration = load(model, device, database)
    results: list[dict[str, Any]] = []
    paths = [(str(path), path) for path in files]
    with open_database(database) as store, terminal.progress("identifying", paths) as advance:
        for path in files:
            try:
                test = decisions.embed(path, embedder, calibration=calibration)
            except InputError as error:
                if len(files) == 1:
                    raise
                results.append({"recording": str(path), "error": str(error)})
                continue
            finally:
                advance(str(path))
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
            results.append({"recording": str(path), "decision": decision, "speaker": speaker, "ranked": rows})
    found = [result for result in results if "error" not in result]
    if json:
        terminal.emit(results)
    else:
        for result in found:
            best = ", ".join(f"{row['speaker']} {row['score']:.3f}" for row in result["ranked"][:3])
            name = {"known": result["speaker"], "unknown": "unknown", "none": "no decision"}[result["decision"]]
            terminal.row(f"{result['recording']}  {name}  ({best})")
    for result in results:
        if "error" in result:
            terminal.failed(result["recording"], result["error"])
    batch.refuse(len(results) - len(found), len(files))
    if exit_code:
        _leave(result["decision"] for result in found)


@speakers_app.command("list", epilog=examples("speakers list"))
def list_speakers(database: Database = None, json: Json = False) -> None:
    """List the enrolled speakers and the model of each."""
    with open_database(database) as store:
        found = store.speakers()
    if json:
        terminal.emit(found)
        return
    rows = [(row["speaker"], str(row["utterances"]), f"{row['seconds']:.1f}", row["origin"]) for row in found]
    terminal.table(rows, ("speaker", "recordings", "s of speech", "model"))


@speakers_app.command(epilog=examples("speakers show ada"))
def show(name: Name, database: Database = None, json: Json = False) -> None:
    """Show the recordings of a speaker."""
    with open_database(database) as store:
        found = store.show(name)
    if json:
        terminal.emit(found)
        return
    rows = [(row["source"], f"{row['seconds']:.1f}", row["added"], row["origin"]) for row in found]
    terminal.table(rows, ("recording", "s of speech", "added", "model"))


@speakers_app.command(epilog=examples("speakers remove ada"))
def remove(name: Name, database: Database = None, json: Json = False) -> None:
    """Remove a speaker and all their recordings from the database."""
    from speechssl.verification import evaluation

    with open_database(database) as store:
        gone = {row["sha256"] for row in store.show(name)}
        count = store.remove(name)
    evaluation.forget_cached(gone)
    text = f"{name}: {terminal.count(count, 'recording')} removed"
    terminal.answer({"speaker": name, "removed": count}, text, json=json)


@speakers_app.command(epilog=examples("speakers export --output speakers.json"))
def export(
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="JSON file to write; - for standard output.")
    ] = "-",
    database: Database = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the whole database as JSON, embeddings included."""
    from speechssl.verification import evaluation

    if output != "-":
        outputs.check_no_sound(output, ".json")
        outputs.check([output], [database] if database else [], overwrite=overwrite)
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
    from speechssl.verification.database import default_path

    embedder, own = embedders.load(name, device=device), None
    # whoever only compares recordings needs no database, and perhaps no place for one
    if Path(database or default_path()).exists():
        with open_database(database) as store:
            own = store.calibration(embedder.origin)
    terminal.stage("listening to the recordings")
    return embedder, decisions.calibration_for(embedder, own)


def check_database(path: str | None) -> None:
    """Raise ``InputError`` if a database was named that does not exist."""
    if path and not Path(path).exists():
        raise InputError(f"--database {path} does not exist; check the path, or enrol a speaker into it first")


def open_database(path: str | None, *, new: bool = False) -> SpeakerDatabase:
    """The database of enrolled speakers; one that was named is made only if it may be ``new``."""
    from speechssl.verification.database import SpeakerDatabase, default_path

    if not new:
        check_database(path)
    if path and Path(path).is_file() and not Path(path).stat().st_size:
        terminal.remark(f"remark: {path} was empty (0 bytes); a new database was made of it")
    return SpeakerDatabase(path or default_path())


def number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def probability(value: float) -> str:
    """A probability for people: never 0 or 1, because nothing is certain."""
    return "below 0.0001" if value < 0.0001 else "above 0.9999" if value > 0.9999 else f"{value:.4f}"
