"""Measure which frequencies of a recording carry speech, whatever rate its header names, and how noisy it is.

A telephone, a codec or a low-pass filter leaves a part of the spectrum empty, and scores of such recordings measure the
line more than the speaker (``recipes/speaker_verification/lines.py``). Noise in both recordings makes strangers alike.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechssl.audio import activity
from speechssl.signals import Waveform

WINDOW = 1024  # samples at 16 kHz: 64 ms, which resolves the lower edge of a telephone line, 300 Hz
HOP = 320  # 20 ms: every second frame of the speech activity
STEP = 4  # bins of one band: 62.5 Hz
SMOOTHED = 4  # bands whose mean is taken above 1 kHz: 250 Hz, so that chance peaks of noise do not count
QUANTILE = 0.98  # of the speech frames: a fiftieth holds the sounds that are strongest in a band, such as /s/
ABOVE_FLOOR = 4.0  # 6 dB: power over that of the pauses from which a frame counts
CARRIES = -35.0  # dB of the frame's whole power: weak fricatives lie higher, the noise of G.711 lower
REACHED = 5600.0  # Hz that speech reaches on a full-band line: no telephone does, nearly all microphones do
FILLED_TO = 7600.0  # Hz up to which something, noise at least, is heard on a full-band line
EMPTY_ABOVE, EMPTY_BELOW = -85.0, -55.0  # dB of the speech; filters leave -99 and -64, microphones -74 and -46
QUIET = 0.01  # -20 dB of the mean speech frame: quieter frames are compared with this
SPEECH = slice(2, 48)  # bands in which noise is compared with speech: 125 to 3000 Hz, which every line carries
LOUDEST, QUIETEST, SILENT = 0.9, 1e-5, 1e-6  # quantile of the speech frames; -50 and -60 dB of the loud ones
CLEAR = 26.0  # dB: at a microphone in a quiet place there is more, under noise of 20 dB less


@dataclass(frozen=True)
class Band:
    """Frequencies between which speech was found.

    Args:
        low, high: Hz, 0 <= low < high <= 8000. ``high`` is 8000 where sound fills the rest, though few sounds of the
            speech reach so far.
        snr: dB by which loud speech is above what sounds in the pauses, from 125 to 3000 Hz; None if not measured.
    """

    low: float
    high: float
    snr: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= activity.RATE / 2:
            raise ValueError(f"a band from {self.low} to {self.high} Hz")

    def __str__(self) -> str:
        return f"{self.low:.0f} to {self.high:.0f} Hz"


@dataclass(frozen=True)
class KnownBands:
    """Bands of the recordings that a calibration was fitted on.

    Args:
        least, most: Hz; recordings whose speech ends lower or higher are of another line.
        low: Hz; recordings whose speech begins higher are of another line. Calibrations from before it was kept allow
            any.
        snr: dB; recordings with less are under noise. Calibrations from before it was kept know any.
    """

    least: float
    most: float
    low: float = activity.RATE / 2
    snr: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.least < self.most:
            raise ValueError(f"bands that end from {self.least} to {self.most} Hz")

    def holds(self, band: Band) -> bool:
        """Whether the calibration knows recordings with this band."""
        return self.least <= band.high <= self.most and band.low <= self.low


# a low-pass at 7 kHz, MP3 at 32 kbit/s and a high-pass at 300 Hz make strangers alike too (``lines.py``)
FULL = KnownBands(FILLED_TO, activity.RATE / 2, 62.5, CLEAR)
SPREAD = 1.15  # how far beyond those of its trials a calibration trusts upper edges, as a factor
DIFFERENT_LINES = 1.4  # ratio of the upper edges of two recordings from which they are of different lines


def known_bands(bands: Sequence[Band | None]) -> KnownBands:
    """The bands that a calibration on such recordings knows: ``FULL`` if nearly all are full-band and clear.

    Args:
        bands: of the recordings of the trials; None, nothing heard, is left out.
    """
    highs = [band.high for band in bands if band is not None]
    if not highs:
        return FULL
    least, most = (float(edge) for edge in np.quantile(highs, [0.05, 0.95]))
    low = float(np.quantile([band.low for band in bands if band is not None], 0.95))
    noises = [band.snr for band in bands if band is not None and band.snr is not None]
    clear = min(CLEAR, float(np.quantile(noises, 0.05))) if noises else CLEAR
    if least >= FULL.least and low <= FULL.low:
        return dataclasses.replace(FULL, snr=clear)
    return KnownBands(least / SPREAD, min(most * SPREAD, FULL.most), max(low * SPREAD, FULL.low), clear)


def why_undecided(enrolment: Sequence[Band | None], test: Band | None, known: KnownBands) -> str | None:
    """Why recordings of these bands cannot be compared under a calibration, and what to do; None if they can."""
    heard = [band for band in (*enrolment, test) if band is not None]
    if heard and max(band.low for band in heard) >= min(band.high for band in heard):
        return (
            f"the recordings share no frequencies: {' and '.join(sorted({str(band) for band in heard}))}; "
            "give recordings that carry the same band"
        )
    for name, band in (*(("an enrolled recording", band) for band in enrolment), ("the test recording", test)):
        if band is None:
            return f"the band of {name} is not known; enrol the speaker again"
        if not known.holds(band):
            ends = f"from {known.least:.0f} to {known.most:.0f} Hz"
            limits = f"from {known.least:.0f} Hz up" if known.most == FULL.most else ends
            limits += f" and begins below {known.low:.0f} Hz" if band.low > known.low else ""
            return (
                f"{name} carries speech from {band}, and the calibration knows recordings whose speech ends {limits}; "
                "give recordings of that kind, or run speechssl calibrate on recordings of this line"
            )
    highs = [band.high for band in heard]
    if max(highs) > DIFFERENT_LINES * min(highs):
        return (
            f"the recordings are of different lines: speech ends at {min(highs):.0f} Hz in one and at {max(highs):.0f} "
            "Hz in another; give recordings of one line"
        )
    return None


def shared(enrolment: Sequence[Band | None], test: Band | None, narrow: KnownBands, wide: KnownBands | None) -> bool:
    """Whether a calibration on pairs of these bands, of which one may be ``wide``, knows recordings of such bands."""
    both = [*enrolment, test]
    heard = [band for band in both if band is not None]
    if len(heard) < len(both) or max(band.low for band in heard) >= min(band.high for band in heard):
        return False
    return all(narrow.holds(band) or (wide is not None and wide.holds(band)) for band in heard)


def noise_of(enrolment: Sequence[Band | None], test: Band | None) -> tuple[float, float]:
    """SNR in dB of the noisier and of the clearer side of a pair, of several enrolled recordings their mean.

    Infinite where it was not measured. Noise makes strangers alike where both sides have it, and makes one speaker
    unlike where one side has it.
    """
    enrolled = [band.snr for band in enrolment if band is not None and band.snr is not None]
    first = float(np.mean(enrolled)) if enrolled else math.inf
    second = math.inf if test is None or test.snr is None else test.snr
    return min(first, second), max(first, second)


def measure(waveform: Waveform) -> Band | None:
    """Lowest and highest frequency that carry speech, and the SNR; None if nothing sounds like speech.

    Each frame's power in a band, less the noise of the pauses, is compared with the power of the whole frame. A band
    carries speech if a fiftieth of the speech frames have more than 0.03 % (-35 dB) of their power in it. Gain
    cancels; steady noise, coding noise and what a filter leaks do not count. Noise that covers a band narrows the
    result.
    """
    found = _frames(waveform)
    if found is None:
        return None
    powers, speech = found
    sounding = powers.sum(axis=1) > activity.SILENCE
    shares, levels = _shares(powers[speech], _pauses(powers, speech, sounding))
    carried = np.flatnonzero(shares > CARRIES)
    if not len(carried):
        return None
    width = STEP * activity.RATE / WINDOW
    high = float((carried[-1] + 1) * width)
    filled = float((np.flatnonzero(levels >= min(EMPTY_ABOVE, levels.max()))[-1] + 1) * width)
    if high >= REACHED:
        high = activity.RATE / 2 if filled >= FILLED_TO else min(high, filled)
    # below 200 Hz speech may be soft, but what a microphone gives is not empty
    low = min(float(np.flatnonzero(levels >= min(EMPTY_BELOW, levels.max()))[0] * width), high - width)
    return Band(low, high, _snr(powers, speech))


def _frames(waveform: Waveform) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """Powers in bands of 62.5 Hz (F, 128) every 20 ms, and which frames are speech (F,); None if none is."""
    samples = activity.at_16_khz(waveform)
    speech = activity.active_frames(activity.band_powers(samples))[::2]
    powers = _powers(samples)
    count = min(len(speech), len(powers))
    speech, powers = speech[:count], powers[:count]
    return (powers, speech) if speech.any() else None


def _pauses(powers: NDArray[np.float64], speech: NDArray[np.bool_], sounding: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Power of the pauses that sound (128,); where hardly anything pauses, that of the weakest twentieth."""
    found = powers[~speech & sounding]
    few = len(found) < 10
    middle: NDArray[np.float64] = np.percentile(powers[sounding] if few else found, 5 if few else 50, axis=0)
    return middle


