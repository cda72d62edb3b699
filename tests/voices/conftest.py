"""Speech and an encoder of spectra; see ``helpers``."""

from helpers import encoder, files, make_encoder, speech

__all__ = ["encoder", "files", "make_encoder", "speech"]
