"""Transcribed recordings to a report on recognition: encode, divide, train a head for each source, measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechssl import audio
from speechssl.errors import InputError
from speechssl.training.probing import encodings, labels
from speechssl.training.probing.labels import Labelled
from speechssl.training.probing.recognise import recognise
from speechssl.units.codebooks.codebook import Codebook

if TYPE_CHECKING:
    from speechssl.encoders.encoder import SSLEncoder


@dataclass(frozen=True)
class Source:
    """What is recognised from: frames of layers, or the units of a codebook.

    Args:
        encoder: gives the frames.
        layers: their numbers.
        codebook: makes units of the frames of the one layer; None for frames.
    """

    encoder: SSLEncoder
    layers: Sequence[int]
    codebook: Codebook | None = None

    @property
    def name(self) -> str:
        """Of the encoder, or of the codebook's units."""
        if self.codebook is not None:
            return self.codebook.origin
        return self.encoder.origins[0].rpartition("/")[0]

    def keep(self) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
        """What is kept of a recording's frames."""
        book = self.codebook
        if book is None:
            return encodings.frames_of

        def codes(frames: NDArray[np.float32]) -> NDArray[np.int32]:
            return book.codes_of(frames)[:, :1].astype(np.int32)

        codes.__name__ = f"codes-{book.fingerprint}"
        return codes


def read(given: Sequence[str | Path], text: str = "text", *, speaker: str = "", split: str = "") -> list[Labelled]:
    """Recordings with what is said in them as their labels, spaces put in order.

    Raises:
        InputError: as ``labels.read``; a folder has no transcripts.
    """
    found = labels.read(given, text, speaker=speaker, split=split)
    return [replace(one, label=" ".join(one.label.split())) for one in found]


def from_codebook(name: str, **options: Any) -> Source:
    """The units of a codebook, by the encoder that it was fitted on.

    Raises:
        InputError: a codebook of several levels.
    """
    from speechssl.encoders.encoder import SSLEncoder
    from speechssl.units.encoding.workers import Recipe

    made = Recipe(name, **options).make()
    if not isinstance(made.encoder, SSLEncoder):
        raise InputError(f"{name} is of the encoder {made.encoder.origin}, which has no layers to probe")
    if made.codebook.num_levels > 1:
        raise InputError(f"{name} has {made.codebook.num_levels} levels; a codebook of one needed")
    return Source(made.encoder, [made.encoder.layer], made.codebook)


def probe(
    recordings: Sequence[Labelled],
    sources: Sequence[Source],
    *,
    minutes: float = 10.0,
    steps: int = 400,
    cache: Path | None = None,
    seed: int = 0,
    advance: Callable[[str], None] = lambda _: None,
    stage: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure recognition from each source.

    Args:
        recordings: from ``read``.
        sources: the first is the one asked about.
        minutes: of speech to train on, at most.
        steps: of training.
        cache, advance: as ``encodings.encode_all``.
        seed: of the choice of recordings and of the training.
        stage: called with what is done, in words.
    Returns:
        A report that JSON can hold: rates are fractions.
    Raises:
        InputError: as ``labels.divide_texts`` and ``recognise``.
    """
    readable, left_out = _readable(recordings)
    train, test = labels.divide_texts(readable, minutes, seed=seed)
    used = [readable[number] for number in [*train, *test]]
    held = []
    for source in sources:
        found, reasons = encodings.encode_all(
            [one.file for one in used], source.encoder, source.layers, keep=source.keep(), cache=cache, advance=advance
        )
        held.append(found)
        left_out |= reasons
    numbers = [number for number, one in enumerate(used) if one.file not in left_out]
    places = [np.array([n for n in numbers if (n < len(train)) == side], np.int64) for side in (True, False)]
    if not all(map(len, places)):
        raise InputError(f"no recording of one side can be used: {next(iter(left_out.values()))}")
    models = []
    for source, found in zip(sources, held, strict=True):
        encoded = [found.get(one.file, []) for one in used]
        units = None if source.codebook is None else source.codebook.num_units
        stage(f"training a head on {source.name}")
        result = recognise(
            encoded, [one.label for one in used], *places, units=units, steps=steps, seed=seed, stage=stage
        )
        models.append({"model": source.name, **result})
    return {
        "train": len(places[0]),
        "minutes": sum(float(audio.info(used[number].file).seconds) for number in places[0]) / 60,
        "test": len(places[1]),
        "seed": seed,
        "steps": steps,
        "left_out": left_out,
        "models": models,
    }


def _readable(recordings: Sequence[Labelled]) -> tuple[list[Labelled], dict[str, str]]:
    """Recordings whose header can be read, and why the others cannot."""
    kept, left_out = [], {}
    for one in recordings:
        try:
            audio.info(one.file)
        except InputError as error:
            left_out[one.file] = str(error)
            continue
        kept.append(one)
    if not kept:
        raise InputError(f"none of {len(recordings)} recordings can be read: {next(iter(left_out.values()))}")
    return kept, left_out
