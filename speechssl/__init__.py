"""Voice conversion, speaker verification and discrete units on one pass of self-supervised speech features."""

__version__ = "0.1.0"
