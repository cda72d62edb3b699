"""Speak unseen sentences in unseen voices, and ask independent judges what they hear.

    python recipes/ssl_tts/evaluate.py MANIFEST.csv --output runs/tts_eval --judge JUDGE [--only words,hard,morph,speed]

``words``: sentences of the ``test`` split of the training speaker's corpus, each in one of the LibriSpeech ``dev``
voices (references of about 40 s; others of the speaker are kept for the judges). ``morph``: a few sentences at five
interpolations. ``hard``: numbers, names, repeated words and sentences of 60 words, force-aligned by pocketsphinx: a
word counts as wrong if the aligner finds it elsewhere than where it was meant to be, or much shorter. ``speed``:
seconds to the first sentence, and of speech a second. Nothing that is measured was trained on.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from speechssl import audio, load_bundle
from speechssl.speaking import SYNTHESIZER, load_synthesizer
from speechssl.synthesis.synthesizer import Synthesizer

REFERENCE_SECONDS = 40.0
NAMES = (
    "Priya", "Okonkwo", "Siobhan", "Nguyen", "Xavier", "Bartholomew", "Anastasia", "Rodriguez", "Worcester",
    "Llewellyn", "Kowalski", "Tchaikovsky",
)  # fmt: skip
NOUNS = (
    "river", "engine", "garden", "letter", "captain", "window", "market", "mountain", "doctor", "harbor", "ticket",
    "violin",
)  # fmt: skip
ADJECTIVES = (
    "quiet", "heavy", "narrow", "distant", "golden", "broken", "early", "bitter", "curious", "frozen",
)  # fmt: skip
TOLERANCE = 0.12  # seconds a word may begin from where it was meant to
SHORTEST = 0.4  # of the length it was meant to have


def rows_of(manifest: Path, corpus: str, split: str) -> list[dict[str, str]]:
    """Rows of a corpus and split, paths absolute."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["corpus"], row["split"]) == (corpus, split)]
    return [{**row, "path": str((manifest.parent / row["path"]).resolve())} for row in rows]


def make_targets(manifest: Path, count: int) -> dict[str, tuple[list[str], list[str]]]:
    """For each of the first LibriSpeech dev speakers the recordings of the voice, and three others for the judges."""
    by_speaker = defaultdict(list)
    for row in rows_of(manifest, "librispeech", "dev"):
        by_speaker[row["speaker"]].append(row)
    targets = {}
    for speaker, rows in sorted(by_speaker.items())[:count]:
        kept, seconds = [], 0.0
        rows = sorted(rows, key=lambda row: -float(row["seconds"]))
        for row in rows[3:]:
            if seconds < REFERENCE_SECONDS:
                kept.append(row["path"])
                seconds += float(row["seconds"])
        targets[speaker] = (kept, [row["path"] for row in rows[:3]])
    return targets


