"""Scores of real trials that the front end draws behind a score: 600 of one speaker, 600 of two.

python recipes/speaker_verification/page_scores.py --speech librispeech/ --output speechssl/app/handlers/scores.json
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from speechssl import audio, errors
from speechssl.verification import decisions, embedders, scoring

SECONDS = 6.0
EACH = 10  # recordings of a speaker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="folder of speakers")
    parser.add_argument("--speakers", type=Path, required=True, help="text file with the folders to use, one a line")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    draw, embedder = random.Random(0), embedders.load("tiny")
    vectors = {}
    for name in args.speakers.read_text().split():
        files = sorted(path for path in (args.speech / name).rglob("*") if path.is_file())
        chosen = draw.sample(files, min(EACH, len(files)))
        vectors[name] = [embedder.embed(audio.read(path).first(SECONDS)) for path in chosen]
    pairs = [(a, b) for own in vectors.values() for i, a in enumerate(own) for b in own[:i]]
    names = list(vectors)
    others = []
    while len(others) < 600:
        first, second = draw.sample(names, 2)
        others.append((draw.choice(vectors[first]), draw.choice(vectors[second])))
    draw.shuffle(pairs)
    near = decisions.added_by_cohort(embedder)
    known = {"cohort": embedder.cohort if near else None, "by_cohort": near}
    scores = {
        "origin": embedder.origin,
        "same": [round(scoring.score([a], b, **known), 3) for a, b in pairs[:600]],
        "other": [round(scoring.score([a], b, **known), 3) for a, b in others],
    }
    args.output.write_text(json.dumps(scores) + "\n", encoding="utf-8")
    print(len(names), "speakers", len(scores["same"]), len(scores["other"]))


if __name__ == "__main__":
    errors.run_recipe(main)
