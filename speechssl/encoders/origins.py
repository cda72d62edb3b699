"""Origins of features, taken apart."""

from __future__ import annotations


def parsed(origin: str) -> tuple[str, int | None, bool | None]:
    """Name, layer and input normalisation of an origin of features.

    ``"wavlm-large/6/raw"`` is ``("wavlm-large", 6, False)``.
    """
    stem, _, end = origin.rpartition("/")
    normalise = {"raw": False, "normalised": True}.get(end)
    if normalise is not None:
        stem, _, end = stem.rpartition("/")
    return (stem, int(end), normalise) if stem and end.isdecimal() else (origin, None, normalise)