def sentences(manifest: Path, corpus: str, count: int) -> list[dict[str, str]]:
    """One recording of each of so many test sentences, spread over the split."""
    rows = {row["text"]: row for row in rows_of(manifest, corpus, "test")}
    chosen = list(rows.values())
    return chosen[:: max(1, len(chosen) // count)][:count]


def hard_sentences(count: int, seed: int = 0) -> list[str]:
    """Numbers, names, repeated words and sentences of about 60 words, in turn."""
    chance = random.Random(seed)

    def phrase() -> str:
        return f"the {chance.choice(ADJECTIVES)} {chance.choice(NOUNS)}"

    def numbers() -> str:
        year, money = chance.randint(1700, 2030), chance.randint(2, 9999) / 100
        return (
            f"In {year} {phrase()} cost ${money:.2f}, or {chance.randint(2, 99)}% of {chance.randint(1000, 99999):,}."
        )

    def names() -> str:
        one, two, three = chance.sample(NAMES, 3)
        return f"{one} {two} met Dr. {three} at 4:{chance.randint(10, 59)} pm near {phrase()}."

    def repeated() -> str:
        word = chance.choice(ADJECTIVES)
        return f"It was {word}, {word}, {word} and {word} again, {phrase()}, {phrase()} and {phrase()}."

    def long() -> str:
        parts = [f"{phrase()} beside {phrase()} was {chance.choice(ADJECTIVES)}" for _ in range(7)]
        return ", and ".join(parts).capitalize() + "."

    kinds = (numbers, names, repeated, long)
    return [kinds[i % len(kinds)]() for i in range(count)]


def speak_all(
    made: Synthesizer, voices: dict[str, Any], jobs: list[dict[str, Any]], folder: Path
) -> list[dict[str, Any]]:
    """Write the sound of each job (``id``, ``text``, ``target``, options) unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        path = folder / f"{job['id']}.wav"
        job["converted"] = str(path.resolve())
        if not path.exists():
            spoken = made.say(job["text"], voices[job["target"]], interpolation=job.get("interpolation", 1.0))
            audio.write(path, spoken.waveform)
    return jobs


def judged(judge: Path, items: list[dict[str, Any]], only: str, folder: Path) -> dict[str, Any]:
    """What the judges in a folder set up by its own ``setup.sh`` say: metric -> mean, low, high."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    command = [judge / "venv" / "bin" / "python", judge / "judge.py", "vc", path, "--only", only]
    command += ["--out", folder / "scored.jsonl"]
    text = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    (folder / "judge.txt").write_text(text)
    result = {}
    for line in text.splitlines():
        name, *numbers = line.replace("[", " ").replace("]", " ").replace(",", " ").split()
        if numbers:
            result[name] = [float(one) for one in numbers if not one.startswith("n=")]
    return result


def words(args: argparse.Namespace, made: Synthesizer, voices: dict[str, Any]) -> dict[str, Any]:
    """Word errors, speaker and quality, against the real recordings of the same sentences."""
    targets = make_targets(args.manifest, args.targets)
    names = sorted(targets)
    rows = sentences(args.manifest, args.corpus, args.sentences)
    own = [row["path"] for row in rows_of(args.manifest, args.corpus, "dev")[:6]]
    jobs = [
        {
            "id": f"s{i:03}", "text": row["text"], "target": names[i % len(names)], "source": row["path"],
            "target_refs": targets[names[i % len(names)]][1], "source_refs": own,
        }
        for i, row in enumerate(rows)
    ]  # fmt: skip
    speak_all(made, voices, jobs, args.output / "words")
    result = judged(args.judge, jobs, args.judges, args.output / "words")
    real = [{**job, "id": f"real{i}", "converted": job["source"]} for i, job in enumerate(jobs)]
    result["real"] = judged(args.judge, real, "quality", args.output / "real")
    return result


def morph(args: argparse.Namespace, made: Synthesizer, voices: dict[str, Any]) -> dict[str, Any]:
    """Similarity to target and to the training speaker at five interpolations."""
    targets = make_targets(args.manifest, args.targets)
    names = sorted(targets)
    rows = sentences(args.manifest, args.corpus, args.morph_sentences)
    own = [row["path"] for row in rows_of(args.manifest, args.corpus, "dev")[:6]]
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    jobs = [
        {
            "id": f"m{i:03}-{share}", "text": row["text"], "target": names[i % len(names)], "interpolation": share,
            "source": row["path"], "target_refs": targets[names[i % len(names)]][1], "source_refs": own,
        }
        for share in shares
        for i, row in enumerate(rows)
    ]  # fmt: skip
    speak_all(made, voices, jobs, args.output / "morph")
    judged(args.judge, jobs, "speaker", args.output / "morph")
    scores = [json.loads(line) for line in (args.output / "morph" / "scored.jsonl").read_text().splitlines()]
    metrics = ("ge2e_tgt", "ge2e_srcref", "dvec_tgt", "dvec_srcref")
    return {
        str(share): {
            name: round(float(np.mean([one[name] for one in scores if one["id"].endswith(f"-{share}")])), 3)
            for name in metrics
        }
        for share in shares
    }


def hard(args: argparse.Namespace, made: Synthesizer, voices: dict[str, Any]) -> dict[str, Any]:
    """Share of words that forced alignment does not find where they were meant to be."""
    from pocketsphinx import Decoder

    names = sorted(voices)
    decoder = Decoder(lm=None, loglevel="FATAL", bestpath=False, cmn="batch", beam=1e-80, wbeam=1e-80, pbeam=1e-80)
    wrong = total = lost = 0
    examples = []
    for i, text in enumerate(hard_sentences(args.hard_sentences)):
        spoken = made.stream(text, voices[names[i % len(names)]], seed=i)
        for sentence, part in zip(made.front_end.sentences(text), spoken, strict=True):
            found = aligned(decoder, part.waveform.samples.numpy(), [word.word for word in sentence])
            meant = spans(part.prediction, len(sentence))
            total += len(sentence)
            if found is None:
                wrong, lost = wrong + len(sentence), lost + 1
                continue
            bad = [
                word.word
                for word, (start, end), (heard, ends) in zip(sentence, meant, found, strict=True)
                if abs(heard - start) > TOLERANCE or ends - heard < SHORTEST * (end - start)
            ]
            wrong += len(bad)
            if bad:
                examples.append({"text": text, "wrong": bad})
    return {"words": total, "wrong": round(wrong / total, 4), "not_aligned": lost, "examples": examples[:8]}


def spans(prediction: Any, words: int) -> list[tuple[float, float]]:
    """When each word was meant to begin and end, in seconds."""
    ends = prediction.times().tolist()
    times: list[list[float]] = [[] for _ in range(words)]
    for token, owner in enumerate(prediction.tokens.words):
        last = token + 1 == len(ends) or prediction.tokens.words[token + 1] != owner
        if owner >= 0 and not last:
            times[owner] += [ends[token - 1], ends[token]]
    return [(min(one), max(one)) for one in times]


def aligned(decoder: Any, samples: np.ndarray, words: list[str]) -> list[tuple[float, float]] | None:
    """When each word was heard, by pocketsphinx; None if the words do not fit the sound at all."""
    from align_words import pronounced

    for word in words:
        if decoder.lookup_word(word) is None:
            decoder.add_word(word, pronounced(word), True)
    raw = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    decoder.set_align_text(" ".join(words))
    decoder.start_utt()
    decoder.process_raw(raw, full_utt=True)
    decoder.end_utt()
    if decoder.hyp() is None:
        return None
    heard = [
        (part.start_frame / 100, (part.end_frame + 1) / 100)
        for part in decoder.seg()
        if not part.word.startswith(("<", "[", "+"))
    ]
    return heard if len(heard) == len(words) else None


def speed(args: argparse.Namespace, made: Synthesizer, voices: dict[str, Any]) -> dict[str, Any]:
    """Seconds until the first sentence is there, and seconds of speech a second, once loaded."""
    import torch

    torch.set_num_threads(args.threads)
    text = " ".join(hard_sentences(12, seed=5))
    voice = next(iter(voices.values()))
    made.say("Good morning.", voice)  # what is made once
    began = time.perf_counter()
    processor = time.process_time()
    first, length = 0.0, 0.0
    for part in made.stream("Good morning to you all. " + text, voice):
        first = first or time.perf_counter() - began
        length += part.waveform.seconds
    took, used = time.perf_counter() - began, time.process_time() - processor
    return {
        "first_sentence_s": round(first, 3),
        "real_time": round(length / took, 1),
        "processor_real_time": round(length / used, 1),
        "seconds": round(length, 1),
        "threads": args.threads,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--judge", type=Path, default=None)
    parser.add_argument("--synthesizer", type=Path, default=SYNTHESIZER)
    parser.add_argument("--vocoder", default=None, help="instead of the bundle's own: world, or a file")
    parser.add_argument("--corpus", default="rhasspy_kathleen")
    parser.add_argument("--only", default="words,hard,morph,speed")
    parser.add_argument("--judges", default="speaker,sphinx,quality")
    parser.add_argument("--targets", type=int, default=6, help="voices, of six")
    parser.add_argument("--sentences", type=int, default=50)
    parser.add_argument("--morph-sentences", type=int, default=12)
    parser.add_argument("--hard-sentences", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    made = load_synthesizer(args.synthesizer, system=load_bundle(vocoder=args.vocoder))
    args.output.mkdir(parents=True, exist_ok=True)
    voices = {
        name: made.system.matching_set(kept) for name, (kept, _) in make_targets(args.manifest, args.targets).items()
    }
    parts = {"words": words, "hard": hard, "morph": morph, "speed": speed}
    for name in args.only.split(","):
        result = parts[name](args, made, voices)
        (args.output / f"{name}.json").write_text(json.dumps(result, indent=1))
        print(name, json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
