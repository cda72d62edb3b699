"""Pictures name what they show, and claim no certainty."""

from __future__ import annotations

import torch

from speechssl.app import pictures
from speechssl.signals import Waveform
from speechssl.verification import decisions


def test_pictures_name_every_unit_and_claim_no_certainty() -> None:
    noise = Waveform(torch.randn(8000, generator=torch.Generator().manual_seed(0)), 16_000)
    marks = [(0.02 * i, 0.02 * i + 0.02, f"{100 + i} from somewhere") for i in range(25)]
    drawn = pictures.spectrogram(noise, "units", marks=marks)
    assert all(f">{100 + i}</text>" in drawn for i in range(25))
    long = pictures.spectrogram(Waveform(noise.samples.repeat(8), 16_000), "units", marks=marks)
    assert 'class="scrolled" tabindex="0"' in long
    facts = {"score": 0.9, "scoring": "cosine", "llr": 20.0, "prior": 0.5, "accepted": True, "threshold": 0.6,
             "threshold_source": "given <b>", "origin": "tiny", "remarks": ("talk.wav: short",)}  # fmt: skip
    shown = pictures.verdict(decisions.Decision(probability=0.9999, **facts), ("Yes", "No"))  # type: ignore[arg-type]
    assert "more than 99 %" in shown
    assert "<b>" not in shown
    assert "talk.wav: short." in shown
    unsure = pictures.verdict(
        decisions.Decision(probability=None, **facts | {"llr": None, "accepted": None, "threshold": None}),  # type: ignore[arg-type]
        ("Yes", "No"),
    )
    assert "<strong>No decision</strong>" in unsure
    assert "probability" not in unsure
    row = {"recording": "a.wav", "error": "", "seconds": 1.0, "output": "b.wav", "probability": None}
    assert "<td>no decision</td>" in pictures.batch([row | {"accepted": None}])
    assert "<td>–</td>" in pictures.batch([row | {"accepted": ""}])
    assert "Broken.wav" not in pictures.problem("broken.wav is no audio")


def test_the_result_says_that_the_source_holds_no_speech() -> None:
    assert "Remark" not in pictures.done("variance", "as asked")
    assert "Remark on the source: no speech in it." in pictures.done("variance", "as asked", "no speech in it")
