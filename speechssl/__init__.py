"""Voice conversion, speaker verification and discrete units on one pass of self-supervised speech features.

A table of contents: every name here is imported when it is first used, so ``import speechssl`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from speechssl import checkpoints, encoders, receipts, units
    from speechssl.conversion.bundles import BUNDLES, features, load_bundle
    from speechssl.conversion.convert import convert
    from speechssl.conversion.live import LiveConverter
    from speechssl.conversion.result import Conversion
    from speechssl.conversion.voice_converter import VoiceConverter
    from speechssl.encoders import load as load_encoder
    from speechssl.errors import CheckpointError, InputError, SpeechSSLError
    from speechssl.signals import Embedder, Embedding, Encoder, Features, Objective, Units, Vocoder, Waveform
    from speechssl.synthesis.say import load_synthesizer, say
    from speechssl.units.codebooks.codebook import load as load_codebook
    from speechssl.verification.by_name import enrol, identify, verify
    from speechssl.verification.database import SpeakerDatabase
    from speechssl.verification.decisions import embed
    from speechssl.verification.embedders import load as load_embedder
    from speechssl.vocoders import load as load_vocoder
    from speechssl.voices.clips import clip, clips
    from speechssl.voices.matching_set import MatchingSet
    from speechssl.voices.reference_report import report

# public name -> module that defines it, and the name it has there
_PLACES = {
    "Waveform": ("signals", "Waveform"),
    "Features": ("signals", "Features"),
    "Units": ("signals", "Units"),
    "Embedding": ("signals", "Embedding"),
    "Encoder": ("signals", "Encoder"),
    "Vocoder": ("signals", "Vocoder"),
    "Embedder": ("signals", "Embedder"),
    "Objective": ("signals", "Objective"),
    "SpeechSSLError": ("errors", "SpeechSSLError"),
    "InputError": ("errors", "InputError"),
    "CheckpointError": ("errors", "CheckpointError"),
    "BUNDLES": ("conversion.bundles", "BUNDLES"),
    "convert": ("conversion.convert", "convert"),
    "load_bundle": ("conversion.bundles", "load_bundle"),
    "features": ("conversion.bundles", "features"),
    "say": ("synthesis.say", "say"),
    "load_synthesizer": ("synthesis.say", "load_synthesizer"),
    "clip": ("voices.clips", "clip"),
    "clips": ("voices.clips", "clips"),
    "load_encoder": ("encoders", "load"),
    "load_vocoder": ("vocoders", "load"),
    "load_embedder": ("verification.embedders", "load"),
    "embed": ("verification.decisions", "embed"),
    "verify": ("verification.by_name", "verify"),
    "enrol": ("verification.by_name", "enrol"),
    "identify": ("verification.by_name", "identify"),
    "load_codebook": ("units.codebooks.codebook", "load"),
    "SpeakerDatabase": ("verification.database", "SpeakerDatabase"),
    "report": ("voices.reference_report", "report"),
    "MatchingSet": ("voices.matching_set", "MatchingSet"),
    "VoiceConverter": ("conversion.voice_converter", "VoiceConverter"),
    "Conversion": ("conversion.result", "Conversion"),
    "LiveConverter": ("conversion.live", "LiveConverter"),
    "audio": ("audio", ""),
    "checkpoints": ("checkpoints", ""),
    "encoders": ("encoders", ""),
    "voices": ("voices", ""),
    "units": ("units", ""),
    "receipts": ("receipts", ""),
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
    "LiveConverter",
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
    "enrol",
    "features",
    "identify",
    "load_bundle",
    "load_codebook",
    "load_embedder",
    "load_encoder",
    "load_synthesizer",
    "load_vocoder",
    "receipts",
    "report",
    "say",
    "units",
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
