"""Fit the codebooks of the encoder that ships with the package, and print their report cards.

About ``--hours`` hours of the manifest's ``train`` split are encoded to a temporary file, and every codebook is fitted
on these frames. The cards are measured on the ``dev`` split.

    python recipes/units/fit_tiny.py manifest.csv --alignments alignments.jsonl --models runs/units
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechssl import encoders, errors, units
from speechssl.encoders.encoder import SSLEncoder
from speechssl.encoders.fingerprints import of_encoder
from speechssl.training import manifests
from speechssl.units import report
from speechssl.units.codebooks.fitting import fit, spooled
from speechssl.units.codebooks.kmeans import CHUNK, Settings
from speechssl.units.encoding.manifest import Entry

MODELS = Path(__file__).parents[2] / "speechssl" / "models" / "tiny"
# a third of the corpus is one-second words and one speaker's prompts; codebooks should hear many people talk
TRAIN = {
    "librispeech": 0.6,
    "cmu_arctic": 0.1,
    "rhasspy_kathleen": 0.1,
    "an4": 0.1,
    "ljspeech": 0.05,
    "speech_commands": 0.05,
}
DEV = {"librispeech": 1500.0, "cmu_arctic": 400.0, "rhasspy_kathleen": 200.0}  # seconds
SYLLABLES = (0.1, 0.25, 0.4, 0.6)  # cosines


def read_manifest(path: Path, split: str) -> dict[str, list[Entry]]:
    """Entries by corpus."""
    found: dict[str, list[Entry]] = {}
    for row in manifests.rows(path, needed=(*manifests.COLUMNS, "seconds", "text")):
        if row["split"] == split:
            extra = {key: row[key] for key in ("speaker", "text", "seconds")}
            found.setdefault(row["corpus"], []).append(
                Entry(row["path"], row["path"], str(path.parent / row["path"]), extra)
            )
    return found


def choose(entries: dict[str, list[Entry]], seconds: dict[str, float], seed: int) -> list[Entry]:
    """A random choice of each corpus, about so many seconds long, in the order of the manifest."""
    rng, chosen = np.random.default_rng(seed), []
    for corpus, wanted in seconds.items():
        rows, total, picked = entries.get(corpus, []), 0.0, []
        for position in rng.permutation(len(rows)):
            if total >= wanted:
                break
            picked.append(int(position))
            total += float(rows[position].extra["seconds"])
        chosen += [rows[position] for position in sorted(picked)]
    return chosen


def parallel(entries: dict[str, list[Entry]], seconds: dict[str, float], seed: int) -> list[Entry]:
    """The same, but sentences that several people read come together."""
    said: dict[str, list[Entry]] = {}
    for corpus in ("cmu_arctic", "rhasspy_kathleen"):
        for entry in entries.get(corpus, []):
            said.setdefault(entry.extra["text"].strip().lower().rstrip("."), []).append(entry)
    groups = [group for group in said.values() if len(group) >= 2]
    order = np.random.default_rng(seed).permutation(len(groups))
    chosen, total = [], 0.0
    for position in order:
        if total >= sum(seconds.get(corpus, 0.0) for corpus in ("cmu_arctic", "rhasspy_kathleen")):
            break
        chosen += groups[position]
        total += sum(float(entry.extra["seconds"]) for entry in groups[position])
    return chosen


def fit_all(encoder: SSLEncoder, files: Sequence[str], sizes: Sequence[int], args: argparse.Namespace) -> list[Path]:
    """One codebook a size, all on the same frames."""
    settings, written = Settings(seed=args.seed, passes=args.passes), []
    digits = of_encoder(encoder)
    with spooled(encoder, files, args.scratch) as (frames, data):
        print(json.dumps({"frames": len(frames), "dim": encoder.dim, "left_out": len(data["left_out"])}), flush=True)

        def chunks() -> Iterator[np.ndarray]:
            return (frames[start : start + CHUNK] for start in range(0, len(frames), CHUNK))

        for k in sizes:
            start = time.perf_counter()
            book = fit(
                chunks, k, features=encoder.origin, frame_rate=encoder.frame_rate, encoder=digits, settings=settings,
                data={**data, "corpora": list(TRAIN)},
            )  # fmt: skip
            written.append(book.with_facts(licence="MIT").save(args.models / f"codebook-{k}.safetensors"))
            facts = book.facts["fit"]
            told = {"k": k, "inertia": facts["inertia"], "passes": facts["passes"], "reseeded": facts["reseeded"]}
            print(json.dumps({**told, "seconds": round(time.perf_counter() - start, 1)}), flush=True)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--alignments", type=Path, default=None, help="phones of the dev recordings")
    parser.add_argument("--encoder", default="tiny", help="name or file; the layer is the file's own")
    parser.add_argument("--layer", type=int, default=None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 200, 500])
    parser.add_argument("--hours", type=float, default=2.0, help="of speech the codebooks are fitted on")
    parser.add_argument("--dev-share", type=float, default=1.0, help="of the dev seconds that are measured")
    parser.add_argument("--passes", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder the codebooks are written to")
    parser.add_argument("--results", type=Path, default=None, help="JSON file for all numbers")
    parser.add_argument("--scratch", type=Path, default=None, help="folder for the frames, 1 GB for two hours")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = encoders.load(args.encoder, layer=args.layer, device="cpu")
    train = choose(
        read_manifest(args.manifest, "train"), {c: share * args.hours * 3600 for c, share in TRAIN.items()}, args.seed
    )
    files = fit_all(encoder, [entry.file for entry in train], args.sizes, args)
    dev = read_manifest(args.manifest, "dev")
    seconds = {corpus: args.dev_share * wanted for corpus, wanted in DEV.items()}
    heard = choose(dev, {"librispeech": seconds["librispeech"]}, args.seed) + parallel(dev, seconds, args.seed)
    alignments = report.read_alignments(args.alignments) if args.alignments else {}
    utterances = report.utterances(encoder, heard, alignments)
    cards = [report.measure(units.load(path), utterances) for path in files]
    mean = np.mean(np.concatenate([u.frames for u in utterances]), axis=0)
    centred = [report.centred(utterance, mean) for utterance in utterances]
    k = min(200, args.sizes[-1])
    syllables = [report.syllable_rates(centred, encoder.frame_rate, threshold, k) for threshold in SYLLABLES]
    print(report.text(cards), syllable_table(syllables), sep="\n")
    if args.results:
        args.results.write_text(json.dumps({"cards": cards, "syllables": syllables}) + "\n", encoding="utf-8")


def syllable_table(rows: list[dict[str, Any]]) -> str:
    """Markdown of the syllable-like segments: centred frames merged greedily, segment means clustered."""
    lines = [
        "| cosine threshold | segments per second | clusters | bits per segment | bit/s | phone purity | PNMI |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        phones = row["phones"] or {}
        purity, pnmi = (f"{phones[key]:.3f}" if phones else "-" for key in ("phone_purity", "pnmi"))
        numbers = f"{row['segments_per_second']:.2f} | {row['k']} | {row['entropy']:.2f} | {row['bitrate']:.0f}"
        lines.append(f"| {row['threshold']} | {numbers} | {purity} | {pnmi} |")
    return "\n".join(lines)


if __name__ == "__main__":
    errors.run_recipe(main)
