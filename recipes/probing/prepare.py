"""Write the manifests of the probes: words, sounds, anomalies and letters.

    python recipes/probing/prepare.py DATA --output runs/probing

DATA is a folder with ``manifest.csv`` (columns path, corpus, speaker, seconds, text, split). *Words*: Speech Commands,
at most 250 of each word. *Sounds*: ESC-10, fold 5 to test on. *Normal* and
*anomalies*: the same without three classes, and its test with them. *Letters*: AN4,
the first ``--minutes`` of recordings after a shuffle by ``--seed`` to train on.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
from collections import defaultdict
from pathlib import Path

from speechssl import errors
from speechssl.errors import InputError
from speechssl.training import manifests

Row = dict[str, str]
COLUMNS = ("label", "text", "speaker", "split")  # where they say anything
ANOMALIES = ("Baby_cry", "Chainsaw", "Rooster")  # a person, a machine and an animal; the others are normal
MOST = 250  # recordings of a word


def words(rows: list[Row], rng: random.Random) -> list[Row]:
    """At most ``MOST`` recordings of each word, of all parts; the probe draws speakers to test on."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["corpus"] == "speech_commands":
            found[row["text"]].append({**row, "label": row["text"], "split": ""})
    groups = (sorted(found[word], key=lambda row: row["path"]) for word in sorted(found))
    return [row for group in groups for row in rng.sample(group, min(MOST, len(group)))]


def sounds(rows: list[Row]) -> list[Row]:
    """ESC-10, whose file names are NUMBER_CLASS__CLIP."""
    found = [(row, re.search(r"\d+_([^/]+?)__", row["path"])) for row in rows if row["corpus"] == "noise_esc10"]
    return [{**row, "label": name[1], "speaker": ""} for row, name in found if name]


def states(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Normal sounds to know, and sounds to test: three classes are anomalies, and are in the test alone."""
    found = sounds(rows)
    known = [row for row in found if row["split"] == "train" and row["label"] not in ANOMALIES]
    tested = [row for row in found if row["split"] == "test"]
    return known, [{**row, "label": "anomaly" if row["label"] in ANOMALIES else "normal"} for row in tested]


def letters(rows: list[Row], minutes: float, rng: random.Random) -> list[Row]:
    """AN4: so many minutes of its training part, and its test."""
    train = sorted(
        (row for row in rows if (row["corpus"], row["split"]) == ("an4", "train")), key=lambda row: row["path"]
    )
    kept, seconds = [], 0.0
    for row in rng.sample(train, len(train)):
        if seconds + float(row["seconds"]) <= 60 * minutes:
            kept.append(row)
            seconds += float(row["seconds"])
    return [
        {**row, "label": ""} for row in kept + [row for row in rows if (row["corpus"], row["split"]) == ("an4", "test")]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0, help="of transcribed speech to train on")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows = manifests.rows(args.data / "manifest.csv", needed=(*manifests.COLUMNS, "seconds", "text"))
    rng = random.Random(args.seed)
    found = {"words": words(rows, rng), "sounds": sounds(rows), "letters": letters(rows, args.minutes, rng)}
    found["normal"], found["anomalies"] = states(rows)
    args.output.mkdir(parents=True, exist_ok=True)
    for name, kept in found.items():
        if not kept:
            raise InputError(f"{args.data / 'manifest.csv'} has no recordings for {name}; see --help for the corpora")
        with (args.output / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            columns = ["path", *(name for name in COLUMNS if any(row[name] for row in kept))]
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows({**row, "path": str((args.data / row["path"]).resolve())} for row in kept)
        print(f"{args.output / name}.csv  {len(kept)} recordings")


if __name__ == "__main__":
    errors.run_recipe(main)
