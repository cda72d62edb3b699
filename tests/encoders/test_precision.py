"""Number formats: what ``auto`` stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from speechssl import encoders
from speechssl.encoders import precision
from speechssl.errors import InputError
from speechssl.signals import Waveform


@pytest.mark.parametrize(("fast", "wanted"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_what_is_fast_on_this_processor(fast: bool, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda: fast)
    assert precision.settled("auto") == wanted
    assert precision.settled("bfloat16") == "bfloat16"
    assert precision.choose_dtype("auto", "cpu") is getattr(torch, wanted)


@pytest.mark.parametrize("fast", [True, False])
def test_an_encoder_of_auto_precision_gives_the_frames_of_that_format(
    fast: bool, encoder_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda: fast)
    waveform = Waveform(torch.randn(8000, generator=torch.Generator().manual_seed(0)) * 0.1, 16000)
    found, named = (
        encoders.load(encoder_file, precision=one).encode(waveform).frames
        for one in ("auto", "bfloat16" if fast else "float32")
    )
    assert torch.equal(found, named)


def test_another_precision_is_refused() -> None:
    with pytest.raises(InputError, match="precision 'int4' is unknown; one of float32, bfloat16, auto needed"):
        precision.settled("int4")
