"""A trained synthesizer as one file: the network, its sounds, its language, and the encoder whose keys it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechssl import checkpoints
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Features
from speechssl.synthesis.front_end import BORDERS, START, Tokens
from speechssl.synthesis.network import NetworkConfig, TextToKeys, sampled_durations
from speechssl.voices.pitch import FRAME_PERIOD

KIND = "synthesizer"
SURE = 3.0  # logit of voicing that only vowels and the like reach
RANGE = 0.5  # of the natural logarithm of F0 about its median: nine semitones up or down
LEAD = 3  # frames of silence before the first sound, at most
STAND_INS = {"ɝ": "ɚ", "ɾ": "t", "ɐ": "ə", "a": "ɑ", "e": "eɪ", "o": "oʊ", "r": "ɹ", "x": "k", "ç": "ʃ", "y": "u"}


@dataclass(frozen=True, eq=False)
class Prediction:
    """Keys and pitch of a sentence, before any voice speaks it.

    Args:
        keys: (N, D), as the encoder would make them of speech.
        f0: (F,) Hz every 5 ms, 0 where unvoiced, of the speaker the model was trained on.
        durations: (L,) frames of each token; their sum is N.
        tokens: of the sentence.
    """

    keys: Features
    f0: Tensor
    durations: Tensor
    tokens: Tokens

    def times(self) -> Tensor:
        """Second at which each token ends (L,)."""
        return self.durations.cumsum(0) / self.keys.frame_rate


class TextModel:
    """Sentences to keys and pitch.

    Args:
        network: with its weights.
        symbols: the sound or border of each embedding, in order.
        origin: origin of the keys.
        frame_rate: frame rate of the keys, Hz.
        language: language of the text, e.g. ``"en-us"``.
    Raises:
        InputError: symbols without the borders of words, or not as many as the network has.
    """

    def __init__(
        self, network: TextToKeys, symbols: Sequence[str], *, origin: str, frame_rate: float, language: str
    ) -> None:
        missing = [symbol for symbol in (START, *BORDERS) if symbol not in symbols]
        if missing or len(symbols) != network.config.num_symbols:
            raise InputError(
                f"{len(symbols)} symbols, without {missing}; {network.config.num_symbols} needed, with all"
            )
        self.network = network.eval().requires_grad_(False)
        self.symbols = tuple(symbols)
        self.origin, self.frame_rate, self.language = origin, frame_rate, language
        self._numbers = {symbol: number for number, symbol in enumerate(symbols)}

    @torch.inference_mode()
    def predict(self, tokens: Tokens, *, speed: float = 1.0, variation: float = 0.0, seed: int = 0) -> Prediction:
        """Keys and pitch of a sentence; the same for the same seed.

        Args:
            tokens: from ``front_end.tokens``.
            speed: > 0; 2 is twice as fast.
            variation: of sound durations, in the standard deviations that were learnt; 0 for the most likely durations.
            seed: random seed of the variation.
        """
        symbols = torch.tensor([[self._number(symbol) for symbol in tokens.symbols]])
        stresses = torch.tensor([tokens.stresses])
        borders = torch.tensor([[symbol == START or symbol in BORDERS for symbol in tokens.symbols]])
        hidden, lengths = self.network.encode(symbols, stresses, torch.ones_like(borders))
        generator = torch.Generator().manual_seed(seed)
        durations = sampled_durations(lengths, borders, speed=speed, variation=variation, generator=generator)
        durations[0, 0] = durations[0, 0].clamp(max=LEAD)
        frames, _ = self.network.decode(hidden, durations)
        keys, log_f0 = self.network.unscaled(frames)
        features = Features(keys[0], self.frame_rate, self.origin)
        return Prediction(features, contour(log_f0[0], frames.voiced[0], self.frame_rate), durations[0], tokens)

    def _number(self, symbol: str) -> int:
        """Number of a symbol, or of the most similar sound in the training speech."""
        for one in (symbol, STAND_INS.get(symbol, ""), symbol[0], STAND_INS.get(symbol[0], "")):
            if one in self._numbers:
                return self._numbers[one]
        return self._numbers["ə"] if "ə" in self._numbers else len(BORDERS) + 1


def contour(log_f0: Tensor, voiced: Tensor, frame_rate: float) -> Tensor:
    """F0 (F,) in Hz every 5 ms of log-F0 and voicing logits (N,): frame i lies 12.5 ms after its start.

    F0 is interpolated linearly between voiced frames; predictions for unvoiced frames were never trained. Voiced frames
    with F0 far from the sentence's median are treated as unvoiced: the model learnt them from errors of the F0 tracker.
    """
    frames = len(log_f0)
    certain = voiced > SURE if bool((voiced > SURE).any()) else voiced > 0
    sung = (voiced > 0) & ((log_f0 - log_f0[certain].median()).abs() < RANGE) if bool(certain.any()) else certain
    times = torch.arange(round(frames / frame_rate / FRAME_PERIOD) + 1) * FRAME_PERIOD
    places = ((times - 0.0125) * frame_rate).clamp(0, frames - 1)
    where = sung.nonzero()[:, 0]
    if not len(where):
        return torch.zeros(len(times))
    after = torch.searchsorted(where, places.ceil().long()).clamp(max=len(where) - 1)
    before = (torch.searchsorted(where, places.floor().long(), right=True) - 1).clamp(min=0)
    left, right = where[before], where[after]
    share = ((places - left) / (right - left).clamp(min=1)).clamp(0, 1)
    pitch = (log_f0[left] * (1 - share) + log_f0[right] * share).exp()
    return torch.where(sung[places.round().long()], pitch, torch.zeros(()))


def save(path: str | Path, model: TextModel, facts: Mapping[str, Any]) -> Path:
    """Write a model as float16, whole or not at all.

    Args:
        path: the file.
        model: the model.
        facts: name, licence, provenance.
    """
    header = {
        **facts,
        "kind": KIND,
        "origin": model.origin,
        "frame_rate": model.frame_rate,
        "language": model.language,
        "symbols": list(model.symbols),
        "config": model.network.config.as_dict(),
    }
    return checkpoints.save(path, {name: value.half() for name, value in model.network.state_dict().items()}, header)


def load(path: str | Path) -> TextModel:
    """Read a model.

    Raises:
        CheckpointError: missing, damaged, or not a synthesizer.
    """
    file = checkpoints.load(path, kind=KIND)
    try:
        network = TextToKeys(NetworkConfig(**file.header["config"]))
        facts = {name: file.header[name] for name in ("symbols", "origin", "frame_rate", "language")}
    except (KeyError, TypeError, InputError) as error:
        raise CheckpointError(f"{path} is a damaged synthesizer ({error}); get it again") from error
    checkpoints.load_state(network, {name: value.float() for name, value in file.tensors.items()}, source=path)
    return TextModel(network, **facts)
