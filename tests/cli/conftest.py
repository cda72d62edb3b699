"""A codebook of the small encoder, and a handful of recordings; see ``helpers``."""

from helpers import codebook_file, recordings

__all__ = ["codebook_file", "recordings"]
