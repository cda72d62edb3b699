"""``speechssl receipt``: what a recording was made of and with whose consent, and whether the receipt is genuine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speechssl.cli import terminal
from speechssl.cli.options import Json, examples

if TYPE_CHECKING:
    from speechssl.receipts.signing import Signer
    from speechssl.voices.matching_set import MatchingSet

SETTING = "SPEECHSSL_RECEIPTS"  # environment variable; 1 to sign everything that is made
NOBODY = "none was recorded: made on the command line from recordings that were named there"

app = typer.Typer(
    help="Show and check the signed receipts of synthetic recordings.",
    no_args_is_help=True,
    epilog=examples("receipt show out.wav", "receipt check out.wav"),
)

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A recording that speechssl made, or a receipt.", show_default=False)
]


@app.command("show", epilog=examples("receipt show out.wav"))
def show(file: File) -> None:
    """Print the receipt inside or beside a recording as JSON, without checking it."""
    from speechssl.receipts import signing

    terminal.emit(signing.show(file))


@app.command("check", epilog=examples("receipt check out.wav", "receipt check out.mp3 --receipt talk.receipt.json"))
def check(
    file: File,
    receipt: Annotated[
        Path | None,
        typer.Option(
            "--receipt",
            metavar="JSON",
            help="Receipt file, if it is neither inside nor beside the recording.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check that the recording matches its receipt and the receipt its signature; exit code 2 if not."""
    from speechssl.receipts import signing

    found = signing.check(file, receipt=receipt)
    if json:
        terminal.emit({"genuine": found.genuine, "reasons": found.reasons, "key": found.key, "own_key": found.own_key})
    elif found.genuine:
        whose = "this machine's key" if found.own_key else "a key that is not this machine's"
        terminal.say(f"{file}: genuine; signed {found.receipt.get('created')} with {whose} ({found.key})")
    for reason in found.reasons:
        terminal.remark(f"{file}: {reason}")
    if not found.genuine:
        raise typer.Exit(2)


def signer(wanted: bool | None, voices: Sequence[MatchingSet]) -> Signer | None:
    """The signer of what a command makes; None without receipts.

    Args:
        wanted: the option of the command. None signs if a voice has a stored consent, because its owner was told that
            receipts carry the consent, or if the environment sets ``SPEECHSSL_RECEIPTS`` to 1.
        voices: the voices that the result is made of.
    """
    from speechssl.receipts import signing

    if wanted is None:
        wanted = any(voice.consents for voice in voices) or os.environ.get(SETTING, "") not in ("", "0")
    return signing.Signer() if wanted else None
