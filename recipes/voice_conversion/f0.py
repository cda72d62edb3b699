"""The F0 tracker against CREPE, on recordings as they are and with the hum of the mains laid over them.

    python recipes/voice_conversion/f0.py --manifest manifest.csv --judge JUDGE

``JUDGE`` is the folder of the judges, in whose environment torchcrepe is. CREPE hears the recordings without the hum.
Frames count where CREPE is sure (periodicity above 0.5); where it is below 0.12, nothing is voiced for certain.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from speechssl import audio, errors
from speechssl.audio import f0_tracker
from speechssl.training import manifests

RATE, HOP = 16_000, 160
SECONDS = 8.0
SURE, NOTHING = 0.5, 0.12  # CREPE's periodicity
FAR = 0.25  # octaves: a gross error
SPEAKERS = {("librispeech", "train"): 70, ("an4", "train"): 25, ("librispeech", "dev"): 6}
OTHERS, DEV_FILES = 4, 3  # speakers of each other corpus and split; recordings of a LibriSpeech dev speaker
HUMS = ((60, 15.0), (50, 8.0), (60, 0.0))  # Hz, and dB below the recording
OVERTONES = ((1, 1.0), (2, 0.5), (3, 0.3), (5, 0.1))  # of the hum, and their amplitudes
CREPE = """
import sys, types
for name in ("torchaudio", "resampy"):
    sys.modules.setdefault(name, types.ModuleType(name))
import numpy as np, torch, torchcrepe
torch.set_num_threads(1)
given, found = dict(np.load(sys.argv[1])), {}
for name, samples in given.items():
    f0, sure = torchcrepe.predict(torch.from_numpy(samples)[None], 16000, 160, 50, 550, "tiny", batch_size=512,
        device="cpu", return_periodicity=True, decoder=torchcrepe.decode.viterbi)
    found[name] = np.stack([f0[0].numpy(), torchcrepe.filter.median(sure, 3)[0].numpy()])
    print(name, flush=True)
np.savez(sys.argv[2], **found)
"""


def chosen(manifest: Path) -> list[dict[str, str]]:
    """One recording a speaker (three of a LibriSpeech dev speaker), in an order that hashes decide."""
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = defaultdict(list)
    corpora = ("librispeech", "an4", "cmu_arctic", "rhasspy_kerstin", "rhasspy_kathleen")
    listed = manifests.chosen(manifest, corpora, ("train", "dev"), needed=(*manifests.COLUMNS, "seconds"))
    for row in sorted(listed, key=lambda row: zlib.crc32(row["path"].encode())):
        if float(row["seconds"]) > 2:
            groups[row["corpus"], row["speaker"], row["split"]].append(row)
    used: Counter[tuple[str, str]] = Counter()
    kept = []
    for (corpus, _, split), rows in sorted(groups.items(), key=lambda item: zlib.crc32(str(item[0]).encode())):
        if used[corpus, split] < SPEAKERS.get((corpus, split), OTHERS):
            used[corpus, split] += 1
            kept += rows[: DEV_FILES if (corpus, split) == ("librispeech", "dev") else 1]
    return kept


def crepe(judge: Path, sounds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """(2, F) Hz and periodicity every 10 ms of each sound, from the judges' environment."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        np.savez(given, **sounds)
        command = [judge / "venv/bin/python", "-c", CREPE, given, found]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            if process.stdout is None:
                raise SystemExit("no output of CREPE")
            for _ in track(process.stdout, description="CREPE", total=len(sounds)):
                pass
        if process.returncode:
            raise SystemExit(f"CREPE failed with {process.returncode}")
        return dict(np.load(found))


def with_hum(samples: np.ndarray, hertz: float, below: float) -> np.ndarray:
    """Mains of ``hertz`` with overtones, ``below`` dB under the sound."""
    phase = 2 * np.pi * hertz * np.arange(len(samples)) / RATE
    hum = sum(height * np.sin(number * phase + number) for number, height in OVERTONES)
    level = np.sqrt(np.mean(samples**2) / np.mean(hum**2)) * 10 ** (-below / 20)
    return np.asarray(samples + level * hum)


def compare(
    sounds: dict[str, np.ndarray], truth: dict[str, np.ndarray], change: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Any]:
    """Shares of frames in error, and recordings whose median is more than ``FAR`` off."""
    both = gross = sure = missed = nothing = false = far = 0
    for name, samples in sounds.items():
        hertz, periodicity = truth[name]
        found = f0_tracker.track(change(samples.astype(np.float64)), np.arange(len(hertz)) * HOP / RATE)
        voiced, certain, none = found > 0, periodicity > SURE, periodicity < NOTHING
        shared = voiced & certain
        gap = np.abs(np.log2(np.where(shared, found, 1) / np.where(shared, hertz, 1)))
        both, gross = both + shared.sum(), gross + (gap > FAR).sum()
        sure, missed = sure + certain.sum(), missed + (certain & ~voiced).sum()
        nothing, false = nothing + none.sum(), false + (none & voiced).sum()
        far += shared.any() and abs(np.log2(np.median(found[voiced]) / np.median(hertz[certain]))) > FAR
    return {
        "gross": 100 * gross / max(1, both),
        "missed": 100 * missed / max(1, sure),
        "false": 100 * false / max(1, nothing),
        "medians": f"{far} of {len(sounds)}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    args = parser.parse_args()
    paths = [args.manifest.parent / row["path"] for row in chosen(args.manifest)]
    sounds = {
        str(number): audio.read_mono(path, RATE).samples.numpy()[: round(SECONDS * RATE)]
        for number, path in enumerate(paths)
    }
    truth = crepe(args.judge, sounds)
    print("| | gross errors | voiced frames missed | noise called voiced | medians far off |\n|---|---|---|---|---|")
    changes = {"as recorded": lambda samples: samples}
    for hertz, below in HUMS:
        label = f"{hertz} Hz hum, {below:g} dB below"
        changes[label] = lambda samples, hertz=hertz, below=below: with_hum(samples, hertz, below)
    for label, change in changes.items():
        row = compare(sounds, truth, change)
        shares = " | ".join(f"{row[name]:.2f} %" for name in ("gross", "missed", "false"))
        print(f"| {label} | {shares} | {row['medians']} |", flush=True)


if __name__ == "__main__":
    errors.run_recipe(main)
