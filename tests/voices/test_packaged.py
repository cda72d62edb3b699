"""The voices of the bundled references lie in the package, and are what the recordings give."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from speechssl import audio, checkpoints
from speechssl.conversion.bundles import load_bundle
from speechssl.voices import packaged
from speechssl.voices.clips import clip, clips


def test_every_bundled_reference_is_there_and_is_its_recording() -> None:
    system = load_bundle("tiny", device="cpu")
    for one in clips():
        digest = checkpoints.sha256_of(one.path)
        found = packaged.find(digest, system.encoder, system.value_encoder)
        assert (found is not None) == (one.role == "reference"), one.path
    voice = system.matching_set([clip("ada").path], name="ada")
    # a waveform has another checksum than its file, so it is encoded here
    anew = system.matching_set([audio.read_mono(clip("ada").path, system.encoder.sample_rate)])
    assert len(voice) == len(anew)
    assert (voice.name, voice.references[0].name) == ("ada", "ada_reference.opus")
    assert voice.key_encoder == anew.key_encoder
    keys, again = voice.keys.float(), anew.keys.float()
    assert torch.cosine_similarity(keys, again).min() > 0.99
    torch.testing.assert_close(voice.f0.float(), anew.f0.float(), atol=1.0, rtol=0.02)
    assert voice.pitch.mean == pytest.approx(anew.pitch.mean, rel=1e-3)


def test_another_encoder_encodes_the_recording_itself(encoder_file: Path) -> None:
    system = load_bundle(encoder_file, device="cpu")
    digest = checkpoints.sha256_of(clip("ada").path)
    assert packaged.place(digest).is_file()
    assert packaged.find(digest, system.encoder, system.value_encoder) is None
    assert system.matching_set([clip("ada").path]).key_origin == system.encoder.origin
