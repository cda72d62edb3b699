"""Matching sets: what they hold, where it is from, and what they refuse."""

from __future__ import annotations

import hashlib
import math
import threading
import time

import numpy as np
import pytest
import torch

from speechssl import audio
from speechssl.audio import f0_tracker
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.voices import building, matching_set
from speechssl.voices.matching_set import MatchingSet, Reference
from speechssl.voices.pitch import PitchStatistics
from speechssl.voices.spectrum import NUM_BANDS, Spectrum
from speechssl.voices.tempo import Tempo


def test_frames_know_where_they_are_from(files, encoder):
    voice = building.build(files, encoder, name="both")
    assert len(voice) == 2 * 74
    assert [reference.name for reference in voice.references] == ["one.wav", "two.wav"]
    assert [reference.sha256 for reference in voice.references] == [
        hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    ]
    assert voice.file_index.tolist() == [0] * 74 + [1] * 74
    assert voice.frame_index.tolist() == [*range(74), *range(74)]
    np.testing.assert_allclose(voice.times(torch.tensor([[0, 73], [74, 75]])), [[0, 1.46], [0, 0.02]])
    assert voice.follows().tolist() == ([True] * 73 + [False]) * 2
    assert voice.seconds == pytest.approx(3.0)
    assert voice.name == "both"


def test_keys_are_the_values_where_one_encoder_makes_both(files, encoder, make_encoder):
    voice = building.build(files, encoder)
    assert not voice.has_own_values
    expected = torch.cat([encoder.encode(audio.read(file)).frames for file in files]).half()
    assert torch.equal(voice.keys, expected)
    other = building.build(files, encoder, make_encoder("spectra/2", scale=2))
    assert other.has_own_values
    assert torch.equal(other.keys, voice.keys)
    assert not torch.equal(other.values, voice.keys)
    assert (other.key_origin, other.value_origin) == ("spectra/1", "spectra/2")


