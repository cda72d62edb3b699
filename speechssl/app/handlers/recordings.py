"""Recordings that come in, within limits, and recordings that go out, watermarked and in the format asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechssl import audio
from speechssl.app.refusals import Refused
from speechssl.app.state import Settings
from speechssl.audio.decoding import opened
from speechssl.audio.files import RATES
from speechssl.errors import InputError
from speechssl.receipts import watermark
from speechssl.signals import Waveform

FORMATS = ("wav", "flac", "mp3")


def check(files: Sequence[Path], *, most: float, what: str) -> None:
    """Refuse recordings that cannot be read, or that together are longer than ``most`` seconds.

    Raises:
        InputError: one of both; ``what`` names the recordings.
    """
    total = 0.0
    for path in files:
        total += seconds(path, most)
        if total > most:
            raise InputError(f"{what}: {total:.0f} s or more; at most {most:.0f} s here")


def seconds(path: Path, most: float) -> float:
    """Measure a recording: what decoding gives, not what the file says of itself; stop soon after ``most`` seconds.

    Raises:
        InputError: it cannot be read.
    """
    with opened(path) as source:
        # libsndfile, whose codings are in capitals, decodes no more than the file announces; FFmpeg does
        if source.info.subtype.isupper():
            return source.info.seconds
        done = 0
        for block in source.blocks:
            done += len(block)
            if done > most * source.info.sample_rate:
                break
        return done / source.info.sample_rate


def check_format(form: str) -> None:
    """Refuse a format that is not offered.

    Raises:
        Refused: that, for the field ``options``.
    """
    if form not in FORMATS:
        raise Refused("options", f"format {form!r}; one of {', '.join(FORMATS)} needed")


def marks(settings: Settings) -> bool:
    """Whether this service adds the watermark."""
    return settings.watermark and watermark.available()


def marked(settings: Settings, waveform: Waveform) -> Waveform:
    """Add the watermark, if this service does."""
    return watermark.mark(waveform) if marks(settings) else waveform


def write(settings: Settings, path: Path, pieces: Sequence[Waveform]) -> dict[str, Any] | None:
    """Write watermarked pieces as one recording.

    Returns:
        The receipt's entry for the watermark, with the detector's confidence on average over the seconds; None without
        a watermark.
    """
    import torch

    whole = Waveform(torch.cat([one.samples for one in pieces]), pieces[0].sample_rate)
    rates = RATES.get(audio.WRITABLE[path.suffix][1], (whole.sample_rate,))
    audio.write(path, whole if whole.sample_rate in rates else audio.resample(whole, 44_100))
    if not marks(settings):
        return None
    sure = sum(watermark.confidence(one) * one.seconds for one in pieces) / whole.seconds
    return {"name": watermark.NAME, "confidence": round(sure, 3)}
