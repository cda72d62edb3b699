"""Discrete units for language models: codebooks, encoding of collections, tokens, and units back to speech."""

from __future__ import annotations

from speechssl.units.codebook import Codebook, encoder_fingerprint, load
from speechssl.units.fitting import fit, fit_encoder
from speechssl.units.kmeans import Settings

__all__ = ["Codebook", "Settings", "encoder_fingerprint", "fit", "fit_encoder", "load"]
