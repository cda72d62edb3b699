"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

import math
from typing import Annotated, TypeAlias

import typer

from speechssl.errors import InputError


def examples(*commands: str) -> str:
    """The examples below the help of a command: one a line, short enough for a terminal of 80 columns."""
    return "\n\n".join(["Examples:", *(f"speechssl {command}" for command in commands)])


def check_target(references: list[str] | None, voice: object) -> None:
    """Refuse a command that names no wanted voice, or two.

    Raises:
        InputError: both or neither of ``--reference`` and ``--voice``.
    """
    if bool(references) == bool(voice):
        got = "both --reference and" if references else "neither --reference nor"
        raise InputError(f"{got} --voice given; give one of them: whose voice is wanted?")


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise InputError(f"--threshold is {value}; a score needed")
    return value


# ---- what goes in and out

Sources: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="SOURCE...", help="Recordings, folders (searched below) or glob patterns."),
]
Lists: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--list",
        metavar="FILE",
        help="List of recordings: a text with one path a line; CSV, TSV or JSON lines with a column `path`; or "
        "fairseq's TSV. Paths are relative to the folder of the list.",
    ),
]
_OUTPUT = typer.Option(
    "--output", "-o", metavar="FILE|DIR", help="File to write; a folder if there are several sources."
)
Output: TypeAlias = Annotated[str, _OUTPUT]
MaybeOutput: TypeAlias = Annotated[str | None, _OUTPUT]
References: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--reference",
        "-r",
        metavar="REF...",
        help="Recordings or folders of the wanted voice; 30 seconds or more of speech work best.",
    ),
]
_VOICE = typer.Option(
    "--voice",
    metavar="NAME|FILE",
    help="Stored voice to speak in, made with `speechssl voice add`, or one of the package: ada, beth, cleo, dan, eric "
    "or finn.",
)
Voice: TypeAlias = Annotated[str | None, _VOICE]
StoredVoice: TypeAlias = Annotated[str, _VOICE]
Voices: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--voice",
        metavar="NAME|FILE",
        help="Stored voice, made with `speechssl voice add`, or one of the package: ada, beth, cleo, dan, eric, finn. "
        "Give the option several times with weights, as in ada=0.7 and eric=0.3, to blend voices.",
    ),
]
Interpolation: TypeAlias = Annotated[
    float,
    typer.Option(
        "--interpolation",
        help="Share of the wanted voice, from 0 to 1. At 0 the voice is that of the source (with `say`: of the speaker "
        "of the text model).",
    ),
]
DryRun: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Print which files would be made of which sources and how many are done, and make none."
    ),
]
Strict: TypeAlias = Annotated[
    bool,
    typer.Option("--strict", help="Take a source without speech for an error; without this option it gets a remark."),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Receipt: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--receipt/--no-receipt",
        help="Sign a receipt, stored in the output and beside it. Default: on if the voice has a stored consent, or if "
        "the environment sets SPEECHSSL_RECEIPTS to 1.",
    ),
]

# ---- models

_MODELS = (
    "Model: tiny (in the package), wavlm-large, wavlm-base-plus, hubert-base and others that `speechssl doctor` lists, "
    "a Hugging Face id, a folder or a file."
)
Model: TypeAlias = Annotated[str, typer.Option("--model", "-m", metavar="NAME", help=_MODELS)]
MaybeModel: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help=f"{_MODELS} Default: the model that the stored voice, the codebook or the text model was made with, else "
        "tiny.",
    ),
]
Normalise: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--normalise/--no-normalise",
        help="Bring the waveform to zero mean and unit variance before it is encoded. Default: as the model or the "
        "given file says.",
    ),
]
Layer: TypeAlias = Annotated[
    int | None,
    typer.Option("--layer", help="Layer of the encoder. Default: the layer the model recommends."),
]
Device: TypeAlias = Annotated[
    str,
    typer.Option("--device", help="Device to compute on: auto (a GPU if there is one), cpu, cuda or mps."),
]
Precision: TypeAlias = Annotated[
    str,
    typer.Option(
        "--precision",
        help="Number format of the encoder: float32; bfloat16, which is faster on processors that support it; or auto, "
        "the faster of the two.",
    ),
]

# ---- speaker verification

SpeakerModel: TypeAlias = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Speaker model: tiny (in the package), ecapa, wavlm-sv, a Hugging Face id, a folder or a file.",
    ),
]
Database: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="FILE",
        help="Database of enrolled speakers. Default: $SPEECHSSL_SPEAKERS or a file in the data folder.",
    ),
]
Prior: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--prior",
        min=1e-9,
        max=1 - 1e-9,
        help="Probability, before listening, that both are one speaker; sets the threshold. Default: the threshold of "
        "the calibration.",
    ),
]
Threshold: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        callback=_finite,
        help="Lowest score that is accepted. Default: the threshold of the calibration.",
    ),
]
ExitCode: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--exit-code",
        help="Leave with exit code 1 for different speakers, or somebody unknown, and with 3 for no decision.",
    ),
]
_TRIALS = typer.Argument(
    metavar="DIR|TRIALS", help="Folder with one subfolder of recordings for each speaker, or a trial list."
)
Trials: TypeAlias = Annotated[str, _TRIALS]
CalibrationTrials: TypeAlias = Annotated[str | None, _TRIALS]
Root: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--root", metavar="DIR", help="Folder that paths in the list are relative to. Default: the list's own folder."
    ),
]
Seed: TypeAlias = Annotated[
    int, typer.Option("--seed", help="Random seed; the same seed gives the same trials and results.")
]
Workers: TypeAlias = Annotated[
    int, typer.Option("--workers", min=1, help="Threads to use; the results do not depend on the number.")
]
