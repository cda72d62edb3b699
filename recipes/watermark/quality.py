"""What the watermark costs the sound, by judges that are no part of this project: DNSMOS and DistillMOS.

    python recipes/watermark/quality.py --speech DIR --judge JUDGE --count 24 --output recipes/watermark/quality.json

``DIR`` holds recordings of speech, of which half are converted to another voice first, as the front end does. ``JUDGE``
is a folder with ``judge.py`` and its own environment ``venv`` (see the recipe of voice conversion). The differences are
paired: the same recording with the mark and without it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import tempfile
from pathlib import Path

import torch

import speechssl
from speechssl import audio, errors
from speechssl.receipts import watermark

NAMES = {"ovrl": "DNSMOS overall", "sig": "DNSMOS signal", "bak": "DNSMOS background", "distillmos": "DistillMOS"}
Item = dict[str, object]


def pairs(speech: Path, count: int, seconds: float, folder: Path) -> list[Item]:
    """Write every recording with and without the mark; what the judge is asked about, the two one after the other."""
    files = sorted(path for path in speech.rglob("*") if path.suffix.lower() in audio.SUFFIXES)
    random.Random(1).shuffle(files)
    system = speechssl.load_bundle("tiny")
    voices = [system.matching_set([speechssl.clip(name).path], name=name) for name in ("ada", "eric", "dan")]
    items: list[Item] = []
    for number, path in enumerate(files[:count]):
        one = audio.read(path).first(seconds)
        kind = "real" if number % 2 else "converted"
        if kind == "converted":
            one = system.convert(one, voices[number // 2 % 3]).waveform
        for name, waveform in (("without", one), ("with", watermark.mark(one))):
            place = folder / f"{number:03d}-{name}.wav"
            audio.write(place, waveform)
            items.append({"id": f"{kind}-{number}-{name}", "converted": str(place), "source": str(place),
                          "target_refs": []})  # fmt: skip
    return items


def scored(judge: Path, items: list[Item], folder: Path) -> list[dict[str, object]]:
    """What the judge says of each, in order."""
    asked, answered = folder / "items.jsonl", folder / "scored.jsonl"
    asked.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    command = [str(judge / "venv" / "bin" / "python"), str(judge / "judge.py"), "vc", str(asked), "--only", "quality"]
    subprocess.run([*command, "--out", str(answered)], check=True, capture_output=True)
    found = {one["id"]: one for one in map(json.loads, answered.read_text(encoding="utf-8").splitlines())}
    return [found[item["id"]] for item in items]


def differences(results: list[dict[str, object]], kind: str) -> dict[str, dict[str, float]]:
    """By judge: means without and with the mark, their paired difference, and half its 95 % interval."""
    chosen = [one for one in results if str(one["id"]).startswith(kind)]
    found = {}
    for key, name in NAMES.items():
        without, with_ = (torch.tensor([float(str(one[key])) for one in chosen[start::2]]) for start in (0, 1))
        change = with_ - without
        found[name] = {
            "without": float(without.mean()),
            "with": float(with_.mean()),
            "difference": float(change.mean()),
            "half_interval": 1.96 * float(change.std()) / math.sqrt(len(change)),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        results = scored(args.judge, pairs(args.speech, args.count, args.seconds, Path(name)), Path(name))
    table = {"recordings": args.count, **{kind: differences(results, kind) for kind in ("real", "converted")}}
    args.output.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(table, indent=2))


if __name__ == "__main__":
    errors.run_recipe(main)
