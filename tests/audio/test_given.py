"""What callers give as recordings."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import speechssl
from speechssl import audio
from speechssl.errors import InputError
from speechssl.signals import Embedding, Features, Units, Waveform

WAVEFORM = Waveform(torch.zeros(16_000), 16_000)
WRONG: list[Any] = [
    None, 5, b"talk.wav", {"a": 1}, np.zeros(5), torch.zeros(5), ("a", 16_000), (np.zeros(5), "16000"), object(), "",
    (np.zeros(5), -1), (np.zeros(0), 16_000), (np.zeros((2, 2, 2)), 16_000), (np.array(["a"]), 16_000), True,
    (np.zeros((20, 20)), 16_000), (np.array([np.nan]), 16_000), (np.zeros(5), 1.5), [None], ["talk.wav", 3],
    (np.zeros(5), np.nan), (np.zeros(5), np.inf), (np.zeros(5), 100), (16_000, np.zeros(5)), [np.zeros(5), 16_000],
]  # fmt: skip


def test_a_string_is_never_several() -> None:
    assert audio.recordings("talk.wav") == ["talk.wav"]
    assert audio.recordings(Path("talk.wav")) == [Path("talk.wav")]
    assert audio.recordings(["a.wav", Path("b.wav")]) == ["a.wav", Path("b.wav")]
    assert audio.recordings(name for name in ("a.wav", "b.wav")) == ["a.wav", "b.wav"]
    assert audio.recordings(()) == []
    assert audio.recordings(WAVEFORM) == [WAVEFORM]


def test_clips_are_recordings() -> None:
    clip = speechssl.clip("ada")
    assert audio.recording(clip) == clip.path
    assert audio.recordings([clip, clip]) == [clip.path, clip.path]
    assert audio.recordings(clip) == [clip.path]


@pytest.mark.parametrize(
    "samples", [np.full(800, 0.5), torch.full((800,), 0.5), np.full((800, 2), 0.5), np.full((2, 800), 0.5)]
)
def test_samples_with_their_rate(samples: Any) -> None:
    found = audio.recording((samples, 8000))
    assert isinstance(found, Waveform)
    assert (found.sample_rate, found.samples.shape) == (8000, (800,))
    assert found.samples.tolist() == [0.5] * 800


def test_whole_numbers_are_scaled() -> None:
    found = audio.recording((np.array([-32768, 0, 16384], dtype=np.int16), 8000))
    assert isinstance(found, Waveform)
    assert found.samples.tolist() == [-1.0, 0.0, 0.5]
    found = audio.recording((np.array([0, 128, 192], dtype=np.uint8), 8000))
    assert isinstance(found, Waveform)
    assert found.samples.tolist() == [-1.0, 0.0, 0.5]


def test_rates_numbers_and_buffers_of_other_libraries_are_taken() -> None:
    found = audio.recording((np.frombuffer(np.full(800, 0.5, np.float32).tobytes(), np.float32), np.int64(8000)))
    assert isinstance(found, Waveform)
    assert (found.sample_rate, found.samples[0].item()) == (8000, 0.5)
    found = audio.recording((torch.full((800,), 0.5, dtype=torch.bfloat16), 8000))
    assert isinstance(found, Waveform)
    assert found.samples.tolist() == [0.5] * 800


@pytest.mark.parametrize(
    ("given", "do"),
    [
        (np.zeros(5), "the sample rate is missing"),
        ((16_000, np.zeros(5)), "the samples first, then the rate"),
        (io.BytesIO(b"RIFF"), r"soundfile\.read"),
        ((np.full(800, 21_000.0), 8000), "divide those of 16 bits by 32768"),
    ],
    ids=["no rate", "rate first", "open file", "not scaled"],
)
def test_what_is_nearly_a_recording_is_refused_with_what_to_do(given: Any, do: str) -> None:
    for take in (audio.recording, audio.recordings):
        with pytest.raises(InputError, match=do):
            take(given)


@pytest.mark.parametrize("given", WRONG, ids=lambda given: repr(given).split(" at ")[0][:30])
def test_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(InputError):
        audio.recordings(given)
    if not isinstance(given, list):
        with pytest.raises(InputError):
            audio.recording(given)


ENTRIES = {
    "convert": lambda given: speechssl.convert(given, speechssl.clip("eric")),
    "convert, references": lambda given: speechssl.convert(speechssl.clip("ada"), given),
    "say": lambda given: speechssl.say("Hello.", given),
    "verify": lambda given: speechssl.verify(given, speechssl.clip("eric")),
    "verify, test": lambda given: speechssl.verify(speechssl.clip("eric"), given),
    "embed": speechssl.embed,
    "features": speechssl.features,
    "report": speechssl.report,
    "enrol": lambda given: speechssl.enrol("ada", given, database="nowhere/speakers.sqlite"),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_refuses_what_is_no_recording_before_it_loads(entry: str) -> None:
    for given in (None, 5, b"talk.wav", np.zeros(5)):
        with pytest.raises(InputError, match="needed"):
            ENTRIES[entry](given)


def test_nouns_print_as_what_they_are() -> None:
    assert repr(WAVEFORM) == "Waveform(1.0 s at 16 kHz)"
    features = Features(torch.zeros(400, 8), 50.0, "tiny/2")
    assert repr(features) == "Features(8.0 s at 50 Hz, 400 x 8, tiny/2)"
    units = Units(torch.tensor([3, 5]), torch.tensor([60, 40]), 50.0, "tiny/4/km100")
    assert repr(units) == "Units(2 units, 2.0 s at 50 Hz, tiny/4/km100)"
    assert repr(Embedding(torch.eye(3)[0], "tiny")) == "Embedding(3 numbers, tiny)"
    for wrong in ([0.0], None, "x"):
        with pytest.raises(InputError, match="torch tensor needed"):
            Waveform(wrong, 16_000)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a number of Hz"):
        Waveform(torch.zeros(5), "16000")  # type: ignore[arg-type]


def test_the_table_of_contents_has_every_entry() -> None:
    names = {"units", "report", "identify", "enrol", "features", "load_codebook", "receipts"}
    assert names <= set(speechssl.__all__)
    assert all(hasattr(speechssl, name) for name in names)
