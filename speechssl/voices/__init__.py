"""A voice: the recordings of one speaker, their matching set, and the file that keeps it."""

from speechssl.voices.files import VoiceInfo, info, load, save
from speechssl.voices.library import VoiceLibrary, check_name

__all__ = ["VoiceInfo", "VoiceLibrary", "check_name", "info", "load", "save"]
