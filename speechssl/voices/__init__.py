"""A voice: the recordings of one speaker, their matching set, and the file that keeps it."""

from speechssl.voices.library import VoiceInfo, VoiceLibrary, check_name, info, load, save

__all__ = ["VoiceInfo", "VoiceLibrary", "check_name", "info", "load", "save"]
