"""``speechssl probe``: what an encoder knows of anybody's labels, and which of its layers knows it best."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from speechssl import checkpoints
from speechssl.cli import batch, outputs, terminal
from speechssl.cli.options import Device, Json, Lists, Model, Normalise, Precision, Sources, examples
from speechssl.cli.outputs import Overwrite
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.encoders.encoder import SSLEncoder

app = typer.Typer(
    help="Probe encoders: how well small heads on their frozen features find labels, and which layer serves best.",
    no_args_is_help=True,
    epilog=examples("probe classify words/", "probe rank recordings/"),
)

Given: TypeAlias = Annotated[
    list[str],
    typer.Argument(
        metavar="DIR|MANIFEST...",
        help="Folders with one subfolder for each class, or manifests (CSV, TSV or JSON lines) with a column `path`.",
    ),
]
Label: TypeAlias = Annotated[
    str,
    typer.Option(
        "--label",
        metavar="WHAT",
        help="The class of a recording: `folder` for the name of its folder, a column of the manifest, or a regular "
        "expression with one group for its path.",
    ),
]
Speaker: TypeAlias = Annotated[
    str,
    typer.Option(
        "--speaker",
        metavar="WHAT",
        help="Who must not be both in training and in the test: `folder` for the name of the folder, a column of the "
        "manifest, or a regular expression with one group for the path. Default: the column `speaker`, if the manifest "
        "has one and it is not the label.",
    ),
]
Split: TypeAlias = Annotated[
    str,
    typer.Option(
        "--split",
        metavar="COLUMN",
        help="Column that says train or test. Default: the column `split`; without one, a fifth of the speakers is "
        "drawn for the test.",
    ),
]
Layers: TypeAlias = Annotated[
    str, typer.Option("--layers", metavar="NUMBERS", help="Layers to probe: all, or numbers and ranges: 0,4-6.")
]
Seconds: TypeAlias = Annotated[
    float | None,
    typer.Option("--seconds", min=0.025, help="Seconds heard from the start of each recording. Default: all."),
]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", min=0, help="Random seed of the split and of the heads.")]
Alone: TypeAlias = Annotated[
    bool, typer.Option("--alone", help="Leave out MFCC and the untrained network, which are measured beside.")
]
Normal: TypeAlias = Annotated[str, typer.Argument(metavar="NORMAL", help="Folder or manifest of normal recordings.")]
Test: TypeAlias = Annotated[
    str, typer.Argument(metavar="TEST", help="Folder or manifest of normal and anomalous ones.")
]
Called: TypeAlias = Annotated[
    str, typer.Option("--normal", metavar="NAME", help="Label of the normal recordings of the test.")
]
Neighbours: TypeAlias = Annotated[
    int, typer.Option("--neighbours", min=1, help="Nearest normal recordings whose mean distance is the score.")
]
Exchange: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--exchange",
        help="Learn from the normal recordings first, by exchanging halves of features (FeatEx); their --label, if "
        "there is one, is learnt with it.",
    ),
]
Report: TypeAlias = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="DIR", help="Folder for report.json and plots."),
]


@app.command(
    "classify",
    epilog=examples(
        "probe classify words/ --speaker '([^/]+)_nohash'",
        "probe classify list.csv --label language --model wavlm-large",
    ),
)
def classify(
    given: Given,
    label: Label = "folder",
    speaker: Speaker = "",
    split: Split = "",
    model: Model = "tiny",
    layers: Layers = "all",
    normalise: Normalise = None,
    head: Annotated[
        str, typer.Option("--heads", metavar="NAMES", help="Heads: linear, weighted, attentive; commas between.")
    ] = "linear,weighted",
    contrast: Annotated[
        str,
        typer.Option(
            "--contrast",
            metavar="WHEN",
            help="Supervised contrast of the attentive head: none, added to its loss, or first, alone.",
        ),
    ] = "none",
    labels: Annotated[
        int | None,
        typer.Option("--labels", min=2, help="Labelled recordings to train on. Default: all."),
    ] = None,
    seconds: Seconds = None,
    alone: Alone = False,
    output: Report = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    precision: Precision = "float32",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure how well each layer of an encoder tells classes apart, with MFCC and the untrained network beside."""
    _check_report(output, ("report.json", "layers.png", "confusion.png"), given, overwrite)
    from speechssl.training.probing import classify as probing
    from speechssl.training.probing import labels as labelled

    recordings = labelled.read(given, label, speaker=speaker, split=split)
    labelled.divide(recordings, seed=seed)
    encoders = _encoders(model, layers, alone, normalise=normalise, device=device, precision=precision)
    names = [name.strip() for name in head.split(",") if name.strip()]
    with terminal.progress("encoding", [(one.file, one.file) for one in recordings]) as advance:
        found = probing.classify(
            recordings, encoders, use=names, contrast=contrast, labels=labels, seconds=seconds, seed=seed,
            advance=advance, stage=terminal.stage,
        )  # fmt: skip
    _remark(found["left_out"])
    if not found["speakers"] and found["split"] == "drawn":
        terminal.remark("remark: speakers are unknown, so one may be in training and test; see --speaker")
    if found["speakers_on_both_sides"]:
        both = terminal.count(found["speakers_on_both_sides"], "speaker")
        terminal.remark(f"remark: {both} in training and test, as the manifest's split says")
    _write(output, found, json)
    if output:
        from speechssl.training.probing import pictures

        pictures.draw(Path(output), found)
    if not json:
        _print_classes(found)