def test_nobody_waits_for_f0_after_an_interruption(encoder, monkeypatch):
    begun, blocks = threading.Event(), []

    def block(samples, first, last, frames, period):
        begun.set()
        time.sleep(0.05)
        blocks.append(first)
        return np.zeros(last - first)

    def interrupted(waveform):
        assert begun.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(f0_tracker, "_block", block)
    ten_minutes = Waveform(torch.zeros(600 * 16_000), 16_000)
    assert len(building.keys_and_f0(ten_minutes, encoder)[1]) == 600 * 200 + 1
    assert len(blocks) == 21
    blocks.clear()
    begun.clear()
    monkeypatch.setattr(encoder, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        building.keys_and_f0(ten_minutes, encoder)
    assert len(blocks) < 5


def test_pitch_is_pooled_over_the_references(files, encoder):
    voice = building.build(files, encoder)
    logs = []
    for f0 in map(audio.f0, map(audio.read, files)):
        voiced = np.log(f0[f0 > 0].double().numpy())
        logs.extend(voiced[np.abs(voiced - float(f0[f0 > 0].double().log().median())) <= math.log(2)])
    assert voice.pitch.mean == pytest.approx(np.mean(logs), abs=1e-9)
    assert voice.pitch.sd == pytest.approx(np.std(logs), abs=1e-9)
    assert voice.pitch.voiced_seconds > 1


def test_files_and_waveforms_give_the_same_frames(files, encoder):
    voice = building.build(files, encoder)
    same = building.build([audio.read(file) for file in files], encoder)
    assert torch.equal(voice.keys, same.keys)
    assert [reference.name for reference in same.references] == ["waveform 1", "waveform 2"]


def test_silence_can_be_left_out(speech, encoder):
    quiet = torch.zeros(16_000)
    waveform = Waveform(torch.cat([speech[0].samples, quiet, speech[1].samples]), 16_000)
    everything = building.build([waveform], encoder)
    spoken = building.build([waveform], encoder, keep_silence=False)
    assert len(spoken) <= len(everything) - 30
    assert torch.equal(spoken.keys, everything.keys[spoken.frame_index.long()])
    # the run ends where frames were left out
    assert int((~spoken.follows()).sum()) >= 2


def test_removing_a_reference_removes_its_frames(files, encoder, make_encoder):
    voice = building.build(files, encoder, name="both")
    for wanted in ("one.wav", voice.references[0].sha256[:8], voice.references[0].sha256.upper()):
        left = voice.without(wanted)
        alone = building.build(files[1:], encoder)
        assert torch.equal(left.keys, alone.keys)
        assert left.references == alone.references
        assert left.file_index.tolist() == [0] * 74
        assert left.pitch == alone.pitch
    kept = building.build(files, encoder, make_encoder("spectra/2", scale=2)).without("two.wav")
    assert kept.has_own_values
    assert len(kept.values) == 74


@pytest.mark.parametrize("wanted", ["three.wav", "", "abc"])
def test_removing_what_is_not_there_names_what_is(files, wanted, encoder):
    with pytest.raises(InputError, match=r"one\.wav .*two\.wav"):
        building.build(files, encoder).without(wanted)


def test_the_only_reference_stays(files, encoder):
    with pytest.raises(InputError, match="only reference"):
        building.build(files[:1], encoder).without("one.wav")


def test_joining(files, encoder, make_encoder):
    parts = [building.build([file], encoder) for file in files]
    assert torch.equal(matching_set.join(parts).keys, building.build(files, encoder).keys)
    with pytest.raises(InputError, match="same recording"):
        matching_set.join([parts[0], parts[0]])
    with pytest.raises(InputError, match=r"spectra/1.*spectra/2"):
        matching_set.join([parts[0], building.build(files[1:], make_encoder("spectra/2", scale=2))])


def test_the_same_recording_twice_is_refused(files, tmp_path, encoder):
    copy = tmp_path / "copy.wav"
    copy.write_bytes(files[0].read_bytes())
    with pytest.raises(InputError, match=r"one\.wav and copy\.wav are the same"):
        building.build([files[0], copy], encoder)


def test_two_recordings_of_one_name_are_two_references(files, tmp_path, encoder):
    places = [tmp_path / "monday/01.wav", tmp_path / "tuesday/01.wav"]
    for file, place in zip(files, places, strict=True):
        place.parent.mkdir()
        file.rename(place)
    voice = building.build(places, encoder)
    assert [one.name for one in voice.references] == ["monday/01.wav", "tuesday/01.wav"]
    assert len({one.sha256 for one in voice.references}) == 2
    assert voice.without("monday/01.wav").references == voice.references[1:]
    # each is known by its name alone where it is alone
    alone = [building.build([place], encoder) for place in places]
    assert [one.references[0].name for one in alone] == ["01.wav", "01.wav"]
    joined = matching_set.join([alone[0], building.build(places[1:], encoder, taken=["01.wav"])])
    assert [one.name for one in joined.references] == ["01.wav", "tuesday/01.wav"]


def test_bad_references_are_refused_by_name(files, tmp_path, encoder):
    with pytest.raises(InputError, match="no reference"):
        building.build([], encoder)
    with pytest.raises(InputError, match=r"none\.wav"):
        building.build([tmp_path / "none.wav"], encoder)
    audio.write(tmp_path / "silence.wav", Waveform(torch.zeros(16_000), 16_000))
    with pytest.raises(InputError, match=r"silence\.wav.*no speech"):
        building.build([files[0], tmp_path / "silence.wav"], encoder)
    audio.write(tmp_path / "short.wav", Waveform(torch.full((200,), 0.1), 16_000))
    with pytest.raises(InputError, match=r"short\.wav"):
        building.build([tmp_path / "short.wav"], encoder)


def test_numbers_float16_cannot_hold_are_refused(files, make_encoder):
    with pytest.raises(InputError, match=r"one\.wav.*float16"):
        building.build(files, make_encoder(scale=1e-6))


def test_encoders_that_do_not_go_together_are_refused(files, make_encoder):
    with pytest.raises(InputError, match=r"74 frames.*73"):
        building.build(files, make_encoder(), make_encoder(drop=1))


def parts(**changes):
    measured = (PitchStatistics(0.0, 0.0, 0.0), Spectrum((0.0,) * NUM_BANDS, 0.0), Tempo(0.0, 0.0))
    reference = Reference("a.wav", "0" * 64, 1.0, *measured)
    ready = {
        "keys": torch.ones(3, 2).half(),
        "values": torch.ones(3, 4).half(),
        "key_origin": "a/1",
        "value_origin": "b",
        "frame_rate": 50.0,
        "references": (reference,),
        "file_index": torch.zeros(3, dtype=torch.int32),
        "frame_index": torch.arange(3, dtype=torch.int32),
        "f0": torch.zeros(3, 4).half(),
    }
    return {**ready, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": torch.ones(2, 2).half()},
        {"values": torch.ones(4, 2).half()},
        {"keys": torch.ones(3).half()},
        {"f0": torch.ones(2, 4).half()},
        {"references": ()},
        {"file_index": torch.tensor([0, 0, 1])},
        {"file_index": torch.tensor([-1, 0, 0])},
        {"frame_rate": 0.0},
        {"key_origin": ""},
        {name: torch.ones(0, 2) for name in ("keys", "values", "file_index", "frame_index", "f0")},
    ],
)
def test_a_voice_of_parts_that_do_not_fit_cannot_exist(changes):
    MatchingSet(**parts())
    with pytest.raises(InputError, match="voice"):
        MatchingSet(**parts(**changes))
