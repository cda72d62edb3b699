"""``speechssl units``: codebooks, units of collections, tokens for language models, and units back to speech."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speechssl import __version__
from speechssl.cli import batch, models, outputs, terminal
from speechssl.cli import options as opt
from speechssl.cli import unit_options as unit
from speechssl.cli.ledger import Job, Ledger, made_before
from speechssl.cli.outputs import Overwrite
from speechssl.cli.unit_input import lengths_of, runs_are_lost, to_decode
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.units.codebooks.codebook import Codebook
    from speechssl.voices.matching_set import MatchingSet

app = typer.Typer(
    help="Discrete units for language models: fit codebooks, encode collections, speak units.",
    no_args_is_help=True,
    epilog=opt.examples("units encode recordings/ --output units", "units check units"),
)


@app.command(
    "fit",
    epilog=opt.examples(
        "units fit recordings/ --k 100 --output book.safetensors",
        "units fit recordings/ --kind rvq --levels 4 -o book.safetensors",
    ),
)
def fit(
    output: unit.File,
    audio: unit.Given = None,
    listed: opt.Lists = None,
    model: opt.Model = "tiny",
    layer: opt.Layer = None,
    normalise: opt.Normalise = None,
    k: unit.FitSize = 500,
    kind: unit.Kind = "kmeans",
    levels: unit.Levels = 1,
    rate: unit.Rate = 5.0,
    seed: unit.FitSeed = 0,
    passes: unit.Passes = 30,
    reservoir: unit.Reservoir = 200_000,
    scratch: unit.Scratch = None,
    overwrite: Overwrite = False,
    precision: opt.Precision = "float32",
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Fit a codebook to the features of recordings, in bounded memory."""
    from speechssl import encoders
    from speechssl.units.codebooks import fitting
    from speechssl.units.codebooks.kmeans import Settings
    from speechssl.units.encoding import manifest

    fitting.check(k, kind, levels)
    settings = Settings(seed=seed, passes=passes, reservoir=reservoir)
    files = [entry.file for entry in manifest.entries(audio or [], listed or [])]
    batch.tell_others(audio or [])
    outputs.check_no_sound(output, ".safetensors")
    outputs.check([output], files, overwrite=overwrite)
    encoder = encoders.load(model, layer=layer, normalise=normalise, device=device, precision=precision)
    terminal.stage("encoding and fitting")
    book = fitting.fit_encoder(
        encoder, files, k, spool=scratch, family=kind, levels=levels, settings=settings, rate=rate
    )
    book.save(output)
    data = book.facts["data"]
    _tell_codebook(output, book, json, f"{data['frames']} frames, {data['seconds']} s; {data['files']} recordings")
    for reason in data["left_out"]:
        terminal.remark(f"left out: {reason}")