@app.command(
    "recognise",
    epilog=examples("probe recognise list.csv", "probe recognise list.csv --minutes 60 --codebook tiny/500"),
)
def recognise(
    given: Given,
    text: Annotated[
        str, typer.Option("--text", metavar="COLUMN", help="Column of the manifest with what is said.")
    ] = "text",
    speaker: Speaker = "",
    split: Split = "",
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.1, help="Minutes of transcribed speech to train on, at most.")
    ] = 10.0,
    codebook: Annotated[
        str,
        typer.Option(
            "--codebook",
            metavar="NAME|FILE",
            help="Recognise from the units of this codebook, not from frames: tiny/500, or a file.",
        ),
    ] = "",
    model: Model = "tiny",
    layers: Layers = "all",
    normalise: Normalise = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of training, 16 recordings each.")] = 400,
    alone: Alone = False,
    output: Report = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    precision: Precision = "float32",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure recognition from minutes of transcribed speech, by a small head that CTC trains on frozen features."""
    _check_report(output, ("report.json",), given, overwrite)
    from speechssl.training.probing import transcripts

    recordings = transcripts.read(given, text, speaker=speaker, split=split)
    options = {"normalise": normalise, "device": device, "precision": precision}
    if codebook:
        sources = [transcripts.from_codebook(codebook, **options)]
    else:
        sources = [transcripts.Source(one, numbers) for one, numbers in _encoders(model, layers, alone, **options)]
    with terminal.progress("encoding", [(one.file, one.file) for one in recordings]) as advance:
        found = transcripts.probe(
            recordings, sources, minutes=minutes, steps=steps, seed=seed, advance=advance, stage=terminal.stage
        )
    _remark(found["left_out"])
    for one in found["models"]:
        if one["unseen"]:
            unseen = ", ".join(map(repr, one["unseen"]))
            terminal.remark(f"remark: {unseen} in the test but not in training: each counts as an error")
            break
    _write(output, found, json)
    if not json:
        terminal.say(
            f"{found['train']} recordings to train on ({found['minutes']:.1f} min), {found['test']} to test on"
        )
        rows = [(one["model"], f"{100 * one['cer']:.1f}", f"{100 * one['wer']:.1f}") for one in found["models"]]
        terminal.table(rows, ("model", "CER, %", "WER, %"))


@app.command(
    "anomalies",
    epilog=examples("probe anomalies normal/ test/", "probe anomalies normal/ test.csv --label state --normal ok"),
)
def anomalies(
    normal: Normal,
    test: Test,
    label: Label = "folder",
    called: Called = "normal",
    neighbours: Neighbours = 1,
    exchange: Exchange = False,
    model: Model = "tiny",
    layers: Layers = "all",
    normalise: Normalise = None,
    seconds: Seconds = None,
    alone: Alone = False,
    output: Report = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    precision: Precision = "float32",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Find anomalous sounds by their distance to normal ones, and print AUC and pAUC (false alarms up to 10 %)."""
    _check_report(output, ("report.json",), [normal, test], overwrite)
    from speechssl.training.probing import anomalies as finding
    from speechssl.training.probing import labels as labelled
    from speechssl.units.encoding import manifest

    known = [one.file for one in manifest.entries([normal])]
    asked = labelled.read([test], label)
    if called not in {one.label for one in asked}:
        names = ", ".join(sorted({one.label for one in asked}))
        raise InputError(f"{test} has no recordings labelled {called!r} (labels there: {names}); see --normal")
    kinds = _kinds(normal, label, known) if exchange else None
    encoders = _encoders(model, layers, alone, normalise=normalise, device=device, precision=precision)
    files = dict.fromkeys([*known, *(one.file for one in asked)])
    with terminal.progress("encoding", [(file, file) for file in files]) as advance:
        found = finding.probe(
            known, asked, called, encoders, neighbours=neighbours, kinds=kinds, seconds=seconds, seed=seed,
            advance=advance,
        )  # fmt: skip
    _remark(found["left_out"])
    _write(output, found, json)
    if not json:
        cells = [
            (row["origin"], *_percent(row["auc"], row["interval_95"]), f"{100 * row['pauc']:.1f}")
            for row in found["layers"]
        ]
        terminal.table(cells, ("layer", "AUC, %", "95 %", "pAUC, %"))


