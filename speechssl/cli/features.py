"""``speechssl features``: self-supervised features of any layer as safetensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from speechssl import __version__
from speechssl.cli import batch, terminal
from speechssl.cli.options import Device, Json, Layer, Model, Output, Precision, Sources

if TYPE_CHECKING:
    from speechssl.cli.batch import Job
    from speechssl.encoders.encoder import SSLEncoder


def features(
    sources: Sources,
    output: Output,
    model: Model = "tiny",
    layer: Layer = None,
    half: Annotated[bool, typer.Option("--half", help="Store float16: half the size.")] = False,
    precision: Precision = "float32",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Write the features of recordings, one safetensors file each: frames (N, D) and what made them."""
    from speechssl import encoders
    from speechssl.conversion.bundles import bundle

    jobs, folder = batch.plan(sources, output, ".safetensors")
    parts = bundle(model)
    encoder = encoders.load(
        parts.encoder,
        layer=parts.layer if layer is None else layer,
        device=device,
        precision=precision,
        normalise=parts.normalise,
    )
    settings = {"version": __version__, "origin": encoder.origin, "precision": precision, "half": half}

    def work(job: Job) -> dict[str, Any]:
        return _write(job, encoder, half)

    with terminal.progress("features", len(jobs)) as advance:
        outcome = batch.run(
            jobs, work, ledger=batch.Ledger(folder, settings), is_batch=folder is not None, advance=advance
        )
    terminal.finish(outcome, json=json, describe=lambda r: f"{r['frames']} frames of {r['dim']} ({r['origin']})")


def _write(job: Job, encoder: SSLEncoder, half: bool) -> dict[str, Any]:
    from speechssl import checkpoints

    found = encoder.encode_file(job.source)
    frames = found.frames.half() if half else found.frames
    header = {
        "kind": "features",
        "origin": found.origin,
        "frame_rate": found.frame_rate,
        "source": job.source.name,
    }
    checkpoints.save(job.output, {"frames": frames}, header)
    return {"frames": len(found), "dim": found.dim, "frame_rate": found.frame_rate, "origin": found.origin}
