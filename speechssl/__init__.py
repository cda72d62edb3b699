"""Voice conversion, speaker verification and discrete units on one pass of self-supervised speech features.

A table of contents: every name here is imported when it is first used, so ``import speechssl`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from speechssl import audio, checkpoints, encoders, voices
    from speechssl.bundles import BUNDLES, clip, clips, convert, load_bundle
    from speechssl.conversion import Conversion, MatchingSet, VoiceConverter
    from speechssl.embedders import load as load_embedder
    from speechssl.encoders import load as load_encoder
    from speechssl.errors import CheckpointError, InputError, SpeechSSLError
    from speechssl.interfaces import Embedder, Encoder, Objective, Vocoder
    from speechssl.signals import Embedding, Features, Units, Waveform
    from speechssl.speakers import SpeakerDatabase
    from speechssl.speaking import load_synthesizer, say
    from speechssl.verification import embed
    from speechssl.verification import verify_files as verify
    from speechssl.vocoders import load as load_vocoder

# public name -> module that defines it, and the name it has there
_PLACES = {
    "Waveform": ("signals", "Waveform"),
    "Features": ("signals", "Features"),
    "Units": ("signals", "Units"),
    "Embedding": ("signals", "Embedding"),
    "Encoder": ("interfaces", "Encoder"),
    "Vocoder": ("interfaces", "Vocoder"),
    "Embedder": ("interfaces", "Embedder"),
    "Objective": ("interfaces", "Objective"),
    "SpeechSSLError": ("errors", "SpeechSSLError"),
    "InputError": ("errors", "InputError"),
    "CheckpointError": ("errors", "CheckpointError"),
    "BUNDLES": ("bundles", "BUNDLES"),
    "convert": ("bundles", "convert"),
    "load_bundle": ("bundles", "load_bundle"),
    "say": ("speaking", "say"),
    "load_synthesizer": ("speaking", "load_synthesizer"),
    "clip": ("bundles", "clip"),
    "clips": ("bundles", "clips"),
    "load_encoder": ("encoders", "load"),
    "load_vocoder": ("vocoders", "load"),
    "load_embedder": ("embedders", "load"),
    "embed": ("verification", "embed"),
    "verify": ("verification", "verify_files"),
    "SpeakerDatabase": ("speakers", "SpeakerDatabase"),
    "MatchingSet": ("conversion", "MatchingSet"),
    "VoiceConverter": ("conversion", "VoiceConverter"),
    "Conversion": ("conversion", "Conversion"),
    "audio": ("audio", ""),
    "checkpoints": ("checkpoints", ""),
    "encoders": ("encoders", ""),
    "voices": ("voices", ""),
}

__all__ = [
    "BUNDLES",
    "CheckpointError",
    "Conversion",
    "Embedder",
    "Embedding",
    "Encoder",
    "Features",
    "InputError",
    "MatchingSet",
    "Objective",
    "SpeakerDatabase",
    "SpeechSSLError",
    "Units",
    "Vocoder",
    "VoiceConverter",
    "Waveform",
    "__version__",
    "audio",
    "checkpoints",
    "clip",
    "clips",
    "convert",
    "embed",
    "encoders",
    "load_bundle",
    "load_embedder",
    "load_encoder",
    "load_synthesizer",
    "load_vocoder",
    "say",
    "verify",
    "voices",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'speechssl' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    found = importlib.import_module(f"speechssl.{module}")
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
