"""Options of ``speechssl units``."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

# ---- options of several commands

Given: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="AUDIO...",
        help="Recordings, folders, glob patterns, addresses, or manifests (.jsonl, .csv, .tsv with a column 'path'; "
        "fairseq's .tsv).",
    ),
]
Book: TypeAlias = Annotated[
    str,
    typer.Option(
        "--codebook",
        "-c",
        metavar="NAME|FILE",
        help="Codebook: tiny/100, tiny/200 or tiny/500 (in the package), or a file.",
    ),
]
Folder: TypeAlias = Annotated[str, typer.Option("--output", "-o", metavar="DIR", help="Folder to write the result to.")]
File: TypeAlias = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="File to write the result to.")]
Encoder: TypeAlias = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Encoder to use, for instance a local copy. Default: the encoder that the codebook names.",
    ),
]
UnitFolder: TypeAlias = Annotated[
    str, typer.Argument(metavar="UNITS", help="Folder or file that `units encode` wrote.")
]

# ---- options of fit

FitSize: TypeAlias = Annotated[int, typer.Option("--k", help="Number of units (centroids), for each level.")]
Kind: TypeAlias = Annotated[
    str,
    typer.Option(
        "--kind",
        help="Kind of codebook: kmeans, rvq (residual, several levels), mvq (several codebooks that add up) or "
        "syllable (segments instead of frames).",
    ),
]
Levels: TypeAlias = Annotated[int, typer.Option("--levels", help="Number of codebooks of rvq and mvq.")]
Rate: TypeAlias = Annotated[float, typer.Option("--rate", help="Segments per second for --kind syllable.")]
FitSeed: TypeAlias = Annotated[
    int, typer.Option("--seed", help="Random seed; the same seed and recordings give the same codebook.")
]
Passes: TypeAlias = Annotated[int, typer.Option("--passes", help="Most passes of k-means over all frames.")]
Reservoir: TypeAlias = Annotated[
    int, typer.Option("--reservoir", help="Random frames that are held in memory to start from.")
]
Scratch: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--scratch",
        metavar="DIR",
        help="Folder for the features of all recordings, which are kept on disk during the fit. Default: the folder "
        "for temporary files.",
    ),
]

# ---- options of encode

Form: TypeAlias = Annotated[
    str, typer.Option("--format", help="Format of the output: jsonl, parquet, webdataset or text.")
]
Collapse: TypeAlias = Annotated[
    bool,
    typer.Option("--collapse/--no-collapse", help="Merge runs of the same unit and store the length of each run."),
]
Workers: TypeAlias = Annotated[int, typer.Option("--workers", help="Processes to use, with one thread each.")]
Shard: TypeAlias = Annotated[
    str,
    typer.Option(
        "--shard", metavar="I/N", help="Encode only the I-th of N shares, to divide the work between machines."
    ),
]
Vad: TypeAlias = Annotated[
    bool, typer.Option("--vad", help="Leave out frames without speech; the times of the others stay right.")
]
Engine: TypeAlias = Annotated[str, typer.Option("--engine", help="Where to compute: local, or ray for a cluster.")]
Retry: TypeAlias = Annotated[
    bool, typer.Option("--retry-failed", help="Encode recordings again that failed in an earlier run.")
]
Part: TypeAlias = Annotated[int, typer.Option("--part", help="Recordings in each part (file) of the output.")]

# ---- options of decode

UnitText: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="UNITS", help="Folder or file of units, ids such as '12 7 7 41', or - for standard input."),
]
SoundOrFolder: TypeAlias = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar="FILE|DIR", help="Sound file to write; a folder if there are several utterances."
    ),
]
Durations: TypeAlias = Annotated[
    str,
    typer.Option(
        "--durations",
        metavar="UNITS",
        help="Folder of units; each unit then lasts as long as it typically does there.",
        show_default=False,
    ),
]
