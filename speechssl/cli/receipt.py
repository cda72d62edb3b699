"""``speechssl receipt``: what a file was made of and by whose leave, and whether that is true."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from speechssl.cli import terminal
from speechssl.cli.options import Json

if TYPE_CHECKING:
    from speechssl.receipts.signing import Signer
    from speechssl.voices.matching_set import MatchingSet

NOBODY = "none was recorded: made on the command line from recordings that were named there"

app = typer.Typer(help="Receipts of converted recordings: show, check.", no_args_is_help=True)

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A recording that speechssl made, or a receipt.", show_default=False)
]


@app.command("show")
def show(file: File) -> None:
    """Print the receipt inside a recording, or beside it, as JSON; nothing is checked."""
    from speechssl.receipts import signing

    terminal.emit(signing.show(file))


@app.command("check")
def check(
    file: File,
    receipt: Annotated[
        Optional[Path],  # noqa: UP045  typer evaluates it, on Python 3.10 too
        typer.Option("--receipt", metavar="JSON", help="Where it is kept elsewhere.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Say whether a recording is what its receipt says and the receipt what was signed; exit code 2 if not."""
    from speechssl.receipts import signing

    found = signing.check(file, receipt=receipt)
    if json:
        terminal.emit({"genuine": found.genuine, "reasons": found.reasons, "key": found.key, "own_key": found.own_key})
    elif found.genuine:
        whose = "this machine's key" if found.own_key else "a key that is not this machine's"
        print(f"{file}: genuine; signed {found.receipt.get('created')} with {whose} ({found.key})")
    for reason in found.reasons:
        terminal.remark(f"{file}: {reason}")
    if not found.genuine:
        raise typer.Exit(2)


def signer(wanted: bool | None, voices: Sequence[MatchingSet]) -> Signer | None:
    """Who signs what a command makes; None if nobody does.

    Args:
        wanted: what the person said; None if nothing: then a voice with an attestation, whose owner was told that it
            is kept in everything made with the voice, or a key that was made before, asks for receipts.
        voices: of which it is made.
    """
    from speechssl.receipts import signing

    if wanted is None:
        wanted = any(voice.consents for voice in voices) or signing.default_key().exists()
    return signing.Signer() if wanted else None
