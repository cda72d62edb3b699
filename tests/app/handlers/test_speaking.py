"""Text spoken as the page does it."""

from __future__ import annotations

import pytest
import torch

from speechssl import audio
from speechssl.app.handlers import recordings, speaking
from speechssl.app.handlers.targets import Target
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused
from speechssl.app.state import Models, Settings, Store
from speechssl.receipts import watermark
from speechssl.signals import Waveform

Shared = tuple[Models, Store, Settings]
ERIC = Target(voices=(("bundled: eric", 1.0),))


@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_what_is_heard_first_is_marked_like_the_file(shared: Shared, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark of the tests' own: half as loud."""
    monkeypatch.setattr(recordings, "marks", lambda settings: True)
    monkeypatch.setattr(watermark, "mark", lambda one: Waveform(one.samples * 0.5, one.sample_rate))
    monkeypatch.setattr(watermark, "confidence", lambda one: 1.0)
    text = "Good morning. It rains/pours. 1 and 2."
    *pieces, marked = speaking.say(*shared, job, text, ERIC)
    heard = torch.cat([one.samples for one in pieces])  # type: ignore[union-attr]
    assert isinstance(marked, speaking.Said)
    assert torch.allclose(audio.read(marked.path).samples, heard, atol=2**-15)
    assert marked.receipt["watermark"] == {"name": watermark.NAME, "confidence": 1.0}
    assert marked.path.name == "Good_morning_It_rains_p-eric.wav"
    monkeypatch.undo()
    *_, plain = speaking.say(*shared, job, text, ERIC)
    assert isinstance(plain, speaking.Said)
    assert torch.allclose(audio.read(plain.path).samples / 2, heard, atol=2**-14)
    two = Target(voices=(("bundled: eric", 0.5), ("bundled: ada", 0.5)))
    with pytest.raises(Refused, match="one voice"):
        next(speaking.say(*shared, job, text, two))
