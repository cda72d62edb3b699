"""Fit, load and import codebooks: features to unit ids."""
