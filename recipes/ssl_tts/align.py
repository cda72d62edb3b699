"""Read the transcripts of a cache aloud in phones, and find which frames belong to each: monotonic alignment search.

Writes ``aligned.json`` into the cache: the symbols, and of each utterance the tokens, stresses and durations in frames.
``--check`` compares the borders of words with those of another aligner (``recipes/ssl_pretraining/align.py``);
``--plot`` draws one utterance.

    python recipes/ssl_tts/align.py cache --check alignments.jsonl --plot alignment.png
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from speechssl import errors
from speechssl.errors import InputError
from speechssl.synthesis.front_end import BORDERS, START, FrontEnd, Tokens, tokens
from speechssl.training import alignment

BORDER_SYMBOLS = {START, *BORDERS}


def read_aloud(front_end: FrontEnd, text: str) -> Tokens:
    """Tokens of a transcript, which may be several sentences: one recording all the same.

    Raises:
        InputError: it holds no words.
    """
    words = [word for sentence in front_end.sentences(text) for word in sentence]
    return tokens(words)


def symbol_table(all_tokens: list[Tokens]) -> list[str]:
    """Borders first, then the phones from the most frequent on."""
    counts = Counter(symbol for one in all_tokens for symbol in one.symbols if symbol not in BORDER_SYMBOLS)
    return [START, *BORDERS, *sorted(counts, key=lambda symbol: (-counts[symbol], symbol))]


def search_kinds(symbols: list[str]) -> tuple[list[int], np.ndarray]:
    """For the search all borders are one kind, silence; returns the kind of each symbol, and which may be skipped."""
    kinds = [0 if symbol in BORDER_SYMBOLS else number - len(BORDERS) for number, symbol in enumerate(symbols)]
    optional = np.zeros(max(kinds) + 1, bool)
    optional[0] = True
    return kinds, optional


def check(path: Path, aligned: list[dict[str, Any]], symbols: list[str], frame_rate: float) -> dict[str, float]:
    """How far the starts of speech sounds are from the nearest phone border of another alignment, in ms.

    Only utterances with as many phones in both are compared, phone by phone.
    """
    other = {item["path"].rpartition("/")[2]: item["segments"] for item in map(json.loads, path.open())}
    gaps: list[float] = []
    compared = 0
    for one in aligned:
        theirs = [s[1] * 0.01 for s in other.get(one["path"].rpartition("/")[2], ()) if s[0] != "SIL"]
        ends = np.cumsum(one["durations"]) / frame_rate
        ours = [
            end - lasts / frame_rate
            for token, end, lasts in zip(one["tokens"], ends, one["durations"], strict=True)
            if symbols[token] not in BORDER_SYMBOLS
        ]
        if len(theirs) == len(ours) > 0:
            compared += 1
            # frames of 20 ms are centred on 12.5 ms: a border lies 2.5 ms after the frame's number says
            gaps += list(np.array(ours) + 0.0025 - np.array(theirs))
    size = np.abs(gaps) * 1000
    return {
        "utterances": compared,
        "phones": len(gaps),
        "median_ms": round(float(np.median(size)), 1),
        "within_20_ms": round(float((size <= 20).mean()), 3),
        "within_50_ms": round(float((size <= 50).mean()), 3),
        "bias_ms": round(float(np.median(gaps)) * 1000, 1),
    }


def plot(path: Path, one: dict[str, Any], keys: np.ndarray, symbols: list[str], frame_rate: float) -> None:
    """Keys (normalised), and the path of the search through them."""
    errors.require_for_recipe("matplotlib")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    durations = np.array(one["durations"])
    figure, (top, bottom) = pyplot.subplots(2, 1, figsize=(12, 8), sharex=True)
    span = (0, len(keys) / frame_rate)
    frames = keys.astype(np.float32).T
    top.imshow(
        frames - frames.mean(axis=1, keepdims=True),
        aspect="auto",
        origin="lower",
        extent=(*span, 0, len(frames)),
        vmin=-2,
        vmax=2,
    )
    top.set(ylabel="key", title=one["text"])
    path_matrix = np.repeat(np.eye(len(durations)), durations, axis=1)
    bottom.imshow(
        path_matrix,
        aspect="auto",
        origin="lower",
        cmap="Greys",
        extent=(*span, -0.5, len(durations) - 0.5),
        interpolation="nearest",
    )
    bottom.set(xlabel="seconds", yticks=range(len(durations)))
    bottom.set_yticklabels([symbols[token] for token in one["tokens"]], fontsize=6)
    for edge in np.cumsum(durations) / frame_rate:
        top.axvline(edge, color="white", linewidth=0.4)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    # a picture of few colours is a quarter of the size
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--check", type=Path, default=None)
    parser.add_argument("--plot", type=Path, default=None)
    parser.add_argument("--plot-utterance", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=12)
    args = parser.parse_args()
    index = json.loads((args.cache / "index.json").read_text())
    keys = np.load(args.cache / "keys.npy", mmap_mode="r")
    front_end = FrontEnd(index["language"])
    rows, read, skipped = [], [], []
    for row in index["utterances"]:
        try:
            one = read_aloud(front_end, row["text"])
        except InputError as error:
            skipped.append({"path": row["path"], "reason": str(error)})
            continue
        sounds = sum(symbol not in BORDER_SYMBOLS for symbol in one.symbols)
        if sounds > row["frames"]:
            skipped.append({"path": row["path"], "reason": f"{sounds} sounds in {row['frames']} frames"})
            continue
        rows.append(row)
        read.append(one)
    symbols = symbol_table(read)
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    kinds, optional = search_kinds(symbols)
    durations = alignment.align(
        [keys[row["start"] : row["start"] + row["frames"]] for row in rows],
        [np.array([kinds[numbers[symbol]] for symbol in one.symbols]) for one in read],
        optional, kinds=len(optional), iterations=args.iterations,
    )  # fmt: skip
    aligned = [
        {
            **row,
            "tokens": [numbers[symbol] for symbol in one.symbols],
            "stresses": list(one.stresses),
            "durations": lasts.tolist(),
        }
        for row, one, lasts in zip(rows, read, durations, strict=True)
    ]
    facts = {key: index[key] for key in ("origin", "frame_rate", "language")}
    (args.cache / "aligned.json").write_text(
        json.dumps({**facts, "symbols": symbols, "utterances": aligned, "skipped": skipped})
    )
    print(json.dumps({"utterances": len(aligned), "skipped": len(skipped), "symbols": len(symbols)}))
    if args.check:
        print(json.dumps(check(args.check, aligned, symbols, index["frame_rate"])))
    if args.plot:
        one = aligned[args.plot_utterance]
        plot(args.plot, one, keys[one["start"] : one["start"] + one["frames"]], symbols, index["frame_rate"])


if __name__ == "__main__":
    errors.run_recipe(main)
