"""Half a second of speech is enough for an attack; see ``helpers``."""

from helpers import speech

__all__ = ["speech"]
