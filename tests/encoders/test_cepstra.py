"""MFCC as an encoder: against librosa on the whole recording, and the same however the audio arrives."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from helpers import tones

from speechssl import encoders
from speechssl.errors import InputError
from speechssl.signals import Waveform


@pytest.mark.parametrize("num_samples", [400, 719, 720, 64_080, 64_081, 150_000])
def test_frames_are_those_of_librosa_over_the_whole_recording(num_samples: int) -> None:
    sound = tones(10, 0)[:num_samples]
    encoder = encoders.load("mfcc")
    found = encoder.encode(Waveform(torch.from_numpy(sound), 16_000))
    power = librosa.feature.melspectrogram(y=sound, sr=16_000, n_fft=400, hop_length=320, center=False, n_mels=40)
    cepstra = librosa.feature.mfcc(S=librosa.power_to_db(power, top_db=None), n_mfcc=13)
    slopes = [librosa.feature.delta(cepstra, order=order, mode="nearest") for order in (1, 2)]
    assert np.allclose(found.frames.numpy(), np.concatenate([cepstra, *slopes]).T, atol=1e-2)
    assert len(found) == encoder.num_frames(num_samples)
    assert (found.origin, found.dim, found.frame_rate) == ("mfcc/0", 39, 50.0)


def test_a_stream_of_blocks_gives_the_same() -> None:
    sound, encoder = torch.from_numpy(tones(6, 1)), encoders.load("mfcc")
    whole = encoder.encode(Waveform(sound, 16_000)).frames
    assert torch.equal(encoder.encode_stream(lambda: sound.split(1234)).frames, whole)
    assert torch.equal(encoder.layers(Waveform(sound, 16_000))[0].frames, whole)


def test_less_than_a_frame_and_other_layers_are_refused() -> None:
    with pytest.raises(InputError, match=r"0\.025 s"):
        encoders.load("mfcc").encode(Waveform(torch.ones(399), 16_000))
    with pytest.raises(InputError, match="mfcc has no layer 3"):
        encoders.load("mfcc", layer=3)
