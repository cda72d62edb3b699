"""Speak unseen sentences in unseen voices, and ask independent judges what they hear.

    python recipes/ssl_tts/evaluate.py MANIFEST.csv --output runs/tts_eval --judge JUDGE [--only words,hard,morph,speed]

``words``: sentences of the ``test`` split of the training speaker's corpus, each in one of the LibriSpeech ``dev``
voices (references of about 40 s; others of the speaker are kept for the judges). ``own``: the same sentences in the
training speaker's voice. ``retrieval``: with and without it, see ``smoothing.py``. ``morph``: a few sentences at five
interpolations. ``hard``: see ``hard_words.py``. ``speed``: seconds to the first sentence, and of speech a second.
Nothing that is measured was trained on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import hard_words
import numpy as np
import smoothing

from speechssl import audio, errors
from speechssl.conversion.bundles import load_bundle
from speechssl.synthesis.say import SYNTHESIZER, load_synthesizer
from speechssl.synthesis.synthesizer import Synthesizer
from speechssl.training import manifests

REFERENCE_SECONDS = 40.0
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def rows_of(manifest: Path, corpus: str, split: str) -> list[dict[str, str]]:
    """Rows of a corpus and split, paths absolute."""
    rows = manifests.chosen(manifest, [corpus], [split])
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


def make_jobs(args: argparse.Namespace, count: int, **options: Any) -> list[dict[str, Any]]:
    """For each sentence what it is, whose voice in turn is wanted, and what the judges compare it with."""
    targets = make_targets(args.manifest, args.targets)
    names = sorted(targets)
    own = [row["path"] for row in rows_of(args.manifest, args.corpus, "dev")[:6]]
    return [
        {
            "id": f"s{i:03}", "text": row["text"], "target": names[i % len(names)], "source": row["path"],
            "target_refs": targets[names[i % len(names)]][1], "source_refs": own, **options,
        }
        for i, row in enumerate(sentences(args.manifest, args.corpus, count))
    ]  # fmt: skip


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
    jobs = speak_all(made, voices, make_jobs(args, args.sentences), args.output / "words")
    result = judged(args.judge, jobs, args.judges, args.output / "words")
    real = [{**job, "id": f"real{i}", "converted": job["source"]} for i, job in enumerate(jobs)]
    result["real"] = judged(args.judge, real, "quality", args.output / "real")
    # what the targets themselves sound like: another room, another microphone
    target = [{**job, "id": f"target{i}", "converted": job["target_refs"][0]} for i, job in enumerate(jobs)]
    result["targets"] = judged(args.judge, target, "quality", args.output / "targets")
    return result


def own(args: argparse.Namespace, made: Synthesizer, voices: dict[str, Any]) -> dict[str, Any]:
    """As ``words``, in the training speaker's own voice; other recordings of the speaker are the target's."""
    jobs = make_jobs(args, args.sentences, interpolation=0.0)
    jobs = [{**job, "target_refs": job["source_refs"]} for job in jobs]
    speak_all(made, voices, jobs, args.output / "own")
    return judged(args.judge, jobs, args.judges, args.output / "own")


def retrieval(args: argparse.Namespace, made: Synthesizer, voices: dict[str, Any]) -> dict[str, Any]:
    """With retrieval, without it, and with the keys of real recordings."""
    rows = sentences(args.manifest, args.corpus, args.retrieval_sentences)
    folder = args.output / "retrieval"
    folder.mkdir(parents=True, exist_ok=True)
    jobs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in smoothing.ARMS}

    def write(arm: str, number: int, waveform: Any) -> None:
        path = folder / f"{arm}{number:03}.wav"
        audio.write(path, waveform)
        job = {"id": path.stem, "text": rows[number]["text"], "source": rows[number]["path"], "target_refs": []}
        jobs[arm].append({**job, "converted": str(path.resolve())})

    ratios = smoothing.compare(made, rows, write)
    only = ",".join(name for name in args.judges.split(",") if name != "speaker")
    return {
        arm: {"variance": ratios[arm], **judged(args.judge, jobs[arm], only, folder / arm)} for arm in smoothing.ARMS
    }


def morph(args: argparse.Namespace, made: Synthesizer, voices: dict[str, Any]) -> dict[str, Any]:
    """Similarity to target and to the training speaker at five interpolations."""
    jobs = [
        {**job, "id": f"{job['id']}-{share}"}
        for share in SHARES
        for job in make_jobs(args, args.morph_sentences, interpolation=share)
    ]
    speak_all(made, voices, jobs, args.output / "morph")
    judged(args.judge, jobs, "speaker", args.output / "morph")
    scores = [json.loads(line) for line in (args.output / "morph" / "scored.jsonl").read_text().splitlines()]
    metrics = ("ge2e_tgt", "ge2e_srcref", "dvec_tgt", "dvec_srcref")
    return {
        str(share): {
            name: round(float(np.mean([one[name] for one in scores if one["id"].endswith(f"-{share}")])), 3)
            for name in metrics
        }
        for share in SHARES
    }


def hard(args: argparse.Namespace, made: Synthesizer, voices: dict[str, Any]) -> dict[str, Any]:
    """Share of words that forced alignment does not find where they were meant to be."""
    return hard_words.score(made, voices, args.hard_sentences)


def speed(args: argparse.Namespace, made: Synthesizer, voices: dict[str, Any]) -> dict[str, Any]:
    """Seconds until the first sentence is there, and seconds of speech a second, once loaded."""
    import torch

    torch.set_num_threads(args.threads)
    text = " ".join(hard_words.hard_sentences(12, seed=5))
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


PARTS = {"words": words, "own": own, "retrieval": retrieval, "hard": hard, "morph": morph, "speed": speed}


def weights(args: argparse.Namespace) -> dict[str, str]:
    """First digits of the SHA-256 of the text model and the vocoder that were measured."""
    vocoder = Path(args.vocoder or SYNTHESIZER.with_name("vocoder.safetensors"))
    files = {"synthesizer": args.synthesizer, "vocoder": vocoder}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else str(path)
        for name, path in files.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--judge", type=Path, default=None)
    parser.add_argument("--synthesizer", type=Path, default=SYNTHESIZER)
    parser.add_argument("--vocoder", default=None, help="instead of the bundle's own: world, or a file")
    parser.add_argument("--corpus", default="rhasspy_kathleen")
    parser.add_argument("--only", default="words,retrieval,hard,morph,speed", help=", ".join(PARTS))
    parser.add_argument(
        "--judges", default="speaker,sphinx,quality", help="phone where no recogniser knows the language"
    )
    parser.add_argument("--targets", type=int, default=6, help="voices, of six")
    parser.add_argument("--sentences", type=int, default=50)
    parser.add_argument("--retrieval-sentences", type=int, default=16)
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
    for name in args.only.split(","):
        result = {"weights": weights(args), **PARTS[name](args, made, voices)}
        (args.output / f"{name}.json").write_text(json.dumps(result, indent=1))
        print(name, json.dumps(result), flush=True)


if __name__ == "__main__":
    errors.run_recipe(main)
