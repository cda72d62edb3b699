"""Train the objectives that need no transcripts on one equal budget and measure them side by side.

HuBERT on clusters of MFCC, HuBERT on clusters of that run's best block, DinoSR, and ``distil`` of a teacher, with
``--runs`` also ``contrast``, ``data2vec`` and ``data2vec2`` (``--partly``): the same network, steps, batches and seed.
Then ``evaluate.py`` on both sets of speakers, with MFCC and the untrained network beside them, and with ``--phones`` a
short supervised stage from random weights and from each of the runs.

    python recipes/ssl_pretraining/compare.py cache alignments.jsonl --work work/compare --steps 360 --batch-seconds 20

What is there already is not made again: the same command goes on where it was stopped. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from speechssl import errors

HERE = Path(__file__).parent
SETS = {"librispeech-dev": "librispeech:dev", "arctic-test": "cmu_arctic:test,rhasspy_kathleen:test"}
SMALL = ["--codebooks", "2", "--codes", "4", "--fit-frames", "400"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("alignments", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for units, runs and results")
    parser.add_argument("--runs", default="hubert1,hubert2,dinosr,distil")
    parser.add_argument("--teacher", default="tiny", help="of distil; see quantise.py")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--decay", type=float, default=0.4)
    parser.add_argument("--batch-seconds", type=float, default=40.0)
    parser.add_argument("--phones", type=int, default=0, help="steps of the supervised stage; 0 for none")
    parser.add_argument("--hours", default="inf", help="of recordings that get units and indexes; see cluster.py")
    parser.add_argument("--clusters", default="100,200", help="of the first and the second HuBERT run")
    parser.add_argument("--sets", default=json.dumps(SETS), help="name to speakers of evaluate.py, JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--toy", action="store_true", help="very small networks, for six steps")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    names = args.runs.split(",")
    for name in names:
        train(args, name, targets(args, name), args.steps)
    if args.phones:
        aligned = ["--alignments", args.alignments]
        for name in ("scratch", *names):
            start = [] if name == "scratch" else ["--init", args.work / name]
            train(args, f"phones-{name}", ["--objective", "phones", *aligned, *start], args.phones)
        names += [f"phones-{name}" for name in ("scratch", *names)]
    print(table(args, names))


def targets(args: argparse.Namespace, name: str) -> list[Any]:
    """Make what a run learns, if it is not there; returns the options of train.py."""
    common = ["--hours", args.hours, "--seed", args.seed, "--threads", args.threads]
    if name.startswith("hubert"):
        number = int(name.removeprefix("hubert")) - 1
        units, k = args.work / f"units{number}.npy", args.clusters.split(",")[number]
        run = ["--run", args.work / f"hubert{number}"] if number else []
        once(units, "cluster.py", args.cache, *run, "--k", k, *common, "--output", units)
        return ["--objective", "hubert", "--units", units]
    if name == "distil":
        indexes = args.work / "indexes.npy"
        more = [*common, *(SMALL if args.toy else [])]
        once(indexes, "quantise.py", args.cache, args.teacher, *more, "--output", indexes)
        return ["--objective", "distil", "--indexes", indexes]
    return ["--objective", "data2vec", "--partly"] if name == "data2vec2" else ["--objective", name]


def train(args: argparse.Namespace, name: str, options: list[Any], steps: int) -> None:
    """A run, or the rest of it."""
    run, state = args.work / name, args.work / name / "last" / "state.json"
    if state.exists() and json.loads(state.read_text())["step"] >= (6 if args.toy else steps):
        return
    schedule = ["--steps", steps, "--decay", args.decay, "--batch-seconds", args.batch_seconds]
    machine = ["--seed", args.seed, "--device", args.device, "--threads", args.threads]
    call("train.py", args.cache, *options, "--run", run, *schedule, *machine, *(["--toy"] if args.toy else []))


def table(args: argparse.Namespace, names: list[str]) -> str:
    """Measures of every run's best block (by neighbours across speakers on the first set)."""
    sets = json.loads(args.sets)
    reports: dict[str, dict[str, Any]] = {}
    for name in ("floors", *names):
        for which, speakers in sets.items():
            output = args.work / f"{name}-{which}.json"
            run = ["--floors"] if name == "floors" else [args.work / name]
            more = ["--speakers", speakers, "--threads", args.threads, "--output", output]
            once(output, "evaluate.py", args.cache, args.alignments, *run, *more)
            reports.setdefault(name, {})[which] = json.loads(output.read_text())
    floors = reports.pop("floors")
    rows = [line("MFCC + deltas", [floors[which]["mfcc"] for which in sets])]
    layers = {"untrained": {which: floors[which]["untrained"] for which in sets}}
    layers |= {name: {which: report[which]["trained"] for which in sets} for name, report in reports.items()}
    for name, by_set in layers.items():
        first = by_set[next(iter(sets))]
        best = max(first, key=lambda block: first[block]["across"])
        rows.append(line(f"{name}, block {best}", [by_set[which][best] for which in sets]))
    heads = [f"{which}, {what}" for which in sets for what in ("across", "within", "ABX", "RankMe")]
    return "\n".join(["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|", *rows])


def line(name: str, measures: list[dict[str, float | None]]) -> str:
    """A row of the table."""
    cells = []
    for one in measures:
        shares = (one[key] for key in ("across", "within", "abx"))
        cells += [*("-" if share is None else f"{100 * share:.1f} %" for share in shares), f"{one['rank_me']:.0f}"]
    return f"| {name} | " + " | ".join(cells) + " |"


def once(output: Path, script: str, *options: Any) -> None:
    """Call a script unless what it makes is there."""
    if not output.exists():
        call(script, *options)


def call(script: str, *options: Any) -> None:
    """Run a script of this folder; its output goes where ours goes."""
    done = subprocess.run([sys.executable, str(HERE / script), *map(str, options)], check=False)
    if done.returncode:
        raise SystemExit(f"{script} ended with {done.returncode}; the same command goes on from here")


if __name__ == "__main__":
    errors.run_recipe(main)
