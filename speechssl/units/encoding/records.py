"""One utterance to one record with units, run lengths and times; memory does not grow with the length of the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechssl import audio
from speechssl.errors import InputError
from speechssl.signals import Encoder, Waveform
from speechssl.units import runs
from speechssl.units.addresses import local_copy
from speechssl.units.codebooks.codebook import Codebook
from speechssl.verification import speech_classifier

if TYPE_CHECKING:
    from speechssl.units.encoding.manifest import Entry

READ_SECONDS = 30.0  # audio read at a time; speech is detected in pieces of this length


@dataclass(frozen=True, eq=False)
class UnitEncoder:
    """An encoder and its codebook: audio to units.

    Args:
        encoder: makes the features.
        codebook: fitted on this encoder.
        collapsed: whether runs of a unit become one unit with its length.
        speech_only: leave out frames without speech; times stay those of the file, and no unit runs across a gap.
    Raises:
        InputError: the codebook was fitted on another encoder.
    """

    encoder: Encoder
    codebook: Codebook
    collapsed: bool = True
    speech_only: bool = False

    def __post_init__(self) -> None:
        self.codebook.check_encoder(self.encoder)

    def record(self, entry: Entry, heard: Callable[[float], None] = lambda _: None) -> dict[str, Any]:
        """The JSON record of one utterance: a pure function of audio, codebook and entry.

        A recording without speech has ``no_speech``, which says what is there instead.

        Args:
            entry: the utterance.
            heard: called with the seconds of each piece that is encoded.
        Raises:
            InputError: the file cannot be read, is too short for a frame, or (``speech_only``) holds no speech.
        """
        with local_copy(entry.file) as path:
            try:
                codes, num_samples = self._codes(path, heard)
            except InputError as error:
                # an encoder that finds too few samples does not know whose they are
                raise error if Path(path).name in str(error) else InputError(f"{entry.path}: {error}") from error
            rate = audio.info(path).sample_rate
            first = self._spans(path, len(codes))
            remark = speech_classifier.remark_on(path)
        rows, durations, starts = self._runs(codes, first)
        frame_rate = self.codebook.frame_rate
        return {
            "id": entry.id,
            "path": entry.path,
            "sample_rate": rate,
            "seconds": round(num_samples / self.encoder.sample_rate, 6),
            "frames": int(durations.sum()),
            "units": (rows[:, 0] if self.codebook.num_levels == 1 else rows).tolist(),
            "durations": durations.tolist(),
            "start": np.round(starts / frame_rate, 6).tolist(),
            "end": np.round((starts + durations) / frame_rate, 6).tolist(),
            "codebook": self.codebook.fingerprint,
            **entry.extra,
            **({"no_speech": remark} if remark else {}),
        }

    def _codes(self, path: str, heard: Callable[[float], None]) -> tuple[NDArray[np.int64], int]:
        """Codes (N, Q) of a file and its number of samples at the encoder's rate."""
        from speechssl.encoders.frontends import Counted

        rate = self.encoder.sample_rate
        stream: Any = getattr(self.encoder, "stream", None)
        if stream is None:
            waveform = audio.read_mono(path, rate)
            return self.codebook.codes(self.encoder.encode(waveform)), len(waveform.samples)
        blocks, quantiser = Counted(lambda: audio.stream(path, rate, READ_SECONDS)), self.codebook.quantiser()
        codes = []
        for piece in stream(blocks):
            codes.append(quantiser.push(piece.numpy()))
            heard(len(piece) / self.encoder.frame_rate)
        return np.concatenate([*codes, quantiser.finish()]), blocks.num_samples

    def _spans(self, path: str, num_frames: int) -> NDArray[np.bool_]:
        """(N,) whether each frame is wanted."""
        if not self.speech_only:
            return np.ones(num_frames, bool)
        rate = self.encoder.sample_rate
        active = np.concatenate(
            [audio.speech_activity(Waveform(block, rate)).numpy() for block in audio.stream(path, rate, READ_SECONDS)]
        )
        middle = ((np.arange(num_frames) + 0.5) / self.codebook.frame_rate * 100).astype(np.int64)
        wanted: NDArray[np.bool_] = active[middle.clip(max=len(active) - 1)]
        if not wanted.any():
            raise InputError(f"{path} holds no speech; leave it out, or encode without --vad")
        return wanted

    def _runs(
        self, codes: NDArray[np.int64], wanted: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows (M, Q), durations (M,) and first frames (M,)."""
        places = np.flatnonzero(wanted)
        if not self.collapsed:
            return codes[places], np.ones(len(places), np.int64), places
        # the stretch a frame is in is one more column, so that no run crosses a gap
        stretch = np.cumsum(np.r_[0, np.diff(places) > 1])
        rows, durations = runs.collapse(np.c_[codes[places], stretch])
        return rows[:, :-1], durations, places[np.r_[0, np.cumsum(durations)[:-1]]]
