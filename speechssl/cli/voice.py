"""``speechssl voice``: voices kept on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from speechssl.cli import batch, terminal
from speechssl.cli.options import Device, Json, Layer, Model, Precision

if TYPE_CHECKING:
    from speechssl.voices import VoiceInfo

app = typer.Typer(
    help="Keep voices on disk: add, list, show, remove, export, import.",
    no_args_is_help=True,
    epilog="Voices live in the folder that `speechssl doctor` names; SPEECHSSL_VOICES sets another.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the voice.", show_default=False)]


@app.command("add")
def add(
    name: Name,
    references: Annotated[
        list[str],
        typer.Argument(metavar="REF...", help="Recordings, folders or patterns of one speaker.", show_default=False),
    ],
    consent: Annotated[
        Optional[str],  # noqa: UP045  typer evaluates it, on Python 3.10 too
        typer.Option(
            "--consent",
            metavar="'WHO: FOR WHAT'",
            help="Attest that you have the right to use this voice; kept in it, and in the receipts of what it says.",
            show_default=False,
        ),
    ] = None,
    model: Model = "tiny",
    layer: Layer = None,
    precision: Precision = "float32",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Make a voice of recordings, or add recordings to one."""
    from speechssl.conversion.bundles import load_bundle
    from speechssl.voices import VoiceLibrary, check_name
    from speechssl.voices import consent as consents

    check_name(name)
    attested = None if consent is None else consents.parse(consent)
    files = batch.audio_files(references)
    system = load_bundle(model, layer=layer, device=device, precision=precision)
    _tell(VoiceLibrary().add(name, files, system.encoder, system.value_encoder, consent=attested), json)


@app.command("list")
def list_(json: Json = False) -> None:
    """List the voices."""
    from speechssl.voices import VoiceLibrary

    library = VoiceLibrary()
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
        terminal.table(rows, ("voice", "speech", "recordings", "made with", "size", "date"))


@app.command("show")
def show(name: Name, json: Json = False) -> None:
    """Show what a voice is made of."""
    from speechssl.voices import VoiceLibrary

    _tell(VoiceLibrary().show(name), json)


@app.command("remove")
def remove(
    name: Name,
    reference: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--reference",
            "-r",
            metavar="REF",
            help="Only this recording, by its name or the beginning of its checksum; its frames go for good.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Remove a voice, or one recording from it."""
    from speechssl.voices import VoiceLibrary

    VoiceLibrary().remove(name, reference)
    terminal.remark(f"removed {name}" if reference is None else f"removed {reference} from {name}")


@app.command("export")
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="Where to copy it.", show_default=False)],
) -> None:
    """Copy a voice to a file to give away; it holds no sound and no paths of this machine."""
    from speechssl.voices import VoiceLibrary

    print(VoiceLibrary().export(name, file))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A voice file.", show_default=False)],
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--name", help="To give it; its own if not given.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Take in a voice file, after checking every byte of it."""
    from speechssl.voices import VoiceLibrary

    _tell(VoiceLibrary().import_(file, name), json)


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
            {"name": one.name, "sha256": one.sha256, "seconds": round(one.seconds, 3), "f0": round(one.pitch.hertz, 1)}
            for one in voice.references
        ],
        "consents": [consent.as_dict() for consent in voice.consents],
    }


def _tell(voice: VoiceInfo, json: bool) -> None:
    facts = _facts(voice)
    if json:
        terminal.emit(facts)
        return
    print(f"{voice.name}: {voice.seconds:.1f} s of speech in {len(voice.references)} recordings, {voice.frames} frames")
    print(f"made with {voice.key_origin}, values {voice.value_origin}, {voice.created}")
    print(voice.path)
    for consent in facts["consents"]:
        print(f"consent: {consent['who']}, {consent['when']}, for: {consent['purpose']}")
    rows = [(r["name"], f"{r['seconds']:.1f} s", f"{r['f0']:.0f} Hz", r["sha256"][:12]) for r in facts["references"]]
    terminal.table(rows, ("recording", "length", "mean F0", "sha256"))
