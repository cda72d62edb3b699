"""Force-align the transcribed English speech of a manifest to phone states with pocketsphinx.

Reads a manifest (CSV with the columns path, text, language, split; audio paths relative to its folder) and writes one
JSON line an utterance: ``{"path", "seconds", "segments": [[phone, start, d1, d2, d3], ...]}``, where start and the
durations of the three HMM states are in frames of 10 ms, and silence is ``SIL``. Words the dictionary lacks are
spelled to phones by gruut's grapheme-to-phoneme model. Utterances that cannot be aligned go to ``OUTPUT.failed.jsonl``
with the reason. A run that was stopped goes on where it was.

    python recipes/ssl_pretraining/align.py MANIFEST.csv --output alignments.jsonl --workers 2
    python recipes/ssl_pretraining/align.py MANIFEST.csv --output alignments.jsonl --parts librispeech:train,an4:train
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from speechssl import errors
from speechssl.training import manifests
from speechssl.units.report import PHONES

UNKNOWN_STATE = 255
STATES_PER_PHONE = 3  # the topology of pocketsphinx's en-us model

# IPA as gruut writes it (stress marks removed) to the 39 phones of CMUdict
_IPA = {
    "æ": "AE", "ɑ": "AA", "ɔ": "AO", "ə": "AH", "ʌ": "AH", "ɚ": "ER", "ɝ": "ER", "ɛ": "EH", "ɪ": "IH", "i": "IY",
    "ʊ": "UH", "u": "UW", "eɪ": "EY", "aɪ": "AY", "aʊ": "AW", "oʊ": "OW", "ɔɪ": "OY", "b": "B", "t͡ʃ": "CH", "d": "D",
    "ð": "DH", "f": "F", "ɡ": "G", "g": "G", "h": "HH", "d͡ʒ": "JH", "k": "K", "l": "L", "m": "M", "n": "N", "ŋ": "NG",
    "p": "P", "ɹ": "R", "r": "R", "s": "S", "ʃ": "SH", "t": "T", "θ": "TH", "v": "V", "w": "W", "j": "Y", "z": "Z",
    "ʒ": "ZH", "ɾ": "T", "ᵻ": "IH", "ɐ": "AH", "o": "OW", "e": "EY", "a": "AA", "x": "K", "iː": "IY", "uː": "UW",
    "ɑː": "AA", "ɔː": "AO", "ɜː": "ER", "əl": "L", "n̩": "N", "l̩": "L",
}  # fmt: skip


def state_tracks(path: Path, index: list[dict[str, Any]]) -> np.ndarray:
    """States (F,) uint8 of every cached frame, phone * 3 + state, 255 where unknown; marks the aligned index rows.

    Args:
        path: alignments written by this script.
        index: rows with ``path``, ``start`` and ``frames`` in frames of 10 ms; gets ``aligned``.
    """
    alignments = {item["path"]: item["segments"] for item in map(json.loads, path.read_text().splitlines())}
    states = np.full(sum(row["frames"] for row in index), UNKNOWN_STATE, np.uint8)
    for row in index:
        row["aligned"] = row["path"] in alignments
        for phone, start, *durations in alignments.get(row["path"], ()):
            for state, duration in enumerate(durations):
                end = min(start + duration, row["frames"])
                states[row["start"] + start : row["start"] + end] = PHONES.index(phone) * STATES_PER_PHONE + state
                start += duration
    return states


def words_of(text: str) -> list[str]:
    """Lower-case words of a transcript, in the dictionary's spelling."""
    text = text.lower().replace("’", "'").replace("-", " ")
    text = re.sub(r"\b(mr)\.", "mister", text)
    text = re.sub(r"\b(mrs)\.", "missus", text)
    text = re.sub(r"\b(dr)\.", "doctor", text)
    return [word for word in re.sub(r"[^a-z' ]", " ", text).split() if word.strip("'")]


