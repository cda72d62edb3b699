"""Training batches from the waveform cache: a pure function of (cache, settings, seed, step), so a run resumes exactly.

The crops of a batch are equally long, so that nothing is padded, and of different speakers where there are enough. The
utterances of one speaker are laid end to end, so that a crop of any length can be had of everybody who spoke so much;
people who spoke for less than ten seconds are laid end to end with others of their corpus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from batches import read_index
from torch import Tensor
from waves import FRAME

from speechssl.training import distort
from speechssl.training.objectives.phones import IGNORE

# seconds, and how often a batch has crops between them
LENGTHS = ((1.5, 3.0, 0.12), (3.0, 8.0, 0.66), (8.0, 14.0, 0.14), (14.0, 22.0, 0.08))
FEW_WORDS, CROWD = 1000, 24000  # frames of 10 ms: who spoke less than 10 s joins a crowd of about four minutes
EVENNESS = 0.6  # a speaker is drawn in proportion to this power of what there is of them


@dataclass(frozen=True)
class Distortion:
    """Probabilities and strengths of what is done to a crop; all zero = nothing."""

    voice: float = 0.65  # probability of another pitch, formants and tempo, by resampling
    warp: float = 0.18  # its largest change, natural log
    clean: float = 0.34  # probability of nothing else but another level
    room: float = 0.6  # of the others: a room
    recorded: float = 0.3  # of the rooms: a measured one
    noise: float = 0.65  # background noise at 0 to 30 dB
    channel: float = 0.4  # another microphone's frequency response
    line: float = 0.4  # telephone, low-pass, Opus, MP3 or Vorbis
    clip: float = 0.03  # an overdriven recording
    gain: float = 30.0  # dB down to which the level falls


class WaveBatches:
    """Draws batches of distorted crops with their targets.

    Args:
        cache: folder written by ``waves.py``.
        tracks: targets by name, (F,) integers for every cached 10 ms frame, negative where unknown; utterances whose
            first track is known nowhere are not drawn.
        batch_seconds: audio per batch.
        distortion: what is done to crops.
        seed: of everything that is drawn.
    Raises:
        SystemExit: no utterance has targets.
    """

    def __init__(
        self,
        cache: Path,
        tracks: dict[str, np.ndarray],
        *,
        batch_seconds: float,
        distortion: Distortion,
        seed: int,
    ) -> None:
        index = read_index(cache)
        self._samples = np.load(cache / "samples.npy", mmap_mode="r")
        self._tracks, self._distortion, self._seed = tracks, distortion, seed
        leading = next(iter(tracks.values()))
        train = [row for row in index if row["split"] == "train"]
        rows = [row for row in train if not row["corpus"].startswith("noise")]
        rows = [row for row in rows if (leading[row["start"] : row["start"] + row["frames"]] >= 0).any()]
        if not rows:
            raise SystemExit(f"{cache}: no utterance of split 'train' has targets; does the manifest hold transcripts?")
        speakers: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for row in rows:
            speakers.setdefault((row["corpus"], row["speaker"]), []).append((row["start"], row["frames"]))
        self._speakers = [np.array(places, np.int64) for places in _crowded(speakers)]
        self._ends = [np.cumsum(places[:, 1]) for places in self._speakers]
        self._frames = np.array([ends[-1] for ends in self._ends])
        self._noise = np.array(
            [
                (row["start"], row["frames"])
                for row in train
                if row["corpus"].startswith("noise") and row["frames"] > 60
            ],
            np.int64,
        ).reshape(-1, 2)
        rooms = cache / "rooms.npz"
        self._rooms = list(np.load(rooms).values()) if rooms.exists() else []
        self._batch_seconds = batch_seconds

    @property
    def hours(self) -> float:
        """Speech with targets."""
        return float(self._frames.sum()) / 360000

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Batch of this step: ``input`` (B, 320 N + 80), every track (B, N) at 50 Hz, ``speaker`` (B,)."""
        rng = np.random.default_rng([self._seed, step])
        *_, shares = zip(*LENGTHS, strict=True)
        low, high, _ = LENGTHS[rng.choice(len(LENGTHS), p=np.array(shares) / sum(shares))]
        longest = self._frames.max() / 100 / math.exp(self._distortion.warp) - 0.05
        length = int(50 * min(rng.uniform(low, high), longest))
        size = max(2, round(self._batch_seconds * 50 / length))
        able = np.flatnonzero(self._frames >= (2 * length + 2) * math.exp(self._distortion.warp))
        weights = self._frames[able] ** EVENNESS
        who = rng.choice(able, size=size, replace=size > len(able), p=weights / weights.sum())
        crops = [self._crop(int(speaker), length, rng) for speaker in who]
        batch = {
            name: torch.from_numpy(np.stack([targets[name] for _, targets in crops]).astype(np.int64))
            for name in self._tracks
        }
        for targets in batch.values():
            targets[targets < 0] = IGNORE
        samples = torch.from_numpy(np.stack([samples for samples, _ in crops]))
        return batch | {"input": samples, "speaker": torch.from_numpy(who.astype(np.int64))}

    def _crop(self, speaker: int, length: int, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Samples (320 N + 80,) and targets (N,) of one crop."""
        strength = self._distortion
        factor = math.exp(rng.uniform(-strength.warp, strength.warp)) if rng.random() < strength.voice else 1.0
        wanted = 320 * length + 80
        span = round((2 * length + 1) * factor)  # 10 ms frames
        first = int(rng.integers(0, self._frames[speaker] - span + 1))
        places = self._places(speaker, first, span)
        samples = self._read(places)
        if factor == 1.0:
            samples = samples[:wanted]
        else:
            samples = distort.resampled(samples, (2 * length + 1) * FRAME)[:wanted]
        centres = np.minimum(np.rint(2 * np.arange(length) * factor).astype(np.int64), span - 1)
        targets = {name: track[places[centres]] for name, track in self._tracks.items()}
        return self._distorted(samples, rng), targets

    def _places(self, speaker: int, first: int, span: int) -> np.ndarray:
        """Cached frames (span,) from frame ``first`` of a speaker's utterances laid end to end."""
        frames = np.arange(first, first + span)
        which = np.searchsorted(self._ends[speaker], frames, side="right")
        starts, counts = self._speakers[speaker][which].T
        return starts + frames - (self._ends[speaker][which] - counts)

    def _read(self, places: np.ndarray) -> np.ndarray:
        """Samples (160 F,) float32 of cached frames."""
        return self._samples.reshape(-1, FRAME)[places].reshape(-1).astype(np.float32) / 32767

    def _distorted(self, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        strength = self._distortion
        if rng.random() >= strength.clean:
            if rng.random() < strength.room:
                samples = distort.in_room(samples, self._room(rng))
            if rng.random() < strength.noise:
                samples = distort.with_noise(samples, self._some_noise(len(samples), rng), rng.uniform(0, 30))
            if rng.random() < strength.channel:
                samples = distort.through_channel(samples, rng)
            if rng.random() < strength.line:
                samples = _through_some_line(samples, rng)
            if rng.random() < strength.clip:
                limit = np.abs(samples).max() * rng.uniform(0.2, 0.7)
                samples = np.clip(samples, -limit, limit)
        loudness = 10 ** (rng.uniform(-strength.gain, 0) / 20)
        peak = float(np.abs(samples).max())
        # from the level it has up to full scale, and down from there
        return (samples * (loudness * min(10.0, 0.95 / (peak + 1e-5)) if strength.gain else 1.0)).astype(np.float32)

    def _room(self, rng: np.random.Generator) -> np.ndarray:
        if self._rooms and rng.random() < self._distortion.recorded:
            chosen: np.ndarray = self._rooms[int(rng.integers(len(self._rooms)))]
            return chosen
        t60 = math.exp(rng.uniform(*np.log(distort.T60)))
        return distort.simulated_room(rng, t60, rng.uniform(*distort.DIRECT_TO_REVERBERANT))

    def _some_noise(self, length: int, rng: np.random.Generator) -> np.ndarray:
        if not len(self._noise) or rng.random() < 0.25:
            return distort.coloured_noise(rng, length)
        start, frames = self._noise[int(rng.integers(len(self._noise)))]
        places = start + (rng.integers(0, frames) + np.arange(length // FRAME + 1)) % frames
        return self._read(places)[:length]


def _crowded(speakers: dict[tuple[str, str], list[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    """Places of each speaker; people who said a few words are laid end to end with others of their corpus."""
    apart, crowds = [], {}  # type: ignore[var-annotated]
    for (corpus, _), places in speakers.items():
        if sum(frames for _, frames in places) >= FEW_WORDS:
            apart.append(places)
            continue
        crowd = crowds.setdefault(corpus, [[]])
        if sum(frames for _, frames in crowd[-1]) >= CROWD:
            crowd.append([])
        crowd[-1] += places
    return [*apart, *(places for crowd in crowds.values() for places in crowd)]


def _through_some_line(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind = rng.choice(["telephone", "lowpass", "opus", "mp3", "vorbis"], p=[0.25, 0.25, 0.25, 0.15, 0.1])
    if kind == "telephone":
        narrow = distort.through_line(samples, rng.uniform(150, 350), rng.uniform(3000, 3600))
        return distort.mu_law(narrow) if rng.random() < 0.5 else narrow
    if kind == "lowpass":
        return distort.through_line(samples, 0.0, rng.uniform(2500, 7000))
    return distort.coded(samples, str(kind), float(rng.uniform(0, 0.6)))