def _kinds(normal: str, label: str, files: Sequence[str]) -> dict[str, str]:
    """The label of each normal recording; one for all, with a remark, where they have none."""
    from speechssl.training.probing import labels as labelled

    try:
        return {one.file: one.label for one in labelled.read([normal], label)}
    except InputError as error:
        terminal.remark(f"remark: the normal recordings count as one kind ({error})")
        return dict.fromkeys(files, "")


@app.command("rank", epilog=examples("probe rank recordings/ --model hubert-base"))
def rank(
    sources: Sources = None,
    listed: Lists = None,
    model: Model = "tiny",
    layers: Layers = "all",
    normalise: Normalise = None,
    seconds: Seconds = None,
    frames: Annotated[
        int, typer.Option("--frames", min=2, help="Frames taken evenly from all recordings; 25,600 in the paper.")
    ] = 25_600,
    alone: Alone = False,
    output: Report = None,
    overwrite: Overwrite = False,
    precision: Precision = "float32",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Print RankMe of each layer: how many directions its frames use. Needs no labels."""
    _check_report(output, ("report.json",), sources or [], overwrite)
    from speechssl.training.probing import encodings
    from speechssl.training.probing import rank as ranking

    files = [str(path) for path in batch.recordings(sources, listed)]
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    with terminal.progress("encoding", [(file, file) for file in files]) as advance:
        for encoder, numbers in _encoders(
            model, layers, alone, normalise=normalise, device=device, precision=precision
        ):
            kept, reasons = encodings.encode_all(
                files, encoder, numbers, keep=encodings.frames_of, seconds=seconds, advance=advance
            )
            origins = [encoder.origins[number] for number in numbers]
            rows += ranking.rank(list(kept.values()), origins, frames=frames)
            left_out |= reasons
    _remark(left_out)
    _write(output, {"layers": rows, "recordings": len(files) - len(left_out), "left_out": left_out}, json)
    if not json:
        cells = [(row["origin"], f"{row['rank_me']:.1f}", f"{row['dim']}", f"{row['frames']}") for row in rows]
        terminal.table(cells, ("layer", "RankMe", "numbers", "frames"))


def _encoders(model: str, layers: str, alone: bool, **options: Any) -> list[tuple[SSLEncoder, Sequence[int]]]:
    """The encoder and its layers; behind it MFCC and its untrained network, unless it is alone."""
    from speechssl import encoders
    from speechssl.training.probing.encodings import chosen_layers

    beside = [] if alone else ["mfcc", f"{encoders.UNTRAINED}{model}"]
    found: list[tuple[SSLEncoder, Sequence[int]]] = []
    for name in dict.fromkeys([model, *beside]):
        if name.startswith(encoders.UNTRAINED) and found[0][0].origin == "mfcc/0":
            continue
        terminal.stage(f"loading {name}")
        # the lowest layer tells how many there are
        count = encoders.load(name, layer=0, **options).num_layers
        numbers = [0] if name == "mfcc" else chosen_layers(layers, count)
        found.append((encoders.load(name, layer=max(numbers), **options), numbers))
    return found


def _check_report(output: str | None, names: Sequence[str], given: Sequence[str], overwrite: bool) -> None:
    if output is not None:
        if Path(output).exists() and not Path(output).is_dir():
            raise InputError(f"--output {output} is no folder; name a folder")
        outputs.check([Path(output) / name for name in names], given, overwrite=overwrite)


def _remark(left_out: dict[str, str]) -> None:
    for file, reason in left_out.items():
        terminal.failed(file, reason)
    if left_out:
        terminal.remark(f"remark: {terminal.count(len(left_out), 'recording')} left out")


def _write(output: str | None, report: dict[str, Any], json: bool) -> None:
    if output:
        checkpoints.write_text(
            Path(output) / "report.json", json_module.dumps(report, indent=1, ensure_ascii=False) + "\n"
        )
    if json:
        terminal.emit(report)


def _print_classes(found: dict[str, Any]) -> None:
    speakers = f" of {found['speakers']} speakers" if found["speakers"] else ""
    terminal.say(
        f"{len(found['classes'])} classes, {found['train']} recordings to train on, {found['test']} to test on"
        f"{speakers}; most frequent class {100 * found['chance']:.1f} %"
    )
    rows = []
    for model in found["models"]:
        for row in model["layers"]:
            chosen = " *" if row["layer"] == model["chosen_layer"] else ""
            rows.append((row["origin"], "linear", *_cells(row), f"{row['rank_me']:.1f}", chosen.strip()))
        for head in ("weighted", "attentive"):
            if head in model:
                rows.append((model["model"], head, *_cells(model[head]), "", ""))
    terminal.table(rows, ("layer", "head", "accuracy, %", "95 %", "RankMe", ""))
    terminal.say("* chosen on the recordings to train on")


def _cells(row: dict[str, Any]) -> tuple[str, str]:
    return _percent(row["accuracy"], row["interval_95"])


def _percent(value: float, interval: Sequence[float]) -> tuple[str, str]:
    low, high = interval
    return f"{100 * value:.1f}", f"{100 * low:.1f} to {100 * high:.1f}"
