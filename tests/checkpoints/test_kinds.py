"""Arguments of other kinds than those of the annotations are refused in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import speechssl
from speechssl.checkpoints import kinds
from speechssl.errors import InputError

WAVEFORM = speechssl.Waveform(torch.zeros(800), 8000)


class Voice:
    """A class of our own."""


@kinds.checked
def entry(
    name: str | Path = "a",
    *,
    k: int | None = None,
    share: float = 1.0,
    fast: bool = False,
    names: Sequence[str] | None = None,
    voice: str | Voice = "ada",
    tell: Callable[[int], object] = print,
) -> str:
    """An entry with arguments of all kinds."""
    return "done"


@pytest.mark.parametrize(
    "words",
    [
        {"name": Path("a")}, {"k": np.int64(3)}, {"k": None}, {"share": 1}, {"share": np.float32(0.5)}, {"fast": True},
        {"names": ["a"]}, {"names": ()}, {"voice": Voice()}, {"voice": "eric"}, {"tell": len},
    ],
)  # fmt: skip
def test_what_is_right_is_taken(words: dict[str, Any]) -> None:
    assert entry(**words) == "done"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"name": 5}, r"name: got 5, of the type int; a text or a path needed"),
        ({"name": None}, r"name: got None, of the type NoneType; a text or a path needed"),
        ({"k": "x"}, r"k: got 'x', of the type str; a whole number or None needed"),
        ({"k": True}, "k: got True, of the type bool; a whole number or None"),
        ({"k": 2.5}, "k: got 2.5, of the type float; a whole number or None"),
        ({"share": np.nan}, "share: got nan, of the type float; a number needed"),
        ({"share": "1"}, "share: got '1', of the type str; a number needed"),
        ({"fast": 1}, "fast: got 1, of the type int; True or False needed"),
        ({"names": "ab"}, "names: got 'ab', of the type str; a list of texts or None needed"),
        ({"names": [1]}, "a list of texts or None needed"),
        ({"voice": ["ada"]}, "of the type list; a text or a Voice needed"),
        ({"voice": np.zeros(3)}, "of the type ndarray; a text or a Voice needed"),
        ({"tell": "loud"}, "of the type str; a Callable needed"),
    ],
)  # fmt: skip
def test_what_is_of_another_kind_is_named(words: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        entry(**words)


def test_a_wrong_name_of_an_argument_is_an_error_of_python() -> None:
    with pytest.raises(TypeError, match=r"entry\(\) got an unexpected keyword argument 'nothing'"):
        entry(nothing=1)  # type: ignore[call-arg]


def test_what_the_system_refuses_to_read_is_said() -> None:
    @kinds.checked
    def read(path: str, number: int) -> None:
        raise OSError(number, os.strerror(number), path)

    with pytest.raises(InputError, match=r"'a\.wav' cannot be read: File name too long; check the path"):
        read("a.wav", errno.ENAMETOOLONG)
    with pytest.raises(OSError, match="No space"):  # said by whoever writes
        read("a.wav", errno.ENOSPC)


def test_the_entries_of_the_package_are_checked() -> None:
    for call in (
        lambda: speechssl.convert("a.wav", k="4"),  # type: ignore[arg-type]
        lambda: speechssl.say("Hi.", seed="x"),  # type: ignore[arg-type]
        lambda: speechssl.verify("a.wav", "b.wav", prior="half"),  # type: ignore[arg-type]
        lambda: speechssl.load_encoder(5),  # type: ignore[arg-type]
        lambda: speechssl.SpeakerDatabase(5),  # type: ignore[arg-type]
        lambda: speechssl.voices.load(5),  # type: ignore[arg-type]
        lambda: speechssl.voices.save("eric.safetensors", "eric"),  # type: ignore[arg-type]
        lambda: speechssl.audio.f0("a.wav"),  # type: ignore[arg-type]
        lambda: speechssl.audio.loudness("a.wav"),  # type: ignore[arg-type]
        lambda: speechssl.audio.speech_activity("a.wav"),  # type: ignore[arg-type]
        lambda: speechssl.audio.resample(WAVEFORM, "8000"),  # type: ignore[arg-type]
        lambda: speechssl.load_encoder("tiny").encode("a.wav"),  # type: ignore[arg-type]
        lambda: speechssl.load_codebook("tiny/100").assign("a.wav"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=r"got .*, of the type (str|int); .* needed"):
            call()


def test_nothing_but_a_noun_stands_for_a_noun(tmp_path: Path) -> None:
    for other in (torch.zeros(5), np.zeros(5), speechssl.Features(torch.zeros(5, 2), 50.0, "tiny/4")):
        with pytest.raises(InputError, match=r"waveform: got .*; a Waveform needed"):
            speechssl.audio.write(tmp_path / "a.wav", other)  # type: ignore[arg-type]
