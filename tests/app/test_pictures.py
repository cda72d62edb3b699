"""Pictures name what they show, and claim no certainty."""

from __future__ import annotations

import base64
import dataclasses
import io

import torch
from PIL import Image

from speechssl.app import mel_image, pictures
from speechssl.app.tabs import stage
from speechssl.signals import Waveform
from speechssl.verification import decisions, synthetic


def test_a_sentence_begins_with_a_capital_and_a_file_keeps_its_name() -> None:
    assert "c short.wav: encoding" in pictures.running("c short.wav: encoding")
    assert "Only 6.5 s of speech" in pictures.running("only 6.5 s of speech")


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
    assert 'class="card good"' in shown
    made = {"remarks": (f"talk.wav: {synthetic.REMARK}",)}
    shown = pictures.verdict(decisions.Decision(probability=0.9999, **facts | made), ("Yes", "No"))  # type: ignore[arg-type]
    assert 'class="card warn"' in shown
    found = {"decision": "known", "speaker": "ada", "ranked": [], "remarks": ()}
    assert 'class="card good"' in pictures.ranked(found)
    assert 'class="card warn"' in pictures.ranked(found | made)
    unsure = pictures.verdict(
        decisions.Decision(probability=None, **facts | {"llr": None, "accepted": None, "threshold": None}),  # type: ignore[arg-type]
        ("Yes", "No"),
    )
    assert "<strong>No decision</strong>" in unsure
    assert "probability" not in unsure
    row = {"recording": "a.wav", "error": "", "seconds": 1.0, "output": "b.wav", "probability": None, "remark": ""}
    assert "<td>no decision</td>" in pictures.batch([row | {"accepted": None}])
    assert "<td>–</td>" in pictures.batch([row | {"accepted": ""}])
    silent = row | {"accepted": "", "remark": "the result has no speech"}
    assert '<td class="breaks">The result has no speech.</td>' in pictures.batch([silent])
    assert "Broken.wav" not in pictures.problem("broken.wav is no audio")


def _brightest(waveform: Waveform) -> int:
    image = Image.open(io.BytesIO(base64.b64decode(mel_image.png(waveform, columns=200)))).convert("L")
    return int(image.getextrema()[1])


def test_silence_is_dark_and_speech_is_bright() -> None:
    noise = torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    assert _brightest(Waveform(torch.zeros(16_000), 16_000)) < 30
    assert _brightest(Waveform(1e-5 * noise, 16_000)) < 90  # what a silent microphone gives
    assert _brightest(Waveform(0.1 * noise, 16_000)) > 200
    assert _brightest(Waveform(0.005 * noise, 16_000)) > 200  # soft, still speech


def test_the_result_is_told_in_plain_words_with_what_is_wrong_with_the_source() -> None:
    decision = decisions.Decision(score=0.9, scoring="cosine", llr=3.0, probability=0.96, prior=0.5, accepted=True,
                                  threshold=0.6, threshold_source="given", origin="tiny", remarks=())  # fmt: skip
    good = pictures.finished("Eric's voice, 5 s, made in 2.6 s", decision, "Eric", [""])
    assert "card good finished" in good
    assert "Sounds like Eric (96 %)." in good
    warned = pictures.finished("Eric's voice, 5 s", decision, "Eric", ["no speech in it"])
    assert "card warn finished" in warned
    assert "No speech in it." in warned
    other = pictures.finished("Eric's voice", dataclasses.replace(decision, accepted=False, probability=0.001), "Eric")
    assert "Does not sound like Eric (less than 1 %)." in other


def test_the_time_left_is_said_once_it_can_be_known() -> None:
    assert stage.left(0.5, 10.0) == 10.0
    assert stage.left(0.05, 10.0) is None
    assert stage.left(0.5, 1.0) is None
    assert "About 10 s left." in pictures.running("speaking, sentence 3 of 12", 0.5, 10.0)
