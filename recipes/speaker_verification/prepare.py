"""Write trial lists of all pairs within one corpus and split of a manifest.

    python recipes/speaker_verification/prepare.py MANIFEST.csv --corpus librispeech --split dev --output dev.csv

The manifest is a CSV with the columns path, corpus, speaker and split; paths stay relative to its folder, which is the
``--root`` of the list. ``--per-speaker`` takes the first so many utterances of each, ``--at-least`` leaves out
who has fewer: let those who calibrate be recorded as those are who will be tested.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from speechssl import errors
from speechssl.errors import SpeechSSLError
from speechssl.training import manifests
from speechssl.verification.trials import all_pairs, write_trials


def recordings_of(manifest: Path, corpus: str, split: str, *, per_speaker: int, at_least: int) -> dict[str, list[str]]:
    """Paths by speaker; those with a single utterance stay unless told otherwise: they give trials of two speakers."""
    found: dict[str, list[str]] = {}
    for row in manifests.chosen(manifest, [corpus], [split]):
        found.setdefault(row["speaker"], []).append(row["path"])
    return {speaker: paths[:per_speaker] for speaker, paths in found.items() if len(paths) >= at_least}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--per-speaker", type=int, default=10**9)
    parser.add_argument("--at-least", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    recordings = recordings_of(
        args.manifest, args.corpus, args.split, per_speaker=args.per_speaker, at_least=args.at_least
    )
    if not recordings:
        raise SystemExit(f"{args.manifest}: no utterances of {args.corpus!r}, split {args.split!r}")
    trials = all_pairs(recordings)
    try:
        write_trials(args.output, trials)
    except SpeechSSLError as error:
        raise SystemExit(f"error: {error}") from error
    targets = sum(trial.is_target for trial in trials)
    print(json.dumps({"speakers": len(recordings), "trials": len(trials), "targets": targets}))


if __name__ == "__main__":
    errors.run_recipe(main)
