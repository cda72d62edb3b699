"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

Sources = Annotated[
    list[str], typer.Argument(metavar="SOURCE...", help="Recordings, folders or glob patterns.", show_default=False)
]
Output = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar="FILE|DIR", help="A file, or a folder for several sources.", show_default=False
    ),
]
References = Annotated[
    Optional[list[str]],  # noqa: UP045  typer evaluates it, on Python 3.10 too
    typer.Option(
        "--reference", "-r", metavar="REF...", help="Recordings or folders of the wanted voice.", show_default=False
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="tiny, wavlm-large, wavlm-base-plus, hubert-base ..., a hub id, a folder or a file.",
    ),
]
Layer = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--layer", help="Encoder layer; the model's own if not given.", show_default=False),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option("--precision", help="float32 or bfloat16 (faster where the processor has it).")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Receipt = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option(
        "--receipt/--no-receipt",
        help="Sign a receipt, beside the output and inside it. If neither is given: where a voice carries a consent, "
        "or this machine has a key for receipts.",
        show_default=False,
    ),
]
