"""The two things that can go wrong: what the user gave, and what a checkpoint holds."""

from __future__ import annotations


class SpeechSSLError(Exception):
    """Base of every error speechssl raises on purpose; its message is written for the person who erred."""


class InputError(SpeechSSLError, ValueError):
    """Audio, text, an option or a combination of objects that cannot be used; says what was got, needed, and to do."""


class CheckpointError(SpeechSSLError, RuntimeError):
    """A weights, voice or codebook file that is missing, damaged, of another kind, or does not fit the network."""
