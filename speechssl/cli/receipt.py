"""``speechssl receipt``: what a recording was made of and with whose consent, and whether the receipt is genuine."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speechssl.cli import terminal
from speechssl.cli.options import Json, examples
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.receipts.signing import Signer
    from speechssl.voices.matching_set import MatchingSet

SETTING = "SPEECHSSL_RECEIPTS"  # environment variable; 1 to sign everything that is made
NOBODY = "none was recorded: made on the command line from recordings that were named there"

app = typer.Typer(
    help="Show and check the signed receipts of synthetic recordings, and list the keys that you trust.",
    no_args_is_help=True,
    epilog=examples("receipt show out.wav", "receipt check out.wav", "receipt trust theirs.wav --name 'Studio A'"),
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A recording that speechssl made, or a receipt.")]


@app.command("show", epilog=examples("receipt show out.wav"))
def show(file: File) -> None:
    """Print the receipt inside or beside a recording as JSON, without checking it."""
    from speechssl.receipts import signing

    terminal.emit(signing.show(file))


@app.command(
    "check",
    epilog=examples(
        "receipt check out.wav",
        "receipt check out.mp3 --receipt talk.receipt.json",
        "receipt check out.wav --exit-code",
    ),
)
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording that speechssl made.")],
    receipt: Annotated[
        Path | None,
        typer.Option(
            "--receipt", metavar="JSON", help="Receipt file, if it is neither inside nor beside the recording."
        ),
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Leave with exit code 1, not 2, where something was changed.")
    ] = False,
    json: Json = False,
) -> None:
    """Check that the recording matches its receipt, the receipt its signature, and that you trust the key.

    Exit code 0: genuine. 2 (with --exit-code: 1): the recording or the receipt was changed. 3: nothing was changed,
    but the key is unknown: anybody may have signed it.
    """
    from speechssl.receipts import signing

    found = signing.check(file, receipt=receipt)
    if json:
        facts = {"verdict": found.verdict, "genuine": found.genuine, "reasons": found.reasons}
        terminal.emit({**facts, "key": found.key, "own_key": found.own_key, "trusted": found.trusted})
    elif found.genuine:
        whose = "this machine's key" if found.own_key else f"the key of {found.trusted}"
        terminal.say(f"{file}: genuine; signed {found.receipt.get('created')} with {whose} ({found.key})")
    elif not found.reasons:
        terminal.say(
            f"{file}: signed by an unknown key ({found.key}). Nothing was changed since, but it may be anybody's. "
            f"If you know whose key it is: speechssl receipt trust {shlex.quote(str(receipt or file))} --name WHOSE"
        )
    for reason in found.reasons:
        terminal.remark(f"{file}: {reason}")
    if code := {"genuine": 0, "changed": 1 if exit_code else 2, "unknown key": 3}[found.verdict]:
        raise typer.Exit(code)


@app.command(
    "trust",
    epilog=examples("receipt trust", "receipt trust theirs.wav --name 'Studio A'", "receipt trust --remove 'Studio A'"),
)
def trust(
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY|FILE",
            help="Public key as `receipt trust` prints it on the other machine, or a recording or receipt signed with "
            "it. Without one, list this machine's key and the trusted ones.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Whose key it is; checks name them.")] = None,
    remove: Annotated[
        str | None,
        typer.Option("--remove", metavar="NAME|KEY", help="Trust this key no longer."),
    ] = None,
    json: Json = False,
) -> None:
    """Trust a key: receipts signed with it are genuine. Compare its fingerprint with its owner first."""
    from speechssl.audio import WRITABLE
    from speechssl.receipts import signing
    from speechssl.receipts import trust as trusted

    if remove is not None:
        gone = trusted.remove(remove)
        terminal.remark(f"{gone.name} ({trusted.fingerprint(gone.public)}) is not trusted any more")
    elif key is not None:
        if name is None:
            raise InputError("whose key is it? Say it with --name")
        is_file = Path(key).exists() or key.endswith((".json", *WRITABLE))
        new = trusted.add(signing.signed_by(key) if is_file else trusted.read(key), name)
        terminal.remark(f"trusted from now on: {new.name} ({trusted.fingerprint(new.public)})")
    else:
        own = [("this machine", signing.Signer().public)] if signing.default_key().exists() else []
        known = own + [(one.name, one.public) for one in trusted.listed()]
        rows = [(whose, trusted.fingerprint(public), trusted.written(public)) for whose, public in known]
        headings = ("whose", "fingerprint", "key")
        if json:
            terminal.emit([dict(zip(headings, row, strict=True)) for row in rows])
        else:
            terminal.table(rows, headings)


def signs(wanted: bool | None, voices: Sequence[MatchingSet]) -> bool:
    """Whether what a command makes gets a receipt.

    Args:
        wanted: the option of the command. None signs if a voice has a stored consent, because its owner was told that
            receipts carry the consent, or if the environment sets ``SPEECHSSL_RECEIPTS`` to 1.
        voices: the voices that the result is made of.
    """
    if wanted is None:
        return any(voice.consents for voice in voices) or os.environ.get(SETTING, "") not in ("", "0")
    return wanted


def signer(wanted: bool | None, voices: Sequence[MatchingSet]) -> Signer | None:
    """The signer of what a command makes, as ``signs`` says; None without receipts."""
    from speechssl.receipts import signing

    return signing.Signer() if signs(wanted, voices) else None