def _shares(spoken: NDArray[np.float64], floor: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Power in each band (128,), in dB: as the top fiftieth of speech frames have it, and in the median.

    The first is without the noise of the pauses, by the power of each frame; the second by that of the mean speech
    frame.
    """
    total = spoken.sum(axis=1)
    whole = np.maximum(total, QUIET * total.mean())
    above = np.where(spoken > ABOVE_FLOOR * floor, spoken - floor, 0.0)
    found: NDArray[np.float64] = 10 * np.log10(np.quantile(above / whole[:, None], QUANTILE, axis=0) + 1e-12)
    levels: NDArray[np.float64] = 10 * np.log10(np.median(spoken, axis=0) / total.mean() + 1e-15)
    return found, levels


def _snr(powers: NDArray[np.float64], speech: NDArray[np.bool_]) -> float:
    """dB by which loud speech is above the pauses, the mean over those of the bands ``SPEECH`` that sound.

    Frames 60 dB below the loud ones are digital silence, which says nothing of the noise; bands 50 dB below are empty,
    and pauses count as 50 dB below at most.
    """
    total = powers.sum(axis=1)
    loudest = np.quantile(total[speech], 0.95)
    floor = _pauses(powers, speech, total > SILENT * loudest)[SPEECH]
    loud = np.quantile(powers[speech][:, SPEECH], LOUDEST, axis=0)
    least = QUIETEST * loudest / powers.shape[1]
    sound = loud > least
    above = 10 * np.log10(loud[sound] / np.maximum(floor[sound], least))
    return max(0.0, float(above.mean())) if sound.any() else 0.0


def _powers(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean square (F, 128) in bands of 62.5 Hz every 20 ms; above 1 kHz the mean of 250 Hz around each."""
    padded = np.pad(samples, (WINDOW // 2, WINDOW // 2 + HOP))
    frames = math.ceil(len(samples) / HOP)
    cut = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]
    window = np.hanning(WINDOW).astype(np.float32)
    found = [
        (np.abs(np.fft.rfft(cut[first : first + 1024] * window)) ** 2)[:, : WINDOW // 2]
        .reshape(-1, WINDOW // 2 // STEP, STEP)
        .sum(axis=2)
        for first in range(0, len(cut), 1024)
    ]
    powers: NDArray[np.float64] = np.concatenate(found).astype(np.float64)
    beside = np.pad(powers[:, 16:], ((0, 0), (SMOOTHED // 2, SMOOTHED // 2 - 1)), mode="edge")
    powers[:, 16:] = np.lib.stride_tricks.sliding_window_view(beside, SMOOTHED, axis=1).mean(axis=2)
    return powers * (2 / (WINDOW * float((window**2).sum())))
