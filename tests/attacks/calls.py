"""Odd kinds and values for every argument of Python's entries, for the long attack: calls right but for one."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import arguments
import damage
import numpy as np

import speechssl
from speechssl import audio
from speechssl.signals import Waveform


def right(folder: Path) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """Each entry with arguments that it takes; other arguments have defaults."""
    one, other = str(folder / "a.wav"), str(folder / "b.wav")
    clip = speechssl.clip("eric", "sentence")
    frames, ids = np.zeros((3, 4), np.float32), np.arange(3)
    import torch

    return {
        "convert": (speechssl.convert, [one, clip]), "say": (speechssl.say, ["Hi.", clip]),
        "embed": (speechssl.embed, [one]), "verify": (speechssl.verify, [one, other]),
        "enrol": (speechssl.enrol, ["eve", one]), "identify": (speechssl.identify, [one]),
        "features": (speechssl.features, [one]), "report": (speechssl.report, [one]),
        "load_bundle": (speechssl.load_bundle, ["tiny"]), "load_codebook": (speechssl.load_codebook, ["tiny/100"]),
        "load_embedder": (speechssl.load_embedder, ["tiny"]), "load_encoder": (speechssl.load_encoder, ["mfcc"]),
        "load_synthesizer": (speechssl.load_synthesizer, []), "load_vocoder": (speechssl.load_vocoder, ["world"]),
        "clip": (speechssl.clip, ["eric"]), "audio.read": (audio.read, [one]),
        "audio.read_mono": (audio.read_mono, [one, 16_000]),
        "audio.write": (audio.write, [folder / "w.wav", Waveform(torch.zeros(100), 16_000)]),
        "Waveform": (Waveform, [torch.zeros(100), 16_000]),
        "Features": (speechssl.Features, [torch.from_numpy(frames), 50.0, "a/1"]),
        "Units": (speechssl.Units, [torch.from_numpy(ids), torch.ones(3, dtype=torch.int64), 50.0, "a/1"]),
        "Embedding": (speechssl.Embedding, [torch.tensor([1.0, 0.0]), "m@1"]),
        "receipts.show": (speechssl.receipts.show, [one]), "receipts.check": (speechssl.receipts.check, [one]),
        "SpeakerDatabase": (speechssl.SpeakerDatabase, [folder / "s.sqlite"]),
        "voices.VoiceLibrary.load": (speechssl.voices.VoiceLibrary(folder / "v").load, ["eve"]),
    }  # fmt: skip


def cases(folder: Path, count: int, seed: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """So many calls, all arguments of all entries in turn."""
    places = [
        (name, parameter)
        for name, (entry, _) in right(folder).items()
        for parameter in inspect.signature(entry).parameters.values()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    odd = [*damage.NASTY, *arguments.WORDS, *map(Path, ("", "missing.wav", "people")), np.zeros(3), (np.zeros(3), 0),
           (np.zeros((2, 9, 9)), 16_000), b"a.wav", {"a": 1}, object(), 10**400, float("nan")]  # fmt: skip
    draw = random.Random(seed)
    for number in range(count):
        name, parameter = places[number % len(places)]
        value = draw.choice(odd)
        entry, given = right(folder)[name]
        names = list(inspect.signature(entry).parameters)
        words = dict(zip(names, given, strict=False)) | {parameter.name: value}
        yield (
            f"{number} {name} {parameter.name}={value!r}"[:200],
            lambda entry=entry, words=words: _called(entry, words),
        )


def _called(entry: Callable[..., Any], words: dict[str, Any]) -> Any:
    places = inspect.signature(entry).parameters
    alone = [words.pop(name) for name, one in places.items() if one.kind is one.POSITIONAL_ONLY and name in words]
    return entry(*alone, **words)
