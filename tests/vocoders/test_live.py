"""The packaged vocoder on frames that are still coming."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import speechssl
from speechssl.vocoders.live import LEAD, LiveVocoder
from speechssl.vocoders.source_filter import voice_statistics


@pytest.mark.parametrize(("hop", "ahead", "least"), [(4, 20, 30), (4, 6, 26), (2, 2, 12)])
def test_the_sound_is_nearly_that_of_all_frames_at_once(hop: int, ahead: int, least: float) -> None:
    system = speechssl.load_bundle("tiny", device="cpu")
    source = system.source(speechssl.clip("ada", "sentence").path)
    assert source.values is not None
    values, keys, count = source.values.frames[:120], source.keys.frames[:120], 120
    contour = source.f0.double().numpy()[: 4 * count + 2]
    whole = system.vocoder.vocode(
        speechssl.Features(values, 50.0, source.values.origin),
        f0=torch.from_numpy(contour),
        keys=speechssl.Features(keys, 50.0, source.keys.origin),
    ).samples
    live = LiveVocoder(system.vocoder, voice_statistics(values, 40))
    made = []
    for first in range(0, count - hop - ahead + 1, hop):
        last = first + hop + ahead
        spectra = live.spectra(values[first:last], keys[first:last], contour[4 * first : 4 * last + 1], hop)
        assert spectra.shape == (2 * hop, 321)
        made.append(live.sound(spectra))
    sound = torch.cat(made)[LEAD:]
    error = (sound - whole[: len(sound)])[1600:]
    assert 10 * np.log10(float(whole[1600 : len(sound)].square().sum() / error.square().sum())) > least
