"""Recordings to files of units, in parallel, resumable."""
