"""Text to sound in a voice, with a random text model: timing, options, errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.synthesis import subtitles
from speechssl.synthesis.model import TextModel
from speechssl.synthesis.synthesizer import PAUSE, Synthesizer, TimedWord, finished
from speechssl.voices.matching_set import MatchingSet

TEXT = "Good morning. It costs $3.50, Dr. Smith!"


def test_sentences_come_one_by_one_and_join_to_the_whole(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    parts = list(synthesizer.stream(TEXT, voice))
    whole = synthesizer.say(TEXT, voice)
    assert [part.text for part in parts] == ["Good morning", "It costs $3.50, Dr. Smith"]
    assert torch.equal(whole.waveform.samples, torch.cat([part.waveform.samples for part in parts]))
    assert whole.waveform.sample_rate == 16_000
    assert whole.waveform.seconds == pytest.approx(sum(len(p.prediction.durations) for p in parts) * 0.08, rel=0.7)


def test_words_are_written_as_in_the_text_and_follow_each_other(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    spoken = synthesizer.say(TEXT, voice)
    assert [word.text for word in spoken.words] == TEXT.split()
    edges = [second for word in spoken.words for second in (word.start, word.end)]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] == pytest.approx(spoken.waveform.seconds - PAUSE, abs=0.01)


def test_a_seed_speaks_the_same_and_another_does_not(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    one, same, other = (synthesizer.say(TEXT, voice, seed=seed, variation=1.0) for seed in (1, 1, 2))
    assert torch.equal(one.waveform.samples, same.waveform.samples)
    assert [w.end for w in one.words] != [w.end for w in other.words]


def test_speed_changes_the_length(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    slow, fast = (synthesizer.say(TEXT, voice, speed=speed).waveform.seconds for speed in (0.5, 2.0))
    assert slow / fast == pytest.approx(4, rel=0.25)


def test_interpolation_blends_the_voices(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    assert synthesizer.speaker is not None
    spoken = [synthesizer.say("Good morning.", voice, interpolation=part).conversion for part in (0.0, 0.25, 1.0)]
    own, blend, target = (one.features.frames for one in spoken)
    assert torch.allclose(blend, 0.75 * own + 0.25 * target, atol=1e-3)
    assert [len(one.attributions) for one in spoken] == [1, 2, 1]


def test_interpolation_needs_a_voice_to_start_from(
    text_model: TextModel, system: VoiceConverter, voice: MatchingSet
) -> None:
    alone = Synthesizer(text_model, system)
    assert alone.say("One.", voice).waveform.seconds > 0.1
    with pytest.raises(InputError, match="without the voice of its speaker"):
        alone.say("One.", voice, interpolation=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interpolation": 1.5}, "interpolation is 1.5; between 0"),
        ({"speed": 0}, "speed is 0; between 0.25 and 4"),
        ({"speed": math.nan}, "speed is nan"),
        ({"variation": -1.0}, "variation is -1.0"),
    ],
)
def test_options_that_cannot_be(
    synthesizer: Synthesizer, voice: MatchingSet, options: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        synthesizer.say("Hello", voice, **options)


def test_a_voice_of_another_encoder_is_refused(
    other_model: Callable[..., TextModel], system: VoiceConverter, text_model: TextModel, voice: MatchingSet
) -> None:
    with pytest.raises(InputError, match="other/2"):
        Synthesizer(other_model("other/2"), system)
    import dataclasses

    foreign = dataclasses.replace(voice, key_origin="other/2", name="foreign")
    with pytest.raises(InputError, match="foreign"):
        Synthesizer(text_model, system).say("Hello", foreign)


def test_a_voice_of_fewer_frames_than_neighbours(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    import dataclasses

    names = ("keys", "values", "file_index", "frame_index", "f0")
    short = dataclasses.replace(voice, **{name: getattr(voice, name)[100:102] for name in names})
    assert synthesizer.say("Hello", short).waveform.seconds > 0.1


def test_many_sentences_take_no_more_memory_than_one(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    speech = synthesizer.stream("Go on. " * 15_000, voice)
    assert [next(speech).text for _ in range(3)] == ["Go on"] * 3


def test_a_sentence_ends_in_silence_of_a_known_length() -> None:
    spoken = finished(Waveform(torch.ones(16_000), 16_000), 0.3, 0.5)
    assert len(spoken.samples) == round(0.8 * 16_000)
    padded = finished(Waveform(torch.ones(8000), 16_000), 0.3, 0.45)
    assert len(padded.samples) == round(0.75 * 16_000)
    assert float(padded.samples[8000:].abs().max()) == 0.0
    assert float(padded.samples[4000]) == 1.0
    assert float(padded.samples[0]) == 0.0


def test_subtitles(tmp_path: Path) -> None:
    words = [TimedWord(f"word{i}", i * 0.5, i * 0.5 + 0.4) for i in range(30)]
    words[10] = TimedWord("-->.", 5.0, 5.4)
    subtitles.write(tmp_path / "out.srt", words)
    text = (tmp_path / "out.srt").read_text()
    assert text.startswith("1\n00:00:00,000 --> 00:00:03,400\nword0 word1 word2 word3 word4 word5 word6\n\n2\n")
    assert text.count("-->") == len(list(subtitles.lines(words)))
    assert all(len(line) <= subtitles.WIDTH for line in text.splitlines())
    subtitles.write(tmp_path / "out.vtt", words[:1])
    assert (tmp_path / "out.vtt").read_text() == "WEBVTT\n\n1\n00:00:00.000 --> 00:00:00.400\nword0\n\n"
    assert subtitles.clock(3723.4567) == "01:02:03,457"
    with pytest.raises(InputError, match=r"\.srt or \.vtt"):
        subtitles.write(tmp_path / "out.txt", words)
