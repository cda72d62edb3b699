"""Discrete units for language models: codebooks, encoding of collections, tokens, and units back to speech."""

from __future__ import annotations

from speechssl.encoders.fingerprints import of_encoder as encoder_fingerprint
from speechssl.units.codebooks.codebook import Codebook, load
from speechssl.units.codebooks.fitting import fit, fit_encoder
from speechssl.units.codebooks.kmeans import Settings

__all__ = ["Codebook", "Settings", "encoder_fingerprint", "fit", "fit_encoder", "load"]
