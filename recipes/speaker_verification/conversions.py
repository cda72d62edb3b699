"""How often our own conversions and spoken texts of a person pass as that person, and are remarked on as synthetic.

    python recipes/speaker_verification/conversions.py MANIFEST.csv --corpus librispeech --split dev

Each ordered pair of speakers: one source of 3 to 12 s is converted to 60 s of the other's recordings, and that voice
says a sentence; both are verified against a recording of that person that the voice was not made of. Beside them
the same for real recordings of the person, and for the source itself, who is a stranger.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from rich.progress import track

from speechssl import errors
from speechssl.audio.given import Recording
from speechssl.conversion.bundles import load_bundle
from speechssl.synthesis.say import load_synthesizer
from speechssl.verification import decisions, embedders
from speechssl.verification.decisions import Utterance
from speechssl.verification.synthetic import REMARK

sys.path.insert(0, str(Path(__file__).parents[1] / "voice_conversion"))
from pairs import from_manifest, make_pairs, with_enough

SENTENCE = "The old bridge was closed for repairs, so we walked along the river until it was dark."
KINDS = (
    "another recording of the person",
    "conversion to the person",
    "text in the person's voice",
    "the source itself",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--corpus", default="librispeech")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--limit", type=int, default=None, help="only so many pairs, evenly drawn")
    args = parser.parse_args()
    recordings = with_enough(from_manifest(args.manifest, corpus=args.corpus, split=args.split))
    pairs = make_pairs(recordings, reference_seconds=60.0)
    pairs = pairs[:: max(1, len(pairs) // args.limit)][: args.limit] if args.limit else pairs
    system, embedder = load_bundle("tiny"), embedders.load("tiny", device="cpu")
    calibration, speaker = decisions.shipped_calibration(embedder), load_synthesizer(system=system)
    voices, said, counts = {}, {}, {kind: Counter[str]() for kind in KINDS}

    def heard(recording: Recording) -> Utterance:
        return decisions.embed(recording, embedder, calibration=calibration)

    for pair in track(pairs, description="pairs"):
        if pair.target not in voices:
            voices[pair.target] = system.matching_set(list(pair.references))
            said[pair.target] = heard(speaker.say(SENTENCE, voices[pair.target]).waveform)
        person = heard(pair.target_refs[0])
        made = system.convert(pair.source.path, voices[pair.target]).waveform
        tried = (heard(pair.target_refs[1]), heard(made), said[pair.target], heard(pair.source.path))
        for kind, one in zip(KINDS, tried, strict=True):
            found = decisions.verify([person], one, calibration=calibration, cohort=embedder.cohort)
            counts[kind][found.decision] += 1
            counts[kind]["remarked"] += REMARK in one.remarks
    print("| verified against a recording of the person | accepted, % | no decision, % | may be synthetic, % |")
    print("|---|---:|---:|---:|")
    for kind, counted in counts.items():
        cells = (f"{100 * counted[name] / len(pairs):.0f}" for name in ("same", "none", "remarked"))
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    errors.run_recipe(main)
