"""What retrieval repairs: the same sentences spoken from retrieved frames, and straight from what was predicted.

A network that learns from the mean of many speakings predicts something smoother than any of them. ``retrieved`` is
how the synthesizer speaks, in its training speaker's own voice. ``direct`` leaves retrieval out: the values that the
vocoder speaks are computed from the predicted keys by least squares, fitted on the same frames that retrieval would
choose from. ``recording`` retrieves with the keys and pitch of the real recordings instead of predicted ones: what is
lost before retrieval. Smoothness is measured as the variance of frames over that of the real recordings, mean over
dimensions: 1 is as lively as real speech.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from speechssl.conversion.retrieval import nearest
from speechssl.conversion.source import Source
from speechssl.signals import Features, Waveform
from speechssl.synthesis.front_end import tokens
from speechssl.synthesis.synthesizer import LOUDNESS, VARIATION, Synthesizer
from speechssl.voices.matching_set import MatchingSet

ARMS = ("retrieved", "direct", "recording")
RIDGE = 10.0  # of keys that are about 1 each: of no weight beside thousands of frames
K = 4


def least_squares(voice: MatchingSet) -> Tensor:
    """The linear map from keys and 1 (D + 1) to values (V) that is best on the frames of a voice."""
    keys, values = _with_one(voice.keys.double()), voice.values.double()
    return torch.linalg.solve(keys.T @ keys + RIDGE * torch.eye(keys.shape[1]), keys.T @ values).float()


def _with_one(keys: Tensor) -> Tensor:
    return torch.cat([keys, torch.ones_like(keys[:, :1])], dim=1)


def speak(made: Synthesizer, text: str, recording: str, arm: str) -> tuple[Waveform, dict[str, Tensor]]:
    """One sentence in the training speaker's voice, and its frames: ``keys`` and ``values`` of what is spoken, beside
    the ``real_keys`` and ``real_values`` of a recording of it.

    Raises:
        InputError: see ``Synthesizer.stream``.
    """
    voice, system = made.speaker, made.system
    assert voice is not None
    real = system.source(recording)
    source = real
    if arm != "recording":
        words = [word for sentence in made.front_end.sentences(text) for word in sentence]
        prediction = made.model.predict(tokens(words), variation=VARIATION)
        source = Source(None, prediction.keys, None, prediction.f0)
    spoken = system.convert(source, voice, k=K, converter="uniform", loudness=LOUDNESS)
    waveform, keys, values = spoken.waveform, source.keys.frames, spoken.features.frames
    if arm == "direct":
        values = _with_one(keys) @ least_squares(voice)
        waveform = _vocoded(made, values, source, spoken.waveform)
    else:
        keys = voice.keys[nearest(keys, voice.keys, k=K).indices].float().mean(1)
    assert real.values is not None
    return waveform, {"keys": keys, "values": values, "real_keys": real.keys.frames, "real_values": real.values.frames}


def _vocoded(made: Synthesizer, values: Tensor, source: Source, like: Waveform) -> Waveform:
    """Values as sound, of the pitch and loudness of another waveform."""
    from speechssl import audio
    from speechssl.voices import pitch

    vocoder, voice = made.system.vocoder, made.speaker
    assert voice is not None
    features = Features(values, vocoder.frame_rate, vocoder.origin)
    contour = pitch.transform(source.f0, pitch.statistics(source.f0), voice.pitch, "target")
    spoken = vocoder.vocode(features, f0=contour if vocoder.needs_f0 else None, keys=source.keys)
    return audio.set_loudness(audio.limit_bursts(spoken), audio.loudness(like))


def variance_ratios(frames: list[dict[str, Tensor]]) -> dict[str, float]:
    """Variance of keys and of values over that of the real recordings, mean over dimensions."""

    def ratio(name: str) -> float:
        ours, real = (torch.cat([one[key] for one in frames]) for key in (name, f"real_{name}"))
        return round(float((ours.var(0) / real.var(0).clamp(min=1e-8)).mean()), 3)

    return {name: ratio(name) for name in ("keys", "values")}


def compare(made: Synthesizer, rows: list[dict[str, str]], write: Any) -> dict[str, dict[str, float]]:
    """Speak sentences all three ways.

    Args:
        made: with a voice of its speaker.
        rows: ``text`` and ``path`` of a recording of each sentence.
        write: is given the way, the number of the sentence and its sound.
    Returns:
        For each way its ``variance_ratios``.
    """
    ratios = {}
    for arm in ARMS:
        frames = []
        for number, row in enumerate(rows):
            waveform, found = speak(made, row["text"], row["path"], arm)
            write(arm, number, waveform)
            frames.append(found)
        ratios[arm] = variance_ratios(frames)
    return ratios
