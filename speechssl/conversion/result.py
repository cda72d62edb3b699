"""The result of a conversion: sound, frames, and the second of the reference that each frame was made of."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechssl.checkpoints import atomic_path, names
from speechssl.signals import Features, Waveform

# coverage under which words are lost, by the origin of the keys: recipes/voice_conversion/RESULTS.md
POOR_COVERAGE = {"tiny/4": 0.63}
PER_FRAME = ("files", "seconds", "distances", "weights")  # fields of an attribution
COLUMNS = ("frame", "second", "rank", "weight", "voice", "reference", "reference_second", "distance")


@dataclass(frozen=True, eq=False)
class Attribution:
    """Which frames of a voice each output frame was made of.

    Args:
        voice: name of the voice.
        references: names of its recordings.
        files: (N, k) number of the reference.
        seconds: (N, k) float64, where the frame begins in the reference.
        distances: (N, k) float64 cosine distance between the keys of the frame and of the source frame.
        weights: (N, k) float64 share in the output frame; 0 with ``transport``, whose output is made from statistics of
            the whole voice; the nearest frames are only named.
    """

    voice: str
    references: tuple[str, ...]
    files: Tensor
    seconds: Tensor
    distances: Tensor
    weights: Tensor

    def part(self, frames: slice) -> Attribution:
        """The attribution of some of the frames."""
        return dataclasses.replace(self, **{name: getattr(self, name)[frames] for name in PER_FRAME})


@dataclass(frozen=True, eq=False)
class Conversion:
    """A converted recording and how it was made.

    Args:
        waveform: the result.
        features: (N, V), what was vocoded.
        converter: name of the converter that was used.
        reason: why it was used.
        attributions: one for each voice.
        similarities: (N,) float64 cosine between each source frame and the nearest frame of any of the voices.
        sounding: (N,) whether there is more than digital silence in a frame of the source; None if nobody looked.
        stretch: times as long as the source; 1 unless the tempo was changed.
        made_at: Hz at which the vocoder spoke; the waveform was resampled if it has another rate.
        remark: that the source holds no speech, or what ``coverage_remark`` says; empty if all is well, or if nobody
            looked: ``speechssl.convert`` and the page look, ``VoiceConverter`` does not.
        key_origin: of the keys that were compared.
    """

    waveform: Waveform
    features: Features
    converter: str
    reason: str
    attributions: tuple[Attribution, ...]
    similarities: Tensor
    sounding: Tensor | None = None
    stretch: float = 1.0
    made_at: int = 0
    remark: str = ""
    key_origin: str = ""

    def __repr__(self) -> str:
        return f"Conversion({self.waveform}, {self.converter}, coverage {self.coverage:.2f})"

    @property
    def coverage(self) -> float:
        """Mean of the similarities where the source sounds; 1 if the voice has every frame of the source."""
        sounding = self.sounding if self.sounding is not None and self.sounding.any() else slice(None)
        return float(self.similarities[sounding].mean())

    @property
    def coverage_remark(self) -> str:
        """What to say of a coverage under which words are lost; empty above it, and for encoders nobody measured."""
        if self.coverage >= POOR_COVERAGE.get(self.key_origin, -1.0):
            return ""
        return (
            f"the voice has no like sounds for much of it (coverage {self.coverage:.2f}; "
            f"{POOR_COVERAGE[self.key_origin]} needed): music, noise or an echoing room; words may be lost"
        )

    def write_attribution(self, path: str | Path) -> None:
        """Write a CSV file with a row for each output frame, voice and reference frame in it.

        Columns: frame, second (both of the output), rank (1 is nearest), weight, voice, reference, reference_second,
        distance. A name that a spreadsheet would take for a formula begins with an apostrophe.

        Raises:
            CheckpointError: the file cannot be written; none is left behind.
        """
        with atomic_path(Path(path)) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for frame in range(len(self.features)):
                writer.writerows(self._rows(frame))

    def _rows(self, frame: int) -> Iterator[tuple[object, ...]]:
        second = f"{frame / self.features.frame_rate:.3f}"
        for one in self.attributions:
            columns = (one.weights, one.files, one.seconds, one.distances)
            entries = zip(*(column[frame].tolist() for column in columns), strict=True)
            for rank, (weight, file, place, distance) in enumerate(entries, start=1):
                reference = names.cell(one.references[file])
                voice = names.cell(one.voice)
                yield frame, second, rank, f"{weight:.6g}", voice, reference, f"{place:.3f}", f"{distance:.6f}"

    def without_sound(self) -> Conversion:
        """How the conversion was made: of the sound a sample is left, of what was vocoded a number of each frame."""
        features = dataclasses.replace(self.features, frames=self.features.frames[:, :1].clone())
        sound = dataclasses.replace(self.waveform, samples=self.waveform.samples[:1].clone())
        return dataclasses.replace(self, waveform=sound, features=features)

    def part(self, frames: slice, waveform: Waveform) -> Conversion:
        """A part of the conversion: some of the frames, and their sound."""
        return dataclasses.replace(
            self,
            waveform=waveform,
            features=dataclasses.replace(self.features, frames=self.features.frames[frames]),
            attributions=tuple(one.part(frames) for one in self.attributions),
            similarities=self.similarities[frames],
            sounding=None if self.sounding is None else self.sounding[frames],
        )


def join(pieces: Sequence[Conversion]) -> Conversion:
    """Consecutive pieces of one conversion, 1 or more, as one."""
    first = pieces[0]
    sound = Waveform(torch.cat([one.waveform.samples for one in pieces]), first.waveform.sample_rate)
    frames = torch.cat([one.features.frames for one in pieces])
    return dataclasses.replace(
        first,
        waveform=sound,
        features=dataclasses.replace(first.features, frames=frames),
        attributions=tuple(_joined(parts) for parts in zip(*(one.attributions for one in pieces), strict=True)),
        similarities=torch.cat([one.similarities for one in pieces]),
        sounding=None if first.sounding is None else torch.cat([torch.as_tensor(one.sounding) for one in pieces]),
    )


def _joined(parts: Sequence[Attribution]) -> Attribution:
    whole: dict[str, Any] = {name: torch.cat([getattr(one, name) for one in parts]) for name in PER_FRAME}
    return dataclasses.replace(parts[0], **whole)