@app.command(
    "encode",
    epilog=opt.examples(
        "units encode recordings/ --output units",
        "units encode list.csv -c book.safetensors --format parquet -o out",
    ),
)
def encode(
    output: unit.Folder,
    audio: unit.Given = None,
    listed: opt.Lists = None,
    codebook: unit.Book = "tiny/500",
    form: unit.Form = "jsonl",
    collapse: unit.Collapse = True,
    workers: unit.Workers = 1,
    shard: unit.Shard = "1/1",
    vad: unit.Vad = False,
    engine: unit.Engine = "local",
    retry: unit.Retry = False,
    part: unit.Part = 256,
    strict: opt.Strict = False,
    model: unit.Encoder = "",
    layer: opt.Layer = None,
    normalise: opt.Normalise = None,
    precision: opt.Precision = "float32",
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Encode recordings to units, each exactly once; after an interruption run the command again to continue."""
    from speechssl.units.encoding import encode as encode_module
    from speechssl.units.encoding import engine as engines
    from speechssl.units.encoding import manifest, told
    from speechssl.units.encoding.workers import Recipe

    recipe = Recipe(codebook, model, layer, normalise, device, precision, collapse, vad)
    share = _shard(shard)
    entries = manifest.entries(audio or [], listed or [])
    batch.tell_others(audio or [])
    if part > 0 and (parts := -(-len(entries) // part)) < share[1]:
        even = max(1, len(entries) // share[1])
        terminal.remark(
            f"remark: some shares are empty, for the list has {terminal.count(parts, 'part')} of {part} recordings at "
            f"most; --part {even} fills all {share[1]}"
        )
    with terminal.progress("encoding", [(one.id, one.file) for one in entries]) as advance:
        summary = encode_module.encode(
            entries, recipe, output, form=form, num_workers=workers, shard=share, block=part,
            through=engine, retry=retry, advance=advance, heard=advance,
        )  # fmt: skip
    text = f"{output}  {summary.encoded} encoded, {summary.already} already there, {summary.failed} failed"
    terminal.answer({"output": output, **vars(summary)}, text, json=json)
    if summary.without_speech:
        place = told.seen_in(output, told.REMARKS, share)
        terminal.remark(f"remark: {summary.without_speech} without speech; {place} names them")
    if summary.failed:
        first = "" if summary.encoded + summary.already else f" ({engines.failures(output)[0]['reason']})"
        terminal.error(
            f"error: {summary.failed} of {len(entries)} failed{first}; the reasons are in "
            f"{told.seen_in(output, told.FAILED, share)}; --retry-failed encodes them again"
        )
    if summary.failed or (strict and summary.without_speech):
        raise typer.Exit(2)


@app.command("check", epilog=opt.examples("units check units"))
def check(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder that `units encode` wrote.")],
    json: opt.Json = False,
) -> None:
    """Check a folder of units: every recording once, with units, durations and times that fit together."""
    from speechssl.units.encoding.checking import check as run

    found = run(folder)
    # text keeps no times
    length = f", {found.frames} frames, {found.seconds:.1f} s" if found.frames is not None else ""
    text = f"{folder}  {terminal.count(found.records, 'record')}, {found.failed} failed{length}"
    terminal.answer({**vars(found), "sound": found.sound}, text, json=json)
    for fault in found.faults:
        terminal.error(f"fault: {fault}")
    if found.damaged:
        terminal.remark("delete the parts that are at fault, and encode into this folder again: what is whole is kept")
    if not found.sound:
        raise typer.Exit(2)


@app.command(
    "report",
    epilog=opt.examples(
        "units report recordings/ --output card", "units report dev/ --alignments phones.jsonl -o card"
    ),
)
def report(
    output: unit.Folder,
    audio: unit.Given = None,
    listed: opt.Lists = None,
    codebook: unit.Book = "tiny/500",
    alignments: Annotated[
        str,
        typer.Option(
            "--alignments",
            metavar="FILE",
            help="Phones of the recordings with their times, as JSON lines; adds measures of phones and ABX.",
        ),
    ] = "",
    stability: Annotated[
        int, typer.Option("--stability", help="Recordings that are also encoded with noise and with another pitch.")
    ] = 20,
    triples: Annotated[int, typer.Option("--triples", help="Triples of phones in the ABX test.")] = 2000,
    model: unit.Encoder = "",
    normalise: opt.Normalise = None,
    device: opt.Device = "auto",
    overwrite: Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Measure a codebook on recordings: rate, entropy, phones, ABX, stability."""
    from speechssl.units import report as cards
    from speechssl.units.encoding import manifest
    from speechssl.units.encoding.workers import Recipe

    places = [Path(output) / name for name in ("report.json", "report.md", "usage.png")]
    outputs.check(places, [alignments] if alignments else [], overwrite=overwrite)
    entries = manifest.entries(audio or [], listed or [])
    batch.tell_others(audio or [])
    known = cards.read_alignments(alignments) if alignments else {}
    parts = Recipe(codebook, model, normalise=normalise, device=device).make()
    with terminal.progress("measuring", [(one.id, one.file) for one in entries]) as advance:
        heard = cards.utterances(parts.encoder, entries, known, stability=stability, advance=advance)
    card = cards.measure(parts.codebook, heard, triples=triples)
    cards.write(output, card)
    terminal.answer(card, cards.text([card]).rstrip("\n"), json=json)


@app.command("tokenizer", epilog=opt.examples("units tokenizer --base gpt2 --output tokenizer"))
def tokenizer(
    output: unit.Folder,
    base: Annotated[
        str, typer.Option("--base", metavar="DIR|NAME", help="Tokenizer of transformers to extend: a folder or a name.")
    ],
    codebook: unit.Book = "tiny/500",
    json: opt.Json = False,
) -> None:
    """Add a token for every unit to a tokenizer; the ids of its other tokens stay the same."""
    from speechssl.units.language import tokens

    found = tokens.extend(base, codebook, output)
    facts = {"output": output, "size": found.size, "first_unit": found.units[0], "begin": found.begin, "end": found.end}
    places = f"<unit_0> is {found.units[0]}, <speech> {found.begin}, </speech> {found.end}"
    terminal.answer(facts, f"{output}  {found.size} tokens; {places}", json=json)


@app.command("bpe", epilog=opt.examples("units bpe units --size 2000 --output bpe.json"))
def bpe(
    units: unit.UnitFolder,
    output: unit.File,
    size: Annotated[int, typer.Option("--size", help="Size of the vocabulary, the units included.")] = 2000,
    overwrite: Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Learn byte-pair encoding over units, and print how much shorter the sequences get."""
    from speechssl.units.encoding import engine as engines
    from speechssl.units.encoding import formats
    from speechssl.units.language import bpe as pairs

    outputs.check_no_sound(output, ".json")
    outputs.check([output], [units], overwrite=overwrite)
    # a part lies in the folder that knows its codebook
    meta = engines.read_meta(Path(units).parent if Path(units).is_file() else units)
    sequences = [record["units"] for record in formats.read_all(units)]
    _tell_lacking(units, len(sequences))
    found = pairs.train(sequences, num_units=meta["num_units"], size=size, codebook=meta["codebook"])
    found.save(output)
    facts = {"output": output, "tokens": found.size, "units_per_token": round(found.compression(sequences), 4)}
    text = f"{output}  {facts['tokens']} tokens, {facts['units_per_token']} units a token on these recordings"
    terminal.answer(facts, text, json=json)


@app.command("pack", epilog=opt.examples("units pack units --tokenizer tokenizer --output blocks.parquet"))
def pack(
    units: unit.UnitFolder,
    output: unit.File,
    tokenizer: Annotated[str, typer.Option("--tokenizer", metavar="DIR", help="Folder that `units tokenizer` wrote.")],
    length: Annotated[int, typer.Option("--length", help="Number of tokens in each block.")] = 1024,
    mode: Annotated[
        str, typer.Option("--mode", help="Content of a block: speech, interleaved (text and speech) or instruction.")
    ] = "speech",
    overwrite: Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Write token blocks for training as parquet."""
    from speechssl.units.language import pack as packing

    outputs.check_no_sound(output, ".parquet")
    outputs.check([output], [units], overwrite=overwrite)
    found = packing.pack(units, tokenizer, output, length=length, mode=mode)
    text = f"{output}  {found.blocks} blocks, {found.tokens} tokens, {found.documents} documents"
    terminal.answer({"output": output, **vars(found)}, text, json=json)
    _tell_lacking(units, found.documents + found.skipped)
    if found.skipped:
        terminal.remark(f"{found.skipped} utterances were skipped: they lack what {mode} needs, or are too long")


@app.command(
    "decode",
    epilog=opt.examples(
        "units decode units --voice ada --output speech", "units decode '12 7 7 41' --voice ada --output out.wav"
    ),
)
def decode(
    units: unit.UnitText,
    output: unit.SoundOrFolder,
    voice: opt.StoredVoice,
    codebook: unit.Book = "tiny/500",
    durations: unit.Durations = "",
    overwrite: Overwrite = False,
    model: opt.MaybeModel = None,
    layer: opt.Layer = None,
    normalise: opt.Normalise = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Speak units in a stored voice."""
    from speechssl import audio
    from speechssl.conversion.convert import named_voice
    from speechssl.units import decode as decoding
    from speechssl.units.codebooks import codebook as codebooks

    batch.check_named(output)
    book = codebooks.load(codebook)
    items = to_decode(units, book)
    places = _places(units, [name for name, _, _ in items], output)
    folder = Path(output) if _is_folder(output) else None
    outputs.check(places, [voice, units], overwrite=overwrite, made=made_before(folder))
    system = models.load(model, [book.features], layer=layer, normalise=normalise, device=device)
    spoken = named_voice(system, voice)
    lengths = lengths_of(durations, book) if durations else None
    if lengths is None and runs_are_lost(items):
        terminal.remark(
            "remark: these units have no durations, so each lasts one frame; give --durations, or encode with --format "
            "jsonl or parquet"
        )
    wanted = [decoding.units_of(ids, book, durations=None if lengths is not None else runs, lengths=lengths)
              for _, ids, runs in items]  # fmt: skip
    made_with = _made_with(spoken, book)
    # units may come from a pipe: they are among the settings, and there is no source but the output
    asked = {
        Job(path, path): {**made_with, "units": one.ids.tolist(), "durations": one.durations.tolist()}
        for one, path in zip(wanted, places, strict=True)
    }
    ledger = Ledger(folder, asked.__getitem__)
    left = [(one, job) for one, job in zip(wanted, asked, strict=True) if not ledger.is_done(job)]
    terminal.expect(sum(int(one.durations.sum()) / one.frame_rate for one, _ in left))
    written: list[dict[str, Any]] = []
    for one, job in left:
        terminal.stage(f"speaking {(path := job.output).stem}")
        waveform = decoding.decode(one, book, spoken, system.vocoder)
        with batch.into(path.parent):
            audio.write(path, audio.set_loudness(waveform, -23.0))
            ledger.record(job)
        terminal.advance(waveform.seconds)
        written.append({"output": str(path), "units": len(one.ids), "seconds": round(waveform.seconds, 3)})
        if not json:
            terminal.row(f"{path}  {len(one.ids)} units, {waveform.seconds:.3f} s")
    if json:
        terminal.emit({"results": written, "skipped": len(asked) - len(left)})
    elif len(left) < len(asked):
        terminal.remark(f"{len(asked) - len(left)} already done with the same settings")


def _made_with(voice: MatchingSet, book: Codebook) -> dict[str, Any]:
    """Whatever decides how units sound besides themselves."""
    references = [one.sha256 for one in voice.references]
    speaker = [voice.key_origin, voice.value_origin, references, len(voice)]
    return {"version": __version__, "codebook": book.fingerprint, "voice": speaker}


def _tell_lacking(units: str, records: int) -> None:
    from speechssl.units.encoding import engine as engines

    if Path(units).is_dir() and (text := engines.lacking(units, records)):
        terminal.remark(f"remark: {units}: {text}")


def _is_folder(output: str) -> bool:
    from speechssl.audio import WRITABLE

    return Path(output).suffix.lower() not in WRITABLE


def _places(units: str, names: list[str], output: str) -> list[Path]:
    """The file of each utterance: the output, or one in the output folder."""
    if _is_folder(output):
        return [Path(output) / f"{name.replace('..', '_').lstrip('/')}.wav" for name in names]
    if len(names) > 1:
        units = "standard input" if units == "-" else units
        raise InputError(f"{units} holds {len(names)} utterances; give a folder as --output instead of {output}")
    outputs.check_folder(output)
    return [Path(output)] * len(names)


@app.command("import", epilog=opt.examples("units import km.npy --features hubert-base/6 -o km.safetensors"))
def import_(
    path: Annotated[
        str,
        typer.Argument(metavar="FILE", help="File of centroids (.npy, .npz or .safetensors), or its address: hf://..."),
    ],
    output: unit.File,
    features: Annotated[
        str,
        typer.Option(
            "--features",
            metavar="ORIGIN",
            help="Encoder and layer that the centroids were fitted on, such as hubert-base/6.",
        ),
    ],
    frame_rate: Annotated[float, typer.Option("--frame-rate", help="Frames per second of the features (Hz).")] = 50.0,
    kind: Annotated[
        str,
        typer.Option("--kind", help="Kind of codebook: kmeans or rvq. Default: told by the shape of the array."),
    ] = "",
    key: Annotated[str, typer.Option("--key", help="Name of the array, if the file holds several.")] = "",
    licence: Annotated[str, typer.Option("--licence", help="Licence of the centroids, to store with them.")] = "",
    overwrite: Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Make a codebook from published centroids. Pickles are refused, with a command that turns them into arrays."""
    from speechssl.units.codebooks.importing import import_codebook

    outputs.check_no_sound(output, ".safetensors")
    outputs.check([output], [path], overwrite=overwrite)
    book = import_codebook(path, features=features, frame_rate=frame_rate, family=kind, key=key, licence=licence)
    book.save(output)
    _tell_codebook(output, book, json, f"from {path}")


def _tell_codebook(output: str, book: Codebook, json: bool, more: str) -> None:
    shape = {"levels": book.num_levels, "k": book.num_units, "dim": book.dim}
    facts = {"output": output, "origin": book.origin, "fingerprint": book.fingerprint, **shape, **book.facts}
    text = f"{output}  {book.origin}: {book.num_levels} x {book.num_units} centroids of {book.dim}; {more}"
    terminal.answer(facts, text, json=json)


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise InputError(f"--shard is {text!r}; I/N with 1 <= I <= N needed, such as 2/8")
    return int(number), int(count)
