"""``speechssl voice``: voices kept on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speechssl.cli import batch, outputs, terminal
from speechssl.cli.options import Device, Json, Layer, Lists, Model, Normalise, Precision, examples

if TYPE_CHECKING:
    from speechssl.voices import VoiceInfo, VoiceLibrary

app = typer.Typer(
    help="Keep voices on disk, in the folder that `speechssl doctor` names or in $SPEECHSSL_VOICES.",
    no_args_is_help=True,
    epilog=examples("voice add ada ada1.wav ada2.wav", "voice list"),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the voice.")]


@app.command(
    "add",
    epilog=examples(
        "voice add ada ada1.wav ada2.wav", "voice add ada recordings/ --consent 'Ada Smith: her audiobook'"
    ),
)
def add(
    name: Name,
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="REF...", help="Recordings, folders or glob patterns of one speaker."),
    ] = None,
    listed: Lists = None,
    consent: Annotated[
        str | None,
        typer.Option(
            "--consent",
            metavar="'WHO: FOR WHAT'",
            help="Attest who allowed you to use these recordings and for what. The consent is stored in the voice and "
            "in the receipts of everything made with it. It does not cover recordings that the voice holds already.",
        ),
    ] = None,
    model: Model = "tiny",
    layer: Layer = None,
    normalise: Normalise = None,
    precision: Precision = "float32",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Make a voice from recordings, or add recordings to a voice."""
    from speechssl.conversion.bundles import load_bundle
    from speechssl.voices import check_name
    from speechssl.voices import consent as consents

    check_name(name)
    attested = None if consent is None else consents.parse(consent)
    library = _library()
    outputs.check_place(library.path(name))
    files, failed = batch.usable(references, listed, speech=True)
    system = load_bundle(model, layer=layer, normalise=normalise, device=device, precision=precision)
    terminal.stage("listening to the references")
    held = {one.sha256 for one in library.show(name).references} if name in library else set()
    new = batch.distinct(files, held)
    _tell(library.add(name, new, system.encoder, system.value_encoder, consent=attested), json)
    _tell_if_hidden(name)
    batch.refuse(failed, len(files) + failed)


@app.command(
    "consent",
    epilog=examples(
        "voice consent ada 'Ada Smith: her audiobook'", "voice consent ada 'Ada Smith: her audiobook' -r ada2.wav"
    ),
)
def consent(
    name: Name,
    attested: Annotated[str, typer.Argument(metavar="'WHO: FOR WHAT'", help="Who allowed the use, and for what.")],
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            "-r",
            metavar="REF",
            help="Only for these recordings; give names or beginnings of checksums. Default: all of the voice.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Attest who allowed you to use recordings that a voice holds already."""
    from speechssl.voices import consent as consents

    _tell(_library().attest(name, consents.parse(attested), reference or ()), json)


@app.command("list", epilog=examples("voice list", "voice list --json"))
def list_(json: Json = False) -> None:
    """List the stored voices."""
    library = _library()
    voices = library.list()
    if json:
        terminal.emit([_facts(voice) for voice in voices])
    elif not voices:
        terminal.remark(f"no voices in {library.folder}; make one with: speechssl voice add NAME RECORDING...")
    else:
        rows = [
            (v.name, f"{v.seconds:.0f} s", str(len(v.references)), v.key_origin, f"{v.megabytes:.1f} MB", v.created)
            for v in voices
        ]
        terminal.table(rows, ("voice", "length", "recordings", "made with", "size", "date"))


@app.command("show", epilog=examples("voice show ada"))
def show(name: Name, json: Json = False) -> None:
    """Show the recordings that a voice is made of."""
    _tell(_library().show(name), json)


@app.command("remove", epilog=examples("voice remove ada", "voice remove ada --reference ada2.wav"))
def remove(
    name: Name,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            "-r",
            metavar="REF",
            help="Remove only these recordings and their frames; give names or beginnings of checksums.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Remove a voice, or recordings from it."""
    _library().remove(name, reference or None)
    if json:
        terminal.emit({"voice": name, "removed": reference or "all"})
    else:
        terminal.remark(f"removed {', '.join(reference)} from {name}" if reference else f"removed {name}")


@app.command("export", epilog=examples("voice export ada ada.safetensors"))
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="File or folder to copy to.")],
) -> None:
    """Copy a voice to a file that can be shared; the file holds names of recordings but no sound."""
    outputs.check_no_sound(file, ".safetensors")
    outputs.check_folder(file)
    terminal.say(_library().export(name, file))


@app.command("import", epilog=examples("voice import ada.safetensors --name ada"))
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Voice file that `voice export` wrote.")],
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name to store the voice under. Default: the name in the file."),
    ] = None,
    json: Json = False,
) -> None:
    """Check a voice file and add it to the stored voices."""
    found = _library().import_(file, name)
    _tell(found, json)
    _tell_if_hidden(found.name)


def _library() -> VoiceLibrary:
    from speechssl.voices import VoiceLibrary

    return VoiceLibrary()


def _tell_if_hidden(name: str) -> None:
    """A stored voice may be named like one of the package, and is taken in its place."""
    from speechssl import clips

    if name in {one.voice for one in clips()}:
        terminal.remark(f"remark: --voice {name} is this voice from now on, not the one of the package")


def _facts(voice: VoiceInfo) -> dict[str, Any]:
    return {
        "name": voice.name,
        "file": str(voice.path),
        "model": voice.key_origin,
        "values": voice.value_origin,
        "frames": voice.frames,
        "seconds": round(voice.seconds, 3),
        "created": voice.created,
        "megabytes": round(voice.megabytes, 3),
        "references": [
            {"name": ref.name, "sha256": ref.sha256, "seconds": round(ref.seconds, 3), "f0": round(ref.pitch.hertz, 1)}
            for ref in voice.references
        ],
        "consents": [consent.as_dict() for consent in voice.consents],
        "uncovered": [ref.name for ref in voice.uncovered],
        "notes": voice.notes.as_dict(),
    }


def _tell(voice: VoiceInfo, json: bool) -> None:
    facts = _facts(voice)
    if json:
        terminal.emit(facts)
        return
    recordings = terminal.count(len(voice.references), "recording")
    terminal.say(f"{voice.name}: {voice.seconds:.1f} s in {recordings}, {voice.frames} frames")
    terminal.say(f"made with {voice.key_origin}, values {voice.value_origin}, {voice.created}")
    terminal.say(voice.path)
    for line in (voice.notes.description, ", ".join(voice.notes.tags)):
        if line:
            terminal.say(line)
    for consent in facts["consents"]:
        covered = f"{len(consent['recordings'])} of {len(voice.references)} recordings"
        terminal.say(f"consent: {consent['who']}, {consent['when']}, for: {consent['purpose']} ({covered})")
    if facts["consents"] and facts["uncovered"]:
        terminal.say(f"without consent: {', '.join(facts['uncovered'])}; attest with: speechssl voice consent")
    rows = [(r["name"], f"{r['seconds']:.1f} s", f"{r['f0']:.0f} Hz", r["sha256"][:12]) for r in facts["references"]]
    terminal.table(rows, ("recording", "length", "mean F0", "sha256"))
