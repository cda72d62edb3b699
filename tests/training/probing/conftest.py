"""Recordings in which a class is planted, and a small encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile


@pytest.fixture
def planted(tmp_path: Path) -> Callable[..., Path]:
    """A folder of tones: the class is the pitch, the speaker the level; names are CLASS/SPEAKER-NUMBER.wav."""

    def make(classes: tuple[str, ...] = ("high", "low"), speakers: int = 6, takes: int = 3) -> Path:
        rng = np.random.default_rng(0)
        for place, name in enumerate(classes):
            (tmp_path / "tones" / name).mkdir(parents=True)
            for speaker in range(speakers):
                for take in range(takes):
                    time = np.arange(6400) / 16000
                    tone = (0.1 + 0.05 * speaker) * np.sin(2 * np.pi * (300 + 900 * place) * time + take)
                    sound = tone + 0.01 * rng.normal(size=len(time))
                    soundfile.write(tmp_path / "tones" / name / f"s{speaker}-{take}.wav", sound, 16000)
        return tmp_path / "tones"

    return make
