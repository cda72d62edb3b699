"""How well the change of keys tells the tempo of speech: against the phones a second of forced alignments.

    python recipes/voice_conversion/tempo.py --root DATA --alignments alignments.jsonl

``alignments.jsonl`` is of ``recipes/ssl_pretraining/align.py``, its paths relative to ``DATA``. Only recordings of
three seconds and more are heard. Phones of pauses do not count, nor does their time.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from speechssl import audio, errors
from speechssl.conversion import bundles
from speechssl.voices import building, tempo

SHORTEST = 3.0  # seconds
STATE_RATE = 100.0  # Hz of the lengths in an alignment
SILENCE = "SIL"


def phones_per_second(segments: list[list[Any]]) -> float:
    """Of ``[phone, start, d1, d2, d3]``; 0 of silence."""
    spoken = [sum(lengths) for phone, _, *lengths in segments if phone != SILENCE]
    return len(spoken) * STATE_RATE / sum(spoken) if spoken else 0.0


def agreement(phones: np.ndarray, changes: np.ndarray) -> dict[str, float]:
    """Of logarithms: correlation, slope of what is measured over what is true, and the deviation of their ratio."""
    x, y = np.log(phones), np.log(changes)
    return {
        "recordings": len(x),
        "correlation": float(np.corrcoef(x, y)[0, 1]),
        "slope": float(np.polyfit(x, y, 1)[0]),
        "deviation": float((y - x).std()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--alignments", type=Path, required=True)
    parser.add_argument("--model", default="tiny")
    args = parser.parse_args()
    encoder = bundles.load_bundle(args.model).encoder
    lines = [json.loads(line) for line in args.alignments.read_text().splitlines()]
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    heard_lines = [line for line in lines if line["seconds"] >= SHORTEST]
    for line in track(heard_lines, description="tempo", console=Console(stderr=True)):
        phones = phones_per_second(line["segments"])
        heard = building.heard(args.root / line["path"], encoder)
        keys = encoder.encode(heard)
        found = tempo.measure(keys.frames, audio.speech_activity(heard), keys.frame_rate)
        if phones > 0 and found.change > 0:
            # corpus / speaker, as the folders are
            pairs["/".join(Path(line["path"]).parts[-3:-1])].append((phones, found.change))
    every = np.array([pair for rows in pairs.values() for pair in rows])
    print(json.dumps({"all": agreement(*every.T)}))
    ratio = float(np.exp(np.log(every[:, 1] / every[:, 0]).mean()))
    for speaker, rows in sorted(pairs.items()):
        phones, changes = np.array(rows).mean(0)
        print(json.dumps({speaker: len(rows), "phones a second": phones, "told": changes / ratio}))


if __name__ == "__main__":
    errors.run_recipe(main)
