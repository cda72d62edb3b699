"""``speechssl features``: self-supervised features of any layer as safetensors."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from speechssl import __version__
from speechssl.checkpoints.names import visible
from speechssl.cli import batch, outputs, terminal
from speechssl.cli import options as opt
from speechssl.cli.ledger import Job, made_before
from speechssl.cli.outputs import Overwrite
from speechssl.errors import InputError

SUFFIX = ".safetensors"
EXAMPLES = opt.examples(
    "features talk.wav --output talk.safetensors",
    "features recordings/ --model wavlm-large --layer 6 --half -o out/",
)


def features(
    output: opt.Output,
    sources: opt.Sources = None,
    listed: opt.Lists = None,
    model: opt.Model = "tiny",
    layer: opt.Layer = None,
    normalise: opt.Normalise = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store the numbers as float16, which halves the size of the files.")
    ] = False,
    overwrite: Overwrite = False,
    dry_run: opt.DryRun = False,
    strict: opt.Strict = False,
    precision: opt.Precision = "float32",
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Write the features of recordings, one safetensors file each: frames (N, D) and the origin."""
    from speechssl.conversion import bundles
    from speechssl.encoders.precision import settled
    from speechssl.verification import speech_classifier

    plan = batch.plan(sources or [], output, SUFFIX, listed=listed or [])
    places = [job.output for job in plan.jobs]
    made = made_before(plan.folder)
    outputs.check(places, [job.source for job in plan.jobs], overwrite=overwrite, made=made)
    if plan.folder is None:
        outputs.check_folder(places[0])
        if places[0].suffix.lower() not in ("", SUFFIX) or output == "-":
            raise InputError(f"{places[0]} would hold safetensors; a name that ends in {SUFFIX} needed")
    if dry_run and not made:
        return batch.show(plan, json=json)
    terminal.stage("loading the model")
    encoder = bundles.load_bundle_encoder(model, layer=layer, normalise=normalise, device=device, precision=precision)

    def work(job: Job) -> dict[str, Any]:
        remark = batch.remarked(job, speech_classifier.remark_on(job.source), strict=strict)
        found = encoder.encode_file(job.source)
        bundles.save_features(job.output, found, source=visible(job.source.name), half=half)
        shape = {"frames": len(found), "dim": found.dim, "frame_rate": found.frame_rate, "origin": found.origin}
        return shape | remark | batch.channels(job.source)

    used = settled(precision, device)
    settings = {"version": __version__, "origin": encoder.origin, "precision": used, "half": half}
    if dry_run:
        return batch.show(plan, json=json, settings=lambda _: settings, strict=strict)
    describe = None if json else _describe
    outcome = batch.run(plan, work, settings=lambda _: settings, strict=strict, title="encoding", describe=describe)
    batch.finish(outcome, json=json)


def _describe(result: dict[str, Any]) -> str:
    return f"{result['frames']} frames of {result['dim']} ({result['origin']})"