class Aligner:
    """Two passes of pocketsphinx: words within the transcript, then phone states within the words."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        # the best path through the lattice can give a phone one frame, which no three-state model can pass;
        # cmn=batch makes an alignment independent of what was aligned before
        self._decoder = Decoder(
            lm=None, loglevel="FATAL", bestpath=False, cmn="batch", beam=1e-80, wbeam=1e-80, pbeam=1e-80
        )

    def _pronounce(self, word: str) -> str:
        import gruut

        phones: list[str] = []
        for sentence in gruut.sentences(word, lang="en-us"):
            for token in sentence:
                for ipa in token.phonemes or []:
                    plain = ipa.strip("ˈˌ")
                    if plain in _IPA:
                        phones.append(_IPA[plain])
        if not phones:
            raise ValueError(f"no pronunciation for {word!r}")
        return " ".join(phones)

    def align(self, samples: np.ndarray, text: str) -> list[list[Any]]:
        """Align int16 samples (T,) at 16 kHz with their transcript.

        Returns:
            Segments ``[phone, start, d1, d2, d3]`` in frames of 10 ms.
        Raises:
            ValueError: no words, or the transcript does not fit the audio.
        """
        decoder, words = self._decoder, words_of(text)
        if not words:
            raise ValueError("no words in the transcript")
        for word in words:
            if decoder.lookup_word(word) is None:
                decoder.add_word(word, self._pronounce(word), True)
        raw = samples.astype("<i2").tobytes()
        decoder.set_align_text(" ".join(words))
        self._run(raw)
        if decoder.hyp() is None:
            raise ValueError("the transcript does not fit the audio")
        decoder.set_alignment()
        self._run(raw)
        alignment = decoder.get_alignment()
        if alignment is None:
            raise ValueError("no state alignment")
        segments = [
            ["SIL" if phone.name.startswith(("SIL", "+")) else phone.name, phone.start, *(s.duration for s in phone)]
            for word in alignment
            for phone in word
        ]
        if any(len(segment) != 2 + STATES_PER_PHONE for segment in segments):
            raise ValueError("unexpected state topology")
        return segments

    def _run(self, raw: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(raw, full_utt=True)
        self._decoder.end_utt()


_aligner: Aligner | None = None


def _align_row(root: Path, row: dict[str, str]) -> tuple[dict[str, str], dict[str, Any] | str]:
    global _aligner
    import soundfile

    _aligner = _aligner or Aligner()
    try:
        samples, sample_rate = soundfile.read(root / row["path"], dtype="int16", always_2d=True)
        if sample_rate != 16000:
            raise ValueError(f"{sample_rate} Hz; 16000 Hz needed")
        segments = _aligner.align(samples[:, 0], row["text"])
    except (ValueError, RuntimeError, OSError) as error:
        _aligner = None  # a failed pass may leave the decoder in the middle of an utterance
        return row, str(error)
    return row, {"path": row["path"], "seconds": round(len(samples) / sample_rate, 4), "segments": segments}


def _parts(rows: list[dict[str, str]], parts: str) -> list[dict[str, str]]:
    """The rows of the named corpus:split parts, in the order of the names; in a part the speakers take turns."""
    chosen: list[dict[str, str]] = []
    for part in parts.split(","):
        corpus, _, split = part.partition(":")
        found = [row for row in rows if row["corpus"] == corpus and row["split"] == split]
        if not found:
            raise SystemExit(f"--parts {part}: no transcribed utterance; written corpus:split, e.g. librispeech:train")
        turns: Counter[str] = Counter()
        order = []
        for row in found:
            order.append(turns[row["speaker"]])
            turns[row["speaker"]] += 1
        chosen += [row for _, row in sorted(zip(order, found, strict=True), key=lambda pair: pair[0])]
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--language", default="en")
    parser.add_argument("--parts", default=None, help="corpus:split, several with commas, aligned in this order")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=int, default=None, help="stop after this many utterances (for a trial)")
    args = parser.parse_args()
    errors.require_for_recipe("pocketsphinx", "gruut")
    failed = args.output.with_suffix(".failed.jsonl")
    done = {
        json.loads(line)["path"]
        for path in (args.output, failed)
        if path.exists()
        for line in path.read_text().splitlines()
    }
    spoken = [
        row
        for row in manifests.rows(args.manifest, needed=(*manifests.COLUMNS, "language", "text"))
        if row["language"] == args.language and row["text"]
    ]
    if args.parts:
        spoken = _parts(spoken, args.parts)
    if not spoken:
        raise SystemExit(f"{args.manifest}: no transcribed {args.language!r} speech in {args.parts or 'it'}")
    rows = [row for row in spoken if row["path"] not in done][: args.limit]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    from functools import partial

    from rich.progress import track

    counts = {"aligned": 0, "failed": 0}
    with ProcessPoolExecutor(args.workers) as pool, args.output.open("a") as good, failed.open("a") as bad:
        results = pool.map(partial(_align_row, args.manifest.parent), rows, chunksize=8)
        for row, result in track(results, total=len(rows), description="aligning"):
            if isinstance(result, str):
                bad.write(json.dumps({"path": row["path"], "reason": result}) + "\n")
                counts["failed"] += 1
            else:
                good.write(json.dumps(result) + "\n")
                good.flush()
                counts["aligned"] += 1
    print(json.dumps(counts))


if __name__ == "__main__":
    errors.run_recipe(main)
